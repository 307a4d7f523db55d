"""Who holds what until when: claim, renew, draft, release, skip, submit, expire. Read this first.

A lease is a row's state, never a lock in memory: an assignment is `leased`, by a labeler, until a time. The page's
heartbeat moves that time on. When it passes, the sweep gives the slot back, but what was typed stays in the Draft, and
whoever comes back late still submits if any slot of the task is free.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from django.conf import settings
from django.db import transaction
from django.db.models import Max
from django.utils.translation import gettext_lazy as _

from annotate.accounts.models import User
from annotate.guidelines.models import GuidelineVersion
from annotate.guidelines.queries import acknowledged_version, current_version
from annotate.work import queries
from annotate.work.models import Assignment, Campaign, Draft, Event, Seat, Skip, Task
from annotate.work.moves import Moved, move, require_transaction
from annotate.work.rules import needs_review, position
from annotate.work.states import CampaignState, Move, State

# A draft is what one person typed into one form; anything larger is not that.
DRAFT_MAX_CHARACTERS = 1_000_000
SWEEP_BATCH = 500


class Refused(Exception):
    """The engine says no; the words are for the person who asked."""

    words: Any = ""

    def __str__(self) -> str:
        return str(self.words)


class NotYours(Refused):
    words = _("This campaign or task is not open to you.")


class CampaignNotOpen(Refused):
    words = _("This campaign hands out no tasks at the moment. What you hold you can still finish.")


class CampaignClosed(Refused):
    words = _("This campaign is closed, and waits for no more answers.")


class NothingLeft(Refused):
    words = _("There is nothing left for you in this campaign at the moment.")


class Busy(Refused):
    words = _("Others are taking the next tasks at this very moment. Please try again.")


class LeaseLost(Refused):
    words = _("Your time for this task ended and it went to somebody else. Your text is kept, and you can copy it.")


class AlreadySubmitted(Refused):
    words = _("You have already submitted this task.")


class KeyTaken(Refused):
    words = _("This page was handed in before. Load the task again.")


class DraftTooLong(Refused):
    words = _("This text is longer than a million characters and cannot be kept as a draft.")


class NotAcknowledged(Refused):
    words = _("Please read and acknowledge the current guideline first.")

    def __init__(self, version: GuidelineVersion | None) -> None:
        super().__init__(version)
        self.version = version


def claim(*, campaign_id: int, labeler: User, now: datetime) -> Assignment:
    """Give the labeler a task: the one they hold already (another tab, a reload), else the next open slot.

    Raises NotYours, NotAcknowledged, CampaignNotOpen, NothingLeft or Busy.
    """
    campaign = Campaign.objects.select_related("guideline").get(id=campaign_id)
    if not queries.allowed(campaign, labeler):
        raise NotYours
    with transaction.atomic():
        seat = _take_seat(campaign, labeler)
        mine = Assignment.objects.filter(campaign=campaign, labeler=labeler, state=State.LEASED)
        held = mine.first()
        # Between the two looks the sweep, or a skip in another tab, may have taken it away: then claim anew.
        if held is not None and mine.filter(id=held.id).update(leased_until=_lease_end(campaign, now)):
            return held
        if campaign.state != CampaignState.OPEN:
            raise CampaignNotOpen
        version = _acknowledged(campaign, labeler)
        slot = _next_slot(campaign, labeler, seat)
        Seat.objects.filter(id=seat.id).update(cursor=max(seat.cursor, slot.position))
        return _lease(slot, labeler, campaign, version, now)


def renew(*, assignment_id: int, labeler: User, now: datetime) -> datetime:
    """Heartbeat: move the lease's end on and return it. Raises LeaseLost, also for somebody else's assignment."""
    assignment = _own(assignment_id, labeler)
    until = _lease_end(assignment.campaign, now)
    holds = Assignment.objects.filter(id=assignment_id, labeler=labeler, state=State.LEASED)
    if not holds.update(leased_until=until):
        raise LeaseLost
    return until


def save_draft(*, task_id: int, labeler: User, body: dict[str, Any], now: datetime) -> Draft:
    """Keep what was typed, with or without a lease: an expired lease never destroys text.

    Raises NotYours for a task this labeler never had.
    """
    if sum(len(name) + len(str(value)) for name, value in body.items()) > DRAFT_MAX_CHARACTERS:
        raise DraftTooLong
    if not queries.has_held(labeler, task_id):
        raise NotYours
    with transaction.atomic():
        # A submit holds the seat too, so an autosave that was under way with it is either before or after it.
        _take_seat(Campaign.objects.get(tasks=task_id), labeler)
        if Assignment.objects.filter(
            task_id=task_id, labeler=labeler, state__in=[State.SUBMITTED, State.ACCEPTED]
        ).exists():
            # A late autosave of a form that was handed in meanwhile must not stand above the answer.
            raise AlreadySubmitted
        draft, _created = Draft.objects.update_or_create(
            task_id=task_id, labeler=labeler, defaults={"body": body, "saved_at": now}
        )
        return draft


def release(*, assignment_id: int, labeler: User, now: datetime) -> Assignment:
    """Put the task back for somebody else; the draft stays."""
    with transaction.atomic():
        assignment = _held(assignment_id, labeler)
        if assignment.rounds:
            return move(assignment, Move.SET_ASIDE, actor=labeler, now=now, leased_until=None)
        return _give_back(assignment, Move.RELEASE, actor=labeler, now=now)


def skip(*, assignment_id: int, labeler: User, reason: str, note: str, now: datetime) -> Skip:
    """Pass on a task for good: it does not come back to this labeler.

    A sent-back answer can be passed on too: it stays with its writer, cancelled, and a new slot takes its place.
    """
    with transaction.atomic():
        assignment = _held(assignment_id, labeler)
        skipped, _created = Skip.objects.get_or_create(
            task_id=assignment.task_id,
            labeler=labeler,
            defaults={"reason": reason, "note": note, "skipped_at": now},
        )
        if assignment.rounds:
            replace(assignment, Move.GIVE_UP, actor=labeler, now=now)
        else:
            _give_back(assignment, Move.SKIP, actor=labeler, now=now, detail={"reason": reason})
        return skipped


@dataclass(frozen=True)
class Submission:
    """What a submit came to. `repeated`: this very submit arrived before, and nothing was done again."""

    assignment: Assignment
    repeated: bool


def submit(
    *, assignment_id: int, labeler: User, submit_key: UUID, now: datetime, replaces: dict[str, Any] | None = None
) -> Submission:
    """Hand an answer in; the bench stores its own rows in the same transaction, unless the submit is a repeated one.

    `replaces` is the sent-back answer that this one takes the place of; the event keeps it.

    The lease may have ended, and the sweep may have freed the slot: the answer is still taken while the task has any
    slot free. Where the campaign asks for no review of this answer it is accepted at once.
    Raises NotYours, AlreadySubmitted, KeyTaken or LeaseLost.
    """
    require_transaction()
    wanted = _own(assignment_id, labeler)
    _take_seat(wanted.campaign, labeler)
    earlier = Assignment.objects.select_related("campaign").filter(submit_key=submit_key).first()
    if earlier is not None:
        if not _is_this_submit(earlier, wanted, labeler):
            raise KeyTaken
        return Submission(earlier, repeated=True)
    mine = Assignment.objects.select_for_update().filter(task_id=wanted.task_id, labeler=labeler).first()
    steps = [Move.SUBMIT]
    if mine is not None and mine.state != State.LEASED:
        if not _set_aside(mine):
            raise AlreadySubmitted
        steps.insert(0, Move.RESUME)
    columns: dict[str, Any] = {}
    if mine is None:
        mine = _free_slot(wanted, labeler)
        steps.insert(0, Move.CLAIM)
        version = acknowledged_version(labeler, wanted.campaign.guideline)
        columns = {"labeler_id": labeler.id, "claimed_at": now, "guideline_version_id": version and version.id}
    reviewed = bool(mine.rounds) or needs_review(mine.id, wanted.campaign.review_percent, settings.SECRET_KEY)
    if not reviewed:
        steps.append(Move.ACCEPT)
        columns |= {"decided_at": now}
    move(
        mine,
        *steps,
        actor=labeler,
        now=now,
        detail={"replaces": replaces} if replaces else None,
        submitted_at=now,
        submit_key=submit_key,
        needs_review=reviewed,
        leased_until=None,
        **columns,
    )
    Draft.objects.filter(task_id=mine.task_id, labeler=labeler).delete()
    mine.campaign = wanted.campaign
    return Submission(mine, repeated=False)


def resume(*, assignment_id: int, labeler: User, now: datetime) -> Assignment:
    """Take a sent-back answer up again. Another task held in the campaign goes back, its draft kept.

    Raises NotYours, CampaignClosed, or Moved when it is not sent back any more.
    """
    with transaction.atomic():
        assignment = _own(assignment_id, labeler)
        _take_seat(assignment.campaign, labeler)
        other = Assignment.objects.filter(campaign=assignment.campaign, labeler=labeler, state=State.LEASED).first()
        if other is not None and other.id == assignment.id:
            return assignment
        if assignment.campaign.state == CampaignState.CLOSED:
            raise CampaignClosed
        if other is not None:
            release(assignment_id=other.id, labeler=labeler, now=now)
        assignment.refresh_from_db()
        if assignment.state != State.SENT_BACK:
            raise Moved
        until = _lease_end(assignment.campaign, now)
        return move(assignment, Move.RESUME, actor=labeler, now=now, leased_until=until)


def sweep(*, now: datetime) -> int:
    """Free every lease that has ended, in batches, and return how many. Safe to run anywhere, twice, at once."""
    freed = 0
    while batch := _sweep_batch(now):
        freed += batch
    return freed


def _sweep_batch(now: datetime) -> int:
    with transaction.atomic():
        ended = list(queries.overdue().filter(leased_until__lt=now).select_for_update(skip_locked=True)[:SWEEP_BATCH])
        for assignment in ended:
            detail = {"labeler": assignment.labeler_id, "leased_until": str(assignment.leased_until)}
            if assignment.rounds:
                move(assignment, Move.SET_ASIDE, actor=None, now=now, detail=detail, leased_until=None)
            else:
                _give_back(assignment, Move.EXPIRE, actor=None, now=now, detail=detail)
        return len(ended)


# The columns of a slot that is nobody's.
FREE: dict[str, Any] = {
    "labeler_id": None,
    "leased_until": None,
    "claimed_at": None,
    "submitted_at": None,
    "submit_key": None,
    "guideline_version_id": None,
    "needs_review": False,
    "decided_by_id": None,
    "decided_at": None,
    "comment": "",
    "rounds": 0,
}


def replace(assignment: Assignment, step: Move, *, actor: User, now: datetime) -> None:
    """Cancel a sent-back answer, which stays its writer's, and want another answer in its place."""
    move(assignment, step, actor=actor, now=now, leased_until=None)
    if assignment.campaign.state != CampaignState.CLOSED:
        add_slot(assignment.task, assignment.campaign)


def add_slot(task: Task, campaign: Campaign) -> Assignment:
    # The task's row lock keeps two replacements from taking the same number.
    Task.objects.select_for_update().get(id=task.id)
    slot = 1 + (task.assignments.aggregate(last=Max("slot"))["last"] or 0)
    return Assignment.objects.create(task=task, campaign=campaign, slot=slot, position=position(task.id, slot))


def _give_back(
    assignment: Assignment, step: Move, *, actor: User | None, now: datetime, detail: dict[str, Any] | None = None
) -> Assignment:
    """Make the slot nobody's again; in a closed campaign it is not wanted any more."""
    closed = Campaign.objects.filter(id=assignment.campaign_id, state=CampaignState.CLOSED).exists()
    steps = [step, Move.CANCEL] if closed else [step]
    return move(assignment, *steps, actor=actor, now=now, detail=detail, **FREE)


def _lease_end(campaign: Campaign, now: datetime) -> datetime:
    return now + timedelta(minutes=campaign.lease_minutes)


def _take_seat(campaign: Campaign, labeler: User) -> Seat:
    """Lock the labeler's seat until the transaction ends: their tabs claim one after another."""
    Seat.objects.bulk_create([Seat(campaign=campaign, labeler=labeler)], ignore_conflicts=True)
    return Seat.objects.select_for_update().get(campaign=campaign, labeler=labeler)


def _acknowledged(campaign: Campaign, labeler: User) -> GuidelineVersion:
    current = current_version(campaign.guideline)
    known = acknowledged_version(labeler, campaign.guideline)
    if current is None or known is None or known.id != current.id:
        raise NotAcknowledged(current)
    return current


def _next_slot(campaign: Campaign, labeler: User, seat: Seat) -> Assignment:
    """Lock a slot for the labeler: a task they have begun to write for, else the next one after the cursor.

    At the end of the queue look once from its start, for slots that came back.
    """
    slots = queries.open_slots(campaign, labeler)
    locked = slots.select_for_update(skip_locked=True, of=("self",))
    begun = locked.filter(task__in=Draft.objects.filter(labeler=labeler, task__campaign=campaign).values("task"))
    slot = begun.first() or locked.filter(position__gt=seat.cursor).first() or locked.first()
    if slot is not None:
        return slot
    # A slot that somebody locks for a moment looks absent, so only an unlocked look tells that nothing is left.
    raise Busy if slots.exists() else NothingLeft


def _lease(slot: Assignment, labeler: User, campaign: Campaign, version: GuidelineVersion, now: datetime) -> Assignment:
    return move(
        slot,
        Move.CLAIM,
        actor=labeler,
        now=now,
        labeler_id=labeler.id,
        claimed_at=now,
        leased_until=_lease_end(campaign, now),
        guideline_version_id=version.id,
    )


def _own(assignment_id: int, labeler: User) -> Assignment:
    """The assignment, if the labeler has or had it; an outsider cannot tell it from one that does not exist."""
    assignment = (
        Assignment.objects.select_related("campaign__guideline", "task__prompt").filter(id=assignment_id).first()
    )
    if assignment is None:
        raise NotYours
    if assignment.labeler_id != labeler.id and not queries.has_held(labeler, assignment.task_id):
        raise NotYours
    return assignment


def _held(assignment_id: int, labeler: User) -> Assignment:
    """The row, locked, if the labeler holds it now."""
    _own(assignment_id, labeler)
    assignment = Assignment.objects.select_for_update().get(id=assignment_id)
    if assignment.labeler_id != labeler.id or assignment.state != State.LEASED:
        raise LeaseLost
    return assignment


def _is_this_submit(earlier: Assignment, wanted: Assignment, labeler: User) -> bool:
    """Is this the submit that left its key on `earlier`, once more? Its answer then still stands there as handed in.

    The key of another task, or of an answer that was sent back since, comes from an old page with other text on it:
    calling that submitted would lose the text.
    """
    same = earlier.labeler_id == labeler.id and earlier.task_id == wanted.task_id
    return same and earlier.state in (State.SUBMITTED, State.ACCEPTED)


def _set_aside(mine: Assignment) -> bool:
    """Was the sent-back answer taken up again, until its lease ended? Then a late submit takes it up once more."""
    if mine.state != State.SENT_BACK:
        return False
    last = Event.objects.filter(assignment=mine).order_by("-id").first()
    return last is not None and last.move == Move.SET_ASIDE


def _free_slot(wanted: Assignment, labeler: User) -> Assignment:
    """After an expired lease: the same slot, or any other of the task that is free."""
    if wanted.campaign.state == CampaignState.CLOSED or not queries.allowed(wanted.campaign, labeler):
        raise LeaseLost
    free = Assignment.objects.select_for_update(skip_locked=True).filter(task_id=wanted.task_id, state=State.OPEN)
    slot = free.filter(id=wanted.id).first() or free.order_by("slot").first()
    if slot is None or Skip.objects.filter(task_id=wanted.task_id, labeler=labeler).exists():
        raise LeaseLost
    return slot
