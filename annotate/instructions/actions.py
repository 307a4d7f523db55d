import logging
from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from uuid import UUID

from django.db import InterfaceError, OperationalError, transaction
from django.db.models import F, Q, QuerySet
from django.utils.translation import gettext_lazy as _

from annotate.accounts.models import User
from annotate.instructions.models import Brief, Instruction, InstructionSettings
from annotate.instructions.queries import original_of
from annotate.instructions.rules import MAX_BRIEFS, Text, prompt_draft
from annotate.lib.refusals import Refusal
from annotate.lib.text import is_blank
from annotate.pools.actions import DuplicatePrompt, add_prompt
from annotate.pools.models import Kind
from annotate.pools.rules import BadPrompt
from annotate.work import campaigns as work_campaigns
from annotate.work import drafts, filling, review, submitting
from annotate.work.models import Assignment, Campaign
from annotate.work.refusals import UndoOver
from annotate.work.states import CampaignState, State
from annotate.work.submitting import Submission

log = logging.getLogger(__name__)


class NoBriefs(Refusal):
    message = _("Enter how many instructions you need. For user-based instructions, write one use case on each line.")


class TooManyBriefs(Refusal):
    message = _("Add at most 500 briefs at a time.")


class TakesNoBriefs(Refusal):
    message = _("You can add briefs only to an instruction campaign that is not closed. Choose another campaign.")


def add_briefs(
    *, campaign: Campaign, kind: Kind, count: int = 0, use_cases: Sequence[str] = (), now: datetime
) -> list[Brief]:
    """Request `count` plain or few-shot instructions, or a user-based one for each use case.

    Raises NoBriefs, TooManyBriefs or TakesNoBriefs.
    """
    if campaign.state == CampaignState.CLOSED or not InstructionSettings.objects.filter(campaign=campaign).exists():
        raise TakesNoBriefs
    cases = [case.strip() for case in use_cases if not is_blank(case)] if kind == Kind.USER_BASED else [""] * count
    if not cases:
        raise NoBriefs
    if len(cases) > MAX_BRIEFS:
        raise TooManyBriefs
    with transaction.atomic():
        tasks = [filling.add_task(campaign=campaign, now=now) for _case in cases]
        return Brief.objects.bulk_create(
            Brief(task=task, kind=kind, use_case=case) for task, case in zip(tasks, cases, strict=True)
        )


def submit(
    *,
    assignment_id: int,
    labeler: User,
    kind: str,
    text: Text,
    category: str,
    reasons: list[str],
    note: str,
    submit_key: UUID,
    now: datetime,
) -> Submission:
    """Store and submit the instruction. Raises a Refusal.

    It becomes a prompt when a reviewer accepts it. Without a review, `sweep` makes the prompt after the undo time.
    """
    with transaction.atomic():
        outcome = submitting.submit(
            assignment_id=assignment_id,
            labeler=labeler,
            submit_key=submit_key,
            now=now,
            replaces=_record,
        )
        if not outcome.repeated:
            # After an expired lease, this may be another slot of the task.
            Instruction.objects.update_or_create(
                assignment=outcome.assignment,
                defaults={
                    "kind": kind,
                    "text": text.instruction,
                    "pairs": list(text.pairs),
                    "category": category,
                    "reasons": reasons,
                    "note": note,
                    "written_at": now,
                },
            )
        return outcome


def undo(*, assignment_id: int, labeler: User, now: datetime) -> Assignment:
    """Turn the last submit into the task's draft. Raises a Refusal."""
    with transaction.atomic():
        assignment = submitting.undo(assignment_id=assignment_id, labeler=labeler, now=now)
        instruction = Instruction.objects.get(assignment=assignment)
        if instruction.prompt_id is not None:
            raise UndoOver  # older releases made the prompt at the submit
        body = {
            "text": [instruction.text],
            "category": [instruction.category],
            "reasons": instruction.reasons,
            "note": [instruction.note],
            "query": [pair["query"] for pair in instruction.pairs],
            "response": [pair["response"] for pair in instruction.pairs],
        }
        drafts.save_draft(task_id=assignment.task_id, labeler=labeler, body=body, now=now)
        if not assignment.rounds:
            instruction.delete()
        return assignment


def sweep(*, now: datetime) -> None:
    """Make prompts of instructions without a review when their undo time is over.

    An earlier prompt could be in use and block the undo, which would show labelers that nobody reviews the answer.
    Idempotent and safe to run concurrently.
    """
    own = Campaign.objects.filter(instructionsettings__isnull=False)
    for campaign in own.exclude(state=CampaignState.DRAFT).order_by("id"):
        closed = campaign.state == CampaignState.CLOSED
        until = now if closed else now - timedelta(minutes=campaign.undo_minutes)
        waiting = _waiting().filter(assignment__campaign=campaign, assignment__submitted_at__lte=until).exists()
        # Settle, so that a longer undo time does not reopen old answers: an undo would show which are drawn for review.
        if waiting or _to_settle(campaign, until).exists():
            work_campaigns.settle(campaigns=[campaign.id], now=until)
        if waiting:
            _make_prompts([campaign.id], now)


def _to_settle(campaign: Campaign, until: datetime) -> QuerySet[Assignment]:
    to_review = campaign.assignments.filter(state=State.SUBMITTED, needs_review=True, submitted_at__lte=until)
    return to_review.filter(submitted_at__gt=campaign.settled_at) if campaign.settled_at else to_review


def settle(*, campaigns: Iterable[int], now: datetime) -> None:
    """As work.campaigns.settle; then make prompts of the instructions without a review."""
    ids = list(campaigns)
    work_campaigns.settle(campaigns=ids, now=now)
    _make_prompts(ids, now)


def _waiting() -> QuerySet[Instruction]:
    """Instructions accepted without a review that are neither a prompt nor refused."""
    accepted = {"assignment__state": State.ACCEPTED, "assignment__decided_by": None}
    return Instruction.objects.filter(prompt=None, refusal="", **accepted)


def _make_prompts(campaigns: Sequence[int], now: datetime) -> None:
    settled = Q(assignment__submitted_at__lte=F("assignment__campaign__settled_at"))
    waiting = _waiting().filter(settled, assignment__campaign__in=campaigns)
    for instruction_id in list(waiting.order_by("assignment__submitted_at", "id").values_list("id", flat=True)):
        try:
            with transaction.atomic():
                # Another worker may have made the prompt.
                locked = _waiting().select_for_update(of=("self",)).filter(id=instruction_id)
                for instruction in locked:
                    become_prompt(instruction=instruction, now=now)
        except (OperationalError, InterfaceError):
            # The database is unavailable. The next sweep tries again.
            raise
        except Exception:
            log.exception("instruction %s could not become a prompt", instruction_id)


def accept(*, assignment_id: int, reviewer: User, comment: str, now: datetime) -> Assignment:
    with transaction.atomic():
        assignment = review.accept(assignment_id=assignment_id, reviewer=reviewer, comment=comment, now=now)
        become_prompt(instruction=Instruction.objects.get(assignment=assignment), now=now)
        return assignment


def become_prompt(*, instruction: Instruction, now: datetime) -> None:
    """Add an accepted instruction to the target pool, or store why the pool refuses it."""
    assignment = instruction.assignment
    task = assignment.task
    pool = assignment.campaign.instructionsettings.target_pool
    text = Text(instruction.text, tuple(instruction.pairs))
    draft = prompt_draft(text, kind=instruction.kind, category=instruction.category, source=original_of(task))
    try:
        with transaction.atomic():
            instruction.prompt = add_prompt(
                pool=pool, draft=draft, now=now, parent=task.prompt, author=assignment.labeler
            )
    except (DuplicatePrompt, BadPrompt) as refused:
        instruction.refusal = str(refused)
        instruction.duplicate_of = getattr(refused, "prompt", None)
    instruction.save(update_fields=["prompt", "refusal", "duplicate_of"])


def _record(assignment: Assignment) -> dict[str, object] | None:
    """The replaced instruction, for the event log."""
    instruction = assignment.instruction
    return {name: getattr(instruction, name) for name in ("text", "pairs", "category", "reasons", "note")}
