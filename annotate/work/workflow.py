"""What a bench offers to the rooms above it: one frozen table of functions, the same for the three kinds of work."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from django.db.models import QuerySet
from django.http import QueryDict

from annotate.accounts.models import User
from annotate.pools.models import Prompt
from annotate.work.models import Assignment, Campaign
from annotate.work.submitting import Submission

Context = dict[str, Any]


class BadAnswer(Exception):
    """The answer breaks a rule of its bench; `context` shows the form again with what was typed and what is wrong."""

    def __init__(self, context: Context) -> None:
        super().__init__("bad answer")
        self.context = context


@dataclass(frozen=True, kw_only=True)
class Bench:
    """A kind of work. The desk shows `task_part` with what `show` says and hands what comes back to `submit`;
    review and history show `answer_part` with what `answer` says."""

    # The prompts that tasks are made of, sooner or later; None where a campaign answers briefs alone.
    prompts: Callable[[Campaign], QuerySet[Prompt] | None]
    # Makes the campaign's missing tasks, a bounded number a call, and says how many: the caller goes on until 0.
    fill: Callable[[Campaign, datetime], int]
    # (campaign, prompt ids): what to do with prompts that are released from quarantine, because `fill` may have passed
    # them by. Returns those that tasks are made of now, or None. Called before the campaign's row is locked.
    readmit: Callable[[Campaign, list[int]], QuerySet[Prompt] | None]
    task_part: str
    # (assignment, labeler, what the draft keeps of the form or None, now): the context of the part, filled from the
    # draft, else from the labeler's sent-back answer, else empty. `now` dates what the bench notes about the showing.
    show: Callable[[Assignment, User, QueryDict | None, datetime], Context]
    # Reads the form, stores the answer and submits, in one transaction. Raises BadAnswer, or a refusal of the engine.
    submit: Callable[[int, User, QueryDict, UUID, datetime], Submission]
    # (assignment id, labeler, now): takes the labeler's last submit back; what they had handed in is their draft again.
    undo: Callable[[int, User, datetime], Assignment]
    # (assignment id, reviewer, comment, now): accepts, with whatever follows from it in the bench.
    accept: Callable[[int, User, str, datetime], Assignment]
    answer_part: str
    answer: Callable[[Assignment], Context]
