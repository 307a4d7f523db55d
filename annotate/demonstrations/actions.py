from datetime import datetime
from uuid import UUID

from django.db import transaction

from annotate.accounts.models import User
from annotate.demonstrations.models import Demonstration
from annotate.work import drafts, submitting
from annotate.work.models import Assignment
from annotate.work.moves import Sql
from annotate.work.submitting import Submission


def submit(*, assignment_id: int, labeler: User, text: str, submit_key: UUID, now: datetime) -> Submission:
    """Store the answer and submit it in one transaction. Raises a Refusal."""
    with transaction.atomic():
        return submitting.submit(
            assignment_id=assignment_id,
            labeler=labeler,
            submit_key=submit_key,
            now=now,
            replaces=_record,
            along=[Sql(STORE, {"text": text, "now": now})],
        )


# After an expired lease, the submit may have taken another slot of the task.
STORE = """
INSERT INTO demonstrations_demonstration (assignment_id, text, written_at)
SELECT moved.id, %(text)s::text, %(now)s::timestamptz FROM moved
ON CONFLICT (assignment_id) DO UPDATE SET text = excluded.text, written_at = excluded.written_at
"""


def undo(*, assignment_id: int, labeler: User, now: datetime) -> Assignment:
    """Undo the last submit and turn its text into the task's draft. Raises a Refusal."""
    with transaction.atomic():
        assignment = submitting.undo(assignment_id=assignment_id, labeler=labeler, now=now)
        answer = Demonstration.objects.get(assignment=assignment)
        drafts.save_draft(task_id=assignment.task_id, labeler=labeler, body={"text": [answer.text]}, now=now)
        if not assignment.rounds:
            answer.delete()
        return assignment


def _record(assignment: Assignment) -> dict[str, object] | None:
    """The replaced demonstration, for the event log."""
    return {"text": assignment.demonstration.text}
