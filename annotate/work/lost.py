"""The reason why a labeler has no lease on a task any more, and whether a late submit still counts."""

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
    """Why its labeler cannot resume the answer. The same for submitted and accepted: see `labeler_state`."""
    if assignment.state in (State.SUBMITTED, State.ACCEPTED):
        return NotSentBack()
    if assignment.state == State.CANCELLED:
        return GivenUp() if _last_move(assignment) == Move.GIVE_UP else Replaced()
    return Moved()


def not_held(assignment: Assignment, labeler: User) -> LeaseLost:
    """Why the labeler has no lease on the task: another tab submitted or skipped it, or the lease has ended."""
    mine = Assignment.objects.filter(task=assignment.task_id, labeler=labeler).first()
    if mine is None:
        still_taken = takes_late(assignment.campaign, assignment.task_id, labeler)
    else:
        # A labeler who has a slot of the task cannot take another.
        still_taken = mine.state == State.LEASED or set_aside(mine)
    if still_taken:
        return LeaseEnded()
    if mine is not None and mine.state != State.CANCELLED:
        return AlreadySubmitted()
    assignment.refresh_from_db(fields=["state", "labeler"])
    return lease_lost(assignment.campaign, assignment, labeler)


def takes_late(campaign: Campaign, task_id: int, labeler: User) -> bool:
    """Whether `submit` still takes this labeler's answer after their lease has expired."""
    may_submit = campaign.state != CampaignState.CLOSED and is_eligible(campaign, labeler)
    return may_submit and queries.is_free(labeler, task_id)


def lease_lost(campaign: Campaign, slot: Assignment, labeler: User) -> LeaseLost:
    """The refusal that says why the labeler, who had this slot, cannot submit its task any more."""
    if Skip.objects.filter(task_id=slot.task_id, labeler=labeler).exists():
        return Skipped()
    if campaign.state == CampaignState.CLOSED:
        return ClosedMeanwhile()
    if not is_eligible(campaign, labeler):
        return NotOpenToYou()
    if slot.state == State.STOPPED:
        return TaskStopped()
    # A replaced sent-back answer is cancelled too, but it has a labeler.
    if slot.state == State.CANCELLED and slot.labeler_id is None:
        return NotWanted()
    return LeaseLost()


def set_aside(mine: Assignment) -> bool:
    """Whether the answer was sent back, resumed, and its lease ended. Then a late submit resumes it again."""
    return mine.state == State.SENT_BACK and _last_move(mine) == Move.SET_ASIDE


def _last_move(assignment: Assignment) -> str | None:
    return Event.objects.filter(assignment=assignment).order_by("-id").values_list("move", flat=True).first()
