"""Why a labeler has no lease on a task any more, and whether a late submit would still count."""

from annotate.accounts.models import User
from annotate.work import queries
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
    """Why its labeler cannot take the answer up again. Submitted and accepted sound alike: see `labeler_state`."""
    if assignment.state in (State.SUBMITTED, State.ACCEPTED):
        return NotSentBack()
    if assignment.state == State.CANCELLED:
        return GivenUp() if _last_move(assignment) == Move.GIVE_UP else Replaced()
    return Moved()


def not_held(assignment: Assignment, labeler: User) -> LeaseLost:
    """Why the labeler has no lease on the task: another tab has submitted or skipped it, or the time is over."""
    mine = Assignment.objects.filter(task=assignment.task_id, labeler=labeler).first()
    if mine is None:
        still_taken = takes_late(assignment.campaign, assignment.task_id, labeler)
    else:
        # Another slot of the task would be free for others only.
        still_taken = mine.state == State.LEASED or set_aside(mine)
    if still_taken:
        return LeaseEnded()
    if mine is not None and mine.state != State.CANCELLED:
        return AlreadySubmitted()
    assignment.refresh_from_db(fields=["state", "labeler"])
    return lease_lost(assignment.campaign, assignment, labeler)


def takes_late(campaign: Campaign, task_id: int, labeler: User) -> bool:
    """After an expired lease: would `submit` still take this labeler's answer to the task?"""
    open_to_them = campaign.state != CampaignState.CLOSED and queries.allowed(campaign, labeler)
    return open_to_them and queries.is_free(labeler, task_id)


def lease_lost(campaign: Campaign, slot: Assignment, labeler: User) -> LeaseLost:
    """The refusal that names the cause why the labeler, who had this slot, cannot submit its task any more."""
    if Skip.objects.filter(task_id=slot.task_id, labeler=labeler).exists():
        return Skipped()
    if campaign.state == CampaignState.CLOSED:
        return ClosedMeanwhile()
    if not queries.allowed(campaign, labeler):
        return NotOpenToYou()
    if slot.state == State.STOPPED:
        return TaskStopped()
    # A sent-back answer that a manager stopped waiting for is cancelled too, and stays its writer's.
    if slot.state == State.CANCELLED and slot.labeler_id is None:
        return NotWanted()
    return LeaseLost()


def set_aside(mine: Assignment) -> bool:
    """Was the sent-back answer taken up again, until its lease ended? Then a late submit takes it up once more."""
    return mine.state == State.SENT_BACK and _last_move(mine) == Move.SET_ASIDE


def _last_move(assignment: Assignment) -> str | None:
    return Event.objects.filter(assignment=assignment).order_by("-id").values_list("move", flat=True).first()
