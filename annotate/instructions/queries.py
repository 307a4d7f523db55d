from dataclasses import dataclass

from django.db.models import Exists, OuterRef, QuerySet

from annotate.accounts.models import User
from annotate.instructions.models import Brief, Instruction
from annotate.instructions.rules import Original, original
from annotate.pools.models import Prompt
from annotate.work.models import Campaign, Task


def prompts_of(campaign: Campaign) -> QuerySet[Prompt]:
    """The pool's prompts, except those in quarantine and the campaign's own.

    The source pool may be the target pool, and a campaign must not rewrite its own answers forever.
    """
    own = Instruction.objects.filter(prompt=OuterRef("id"), assignment__campaign=campaign)
    return Prompt.objects.filter(~Exists(own), pool=campaign.pool_id, quarantined_at=None).order_by("id")


def original_of(task: Task) -> Original | None:
    """The prompt to rewrite. None: the task asks for a new instruction."""
    prompt = task.prompt
    if prompt is None:
        return None
    return original(
        messages=prompt.messages,
        shots=prompt.shots,
        kind=prompt.kind,
        category=prompt.category,
        language=prompt.language,
        licence=prompt.licence,
    )


@dataclass(frozen=True)
class Request:
    """What a task asks for: an edit of `source`, or an instruction for `brief`."""

    kind: str
    source: Original | None
    brief: Brief | None


def request_of(task: Task) -> Request:
    source = original_of(task)
    if source:
        return Request(source.kind, source, None)
    brief = Brief.objects.get(task=task)
    return Request(brief.kind, None, brief)


def earlier_instruction(assignment_id: int, labeler: User) -> Instruction | None:
    """For a sent-back slot."""
    return Instruction.objects.filter(assignment=assignment_id, assignment__labeler=labeler).first()
