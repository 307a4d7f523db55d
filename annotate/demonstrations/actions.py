from datetime import datetime
from uuid import UUID

from django.db import transaction

from annotate.accounts.models import User
from annotate.demonstrations.models import Demonstration
from annotate.demonstrations.queries import written
from annotate.work import actions as work
from annotate.work import leases
from annotate.work.leases import Submission
from annotate.work.models import Assignment


def submit(*, assignment_id: int, labeler: User, text: str, submit_key: UUID, now: datetime) -> Submission:
    """Store the answer and hand it in, both or neither. Raises the engine's refusals."""
    with transaction.atomic():
        earlier = written(assignment_id, labeler)
        outcome = leases.submit(
            assignment_id=assignment_id,
            labeler=labeler,
            submit_key=submit_key,
            now=now,
            replaces={"text": earlier.text} if earlier else None,
        )
        if not outcome.repeated:
            # After an expired lease the slot may be another one than the page was opened with.
            Demonstration.objects.update_or_create(
                assignment=outcome.assignment, defaults={"text": text, "written_at": now}
            )
        return outcome


def accept(*, assignment_id: int, reviewer: User, comment: str, now: datetime) -> Assignment:
    with transaction.atomic():
        return work.accept(assignment_id=assignment_id, reviewer=reviewer, comment=comment, now=now)
