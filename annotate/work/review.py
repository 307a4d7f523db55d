"""Accept, send back and replace answers."""

from datetime import datetime

from django.db import transaction

from annotate.accounts.models import User
from annotate.lib.text import is_blank
from annotate.work.models import Assignment
from annotate.work.moves import move
from annotate.work.refusals import CommentNeeded, Moved, NoLongerSentBack, OwnAnswer
from annotate.work.slots import hold_campaign, replace_answer
from annotate.work.states import Move, State


def accept(*, assignment_id: int, reviewer: User, comment: str, now: datetime) -> Assignment:
    """Raises OwnAnswer or Moved."""
    with transaction.atomic():
        assignment = _for_review(assignment_id, reviewer)
        return move(
            slot=assignment,
            steps=[Move.ACCEPT],
            actor=reviewer,
            now=now,
            decided_by_id=reviewer.id,
            decided_at=now,
            comment=comment,
        )


def send_back(*, assignment_id: int, reviewer: User, comment: str, now: datetime) -> Assignment:
    """Raises CommentNeeded, OwnAnswer or Moved."""
    if is_blank(comment):
        raise CommentNeeded
    assignment = _for_review(assignment_id, reviewer)
    return move(
        slot=assignment,
        steps=[Move.SEND_BACK],
        actor=reviewer,
        now=now,
        detail={"comment": comment},
        decided_by_id=reviewer.id,
        decided_at=now,
        comment=comment,
        rounds=assignment.rounds + 1,
    )


def replace_sent_back(*, assignment_id: int, by: User, now: datetime) -> Assignment:
    """Ask another labeler for the answer. Raises NoLongerSentBack."""
    with transaction.atomic():
        hold_campaign(Assignment.objects.values_list("campaign", flat=True).get(id=assignment_id))
        assignment = Assignment.objects.select_for_update().get(id=assignment_id)
        if assignment.state != State.SENT_BACK:
            raise NoLongerSentBack
        replace_answer(assignment, Move.REPLACE, actor=by, now=now)
        return assignment


def hold_as_read(*, assignment_id: int, submitted_at: datetime | None) -> None:
    """Lock the answer that a reviewer has read. Raises Moved if it has changed since."""
    submitted = Assignment.objects.select_for_update().values_list("submitted_at", flat=True).get(id=assignment_id)
    if submitted is None or submitted != submitted_at:
        raise Moved


def _for_review(assignment_id: int, reviewer: User) -> Assignment:
    assignment = Assignment.objects.select_for_update(of=("self",)).select_related("campaign").get(id=assignment_id)
    if assignment.labeler_id == reviewer.id:
        raise OwnAnswer
    if assignment.state != State.SUBMITTED:
        raise Moved
    return assignment
