from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from itertools import islice
from typing import TypeVar, cast

from annotate.guidelines.models import GuidelineVersion
from annotate.pools.models import Prompt
from annotate.work.models import Assignment, Campaign
from exports.schema import AboutAnswer, AboutPrompt, Messages

# Rows in memory at a time.
CHUNK = 200
# Large columns of prompts that no row contains.
UNREAD = ("assignment__task__prompt__search", "assignment__task__prompt__text")

T = TypeVar("T")


class Names:
    """By id: small tables, read once per export."""

    def __init__(self) -> None:
        self.campaigns = dict(Campaign.objects.values_list("id", "name"))
        versions = GuidelineVersion.objects.values_list("id", "guideline__name", "number")
        self.versions = {version_id: (name, number) for version_id, name, number in versions}


def prompt_of(assignment: Assignment) -> Prompt:
    """Only tasks to write an instruction have no prompt."""
    return cast(Prompt, assignment.task.prompt)


def about_prompt(prompt: Prompt) -> AboutPrompt:
    return AboutPrompt(
        prompt_id=prompt.id,
        group=f"group-{prompt.group_id}",
        source=prompt.source,
        category=prompt.category,
        prompt_kind=prompt.kind,
        language=prompt.language,
        priority=prompt.priority,
    )


def about_answer(assignment: Assignment, names: Names) -> AboutAnswer:
    """Constraints guarantee that submitted answers have a time and a guideline version."""
    guideline, number = names.versions[cast(int, assignment.guideline_version_id)]
    return AboutAnswer(
        answer_id=assignment.id,
        labeler=f"labeler-{assignment.labeler_id}",
        campaign=names.campaigns[assignment.campaign_id],
        guideline=guideline,
        guideline_version=number,
        submitted_at=cast(datetime, assignment.submitted_at).astimezone(UTC).isoformat(timespec="microseconds"),
        active_seconds=-1 if assignment.active_seconds is None else assignment.active_seconds,
    )


def messages(prompt: Prompt) -> Messages:
    """The prompt's messages with only the two keys that every loader knows."""
    return [{"role": message["role"], "content": message["content"]} for message in prompt.messages]


def chunks(rows: Iterable[T], size: int) -> Iterator[list[T]]:
    rest = iter(rows)
    while chunk := list(islice(rest, size)):
        yield chunk
