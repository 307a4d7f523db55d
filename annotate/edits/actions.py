from collections.abc import Sequence
from datetime import datetime
from typing import cast
from uuid import UUID

from django.db import transaction
from django.db.models import ProtectedError, Q
from django.utils.translation import gettext_lazy as _

from annotate.accounts.models import User
from annotate.edits.models import Brief, Instruction
from annotate.edits.queries import original_of
from annotate.edits.rules import MOST_BRIEFS, Text, prompt_draft
from annotate.pools.actions import DuplicatePrompt, add_prompt, hold_split_map
from annotate.pools.models import Kind, Pool, Prompt
from annotate.pools.rules import BadPrompt
from annotate.work import actions as work
from annotate.work import leases
from annotate.work.leases import Refused, Submission, UndoOver
from annotate.work.models import Assignment, Campaign, Workflow
from annotate.work.states import CampaignState, State


class NoBriefs(Refused):
    words = _("Say how many instructions you want, or for user-based ones write a use case on each line.")


class TooManyBriefs(Refused):
    words = _("Add at most 500 at a time.")


class TakesNoBriefs(Refused):
    words = _("Only an instruction campaign that is not closed takes briefs.")


def add_briefs(
    *, campaign: Campaign, kind: Kind, count: int = 0, use_cases: Sequence[str] = (), now: datetime
) -> list[Brief]:
    """Ask for new instructions: `count` plain or few-shot ones, or a user-based one for each use case.

    Raises NoBriefs, TooManyBriefs or TakesNoBriefs.
    """
    if campaign.workflow != Workflow.EDITS or campaign.state == CampaignState.CLOSED:
        raise TakesNoBriefs
    cases = [case.strip() for case in use_cases if case.strip()] if kind == Kind.USER_BASED else [""] * count
    if not cases:
        raise NoBriefs
    if len(cases) > MOST_BRIEFS:
        raise TooManyBriefs
    with transaction.atomic():
        tasks = [work.add_task(campaign=campaign, now=now) for _case in cases]
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
    """Store the instruction and hand it in; where nobody reviews it, it becomes a prompt at once. All or nothing."""
    with transaction.atomic():
        outcome = leases.submit(
            assignment_id=assignment_id,
            labeler=labeler,
            submit_key=submit_key,
            now=now,
            replaces=_record,
        )
        if not outcome.repeated:
            # After an expired lease the slot may be another one than the page was opened with.
            instruction, _created = Instruction.objects.update_or_create(
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
            if outcome.assignment.state == State.ACCEPTED:
                become_prompt(instruction=instruction, now=now)
        return outcome


def undo(*, assignment_id: int, labeler: User, now: datetime) -> Assignment:
    """Take the last submit back: its text is the task's draft again, and the prompt that came of it goes.

    Raises the engine's refusals; UndoOver also where the prompt is somebody's task already, was sampled or edited, or
    somebody else's instruction equals it.
    """
    with transaction.atomic():
        assignment = leases.undo(assignment_id=assignment_id, labeler=labeler, now=now)
        instruction = Instruction.objects.select_related("prompt").get(assignment=assignment)
        body = {
            "text": [instruction.text],
            "category": [instruction.category],
            "reasons": instruction.reasons,
            "note": [instruction.note],
            "query": [pair["query"] for pair in instruction.pairs],
            "response": [pair["response"] for pair in instruction.pairs],
        }
        leases.save_draft(task_id=assignment.task_id, labeler=labeler, body=body, now=now)
        prompt = instruction.prompt
        if not assignment.rounds:
            instruction.delete()
        if prompt is not None:
            _delete(prompt.id)
        return assignment


def _delete(prompt_id: int) -> None:
    """Delete a prompt that nobody has built on. Raises UndoOver."""
    affected = Prompt.objects.filter(Q(id=prompt_id) | Q(quarantine_twin=prompt_id)).defer("search").order_by("id")
    while True:
        with transaction.atomic():
            # Decisions about quarantine wait for these locks, and this waits for them. NO KEY: whatever holds the
            # split map already may have named the prompt as a twin, which PostgreSQL checks when they commit.
            held = {row.id for row in affected.select_for_update(no_key=True)}
            hold_split_map()
            if held != set(affected.values_list("id", flat=True)):
                # A prompt was added meanwhile, with this one as its twin. Its lock has to come before the split map.
                transaction.set_rollback(True)
                continue
            # An action that makes a task of it at this moment locks its key: then the prompt is used, or already gone.
            prompt = Prompt.objects.defer("search").select_for_update().get(id=prompt_id)
            try:
                prompt.delete()
            except ProtectedError as used:
                raise UndoOver from used
            return


def accept(*, assignment_id: int, reviewer: User, comment: str, now: datetime) -> Assignment:
    """Accept the instruction, and make it a prompt in the same transaction."""
    with transaction.atomic():
        assignment = work.accept(assignment_id=assignment_id, reviewer=reviewer, comment=comment, now=now)
        become_prompt(instruction=Instruction.objects.get(assignment=assignment), now=now)
        return assignment


def become_prompt(*, instruction: Instruction, now: datetime) -> None:
    """Put an accepted instruction into its campaign's target pool, or note why it could not go there."""
    assignment = instruction.assignment
    task = assignment.task
    pool = cast(Pool, assignment.campaign.target_pool)  # a constraint gives every instruction campaign one
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
    """An instruction as its event keeps it when another takes its place."""
    instruction = assignment.instruction
    return {name: getattr(instruction, name) for name in ("text", "pairs", "category", "reasons", "note")}
