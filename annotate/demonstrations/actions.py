from datetime import datetime
from uuid import UUID

from django.db import transaction

from annotate.accounts.models import User
from annotate.demonstrations.models import Demonstration
from annotate.work import actions as work
from annotate.work import leases
from annotate.work.leases import Submission
from annotate.work.models import Assignment


def submit(*, assignment_id: int, labeler: User, text: str, submit_key: UUID, now: datetime) -> Submission:
    """Store the answer and hand it in, both or neither. Raises the engine's refusals."""
    with transaction.atomic():
        outcome = leases.submit(
            assignment_id=assignment_id, labeler=labeler, submit_key=submit_key, now=now, replaces=_record
        )
        if not outcome.repeated:
            # After an expired lease the slot may be another one than the page was opened with.
            Demonstration.objects.bulk_create(
                [Demonstration(assignment=outcome.assignment, text=text, written_at=now)],
                update_conflicts=True,
                unique_fields=["assignment"],
                update_fields=["text", "written_at"],
            )
        return outcome


def undo(*, assignment_id: int, labeler: User, now: datetime) -> Assignment:
    """Take the last submit back: its text is the task's draft again. Raises the engine's refusals."""
    with transaction.atomic():
        assignment = leases.undo(assignment_id=assignment_id, labeler=labeler, now=now)
        answer = Demonstration.objects.get(assignment=assignment)
        leases.save_draft(task_id=assignment.task_id, labeler=labeler, body={"text": [answer.text]}, now=now)
        if not assignment.rounds:
            answer.delete()
        return assignment


def accept(*, assignment_id: int, reviewer: User, comment: str, now: datetime) -> Assignment:
    with transaction.atomic():
        return work.accept(assignment_id=assignment_id, reviewer=reviewer, comment=comment, now=now)


def _record(assignment: Assignment) -> dict[str, object] | None:
    """A demonstration as its event keeps it when another takes its place."""
    return {"text": assignment.demonstration.text}
