"""Why a labeler has lost a lease, and whether they may still submit."""

from annotate.accounts.models import User
from annotate.work import queries
from annotate.work.eligibility import is_eligible
from annotate.work.models import Assignment, Campaign, Event, Skip
from annotate.work.refusals import (
    AlreadySubmitted,
    ClosedMeanwhile,
    GivenUp,
    LeaseEnded,
    LeaseLost,
    Moved,
    NotOpenToYou,
    NotSentBack,
    NotWanted,
    Replaced,
    Skipped,
    TaskStopped,
)
from annotate.work.states import CampaignState, Move, State


def not_sent_back(assignment: Assignment) -> Moved:
    """Why the labeler cannot resume the answer. Does not reveal an acceptance: see `labeler_state`."""
    if assignment.state in (State.SUBMITTED, State.ACCEPTED):
        return NotSentBack()
    if assignment.state == State.CANCELLED:
        return GivenUp() if _last_move(assignment) == Move.GIVE_UP else Replaced()
    return Moved()


def not_held(assignment: Assignment, labeler: User) -> LeaseLost:
    mine = Assignment.objects.filter(task=assignment.task_id, labeler=labeler).first()
    if mine is None:
        still_taken = takes_late(assignment.campaign, assignment.task_id, labeler)
    else:
        # They cannot take another slot of the task.
        still_taken = mine.state == State.LEASED or set_aside(mine)
    if still_taken:
        return LeaseEnded()
    if mine is not None and mine.state != State.CANCELLED:
        return AlreadySubmitted()
    assignment.refresh_from_db(fields=["state", "labeler"])
    return lease_lost(assignment.campaign, assignment, labeler)


def takes_late(campaign: Campaign, task_id: int, labeler: User) -> bool:
    """Whether `submit` takes an answer after the lease has expired."""
    may_submit = campaign.state != CampaignState.CLOSED and is_eligible(campaign, labeler)
    return may_submit and queries.is_free(labeler, task_id)


def lease_lost(campaign: Campaign, slot: Assignment, labeler: User) -> LeaseLost:
    """Why the labeler cannot submit the task of this slot."""
    if Skip.objects.filter(task_id=slot.task_id, labeler=labeler).exists():
        return Skipped()
    if campaign.state == CampaignState.CLOSED:
        return ClosedMeanwhile()
    if not is_eligible(campaign, labeler):
        return NotOpenToYou()
    if slot.state == State.STOPPED:
        return TaskStopped()
    # A replaced answer is cancelled too, but has a labeler.
    if slot.state == State.CANCELLED and slot.labeler_id is None:
        return NotWanted()
    return LeaseLost()


def set_aside(mine: Assignment) -> bool:
    """Whether a resumed answer lost its lease. A late submit resumes it again."""
    return mine.state == State.SENT_BACK and _last_move(mine) == Move.SET_ASIDE


def _last_move(assignment: Assignment) -> str | None:
    return Event.objects.filter(assignment=assignment).order_by("-id").values_list("move", flat=True).first()
