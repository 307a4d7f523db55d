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
    """Store the answer and hand it in, both or neither. Raises the engine's refusals."""
    with transaction.atomic():
        return submitting.submit(
            assignment_id=assignment_id,
            labeler=labeler,
            submit_key=submit_key,
            now=now,
            replaces=_record,
            along=[Sql(STORE, {"text": text, "now": now})],
        )


# After an expired lease the slot may be another one than the page was opened with.
STORE = """
INSERT INTO demonstrations_demonstration (assignment_id, text, written_at)
SELECT moved.id, %(text)s::text, %(now)s::timestamptz FROM moved
ON CONFLICT (assignment_id) DO UPDATE SET text = excluded.text, written_at = excluded.written_at
"""


def undo(*, assignment_id: int, labeler: User, now: datetime) -> Assignment:
    """Take the last submit back: its text is the task's draft again. Raises the engine's refusals."""
    with transaction.atomic():
        assignment = submitting.undo(assignment_id=assignment_id, labeler=labeler, now=now)
        answer = Demonstration.objects.get(assignment=assignment)
        drafts.save_draft(task_id=assignment.task_id, labeler=labeler, body={"text": [answer.text]}, now=now)
        if not assignment.rounds:
            answer.delete()
        return assignment


def _record(assignment: Assignment) -> dict[str, object] | None:
    """A demonstration as its event keeps it when another takes its place."""
    return {"text": assignment.demonstration.text}
