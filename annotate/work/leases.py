"""Who holds a task until when: claim, renew, release, skip, expire.

A lease is a row's state, never a lock in memory: an assignment is `leased`, by a labeler, until a time. The page's
heartbeat moves that time on. When it passes, the sweep frees the slot. The draft stays, and a late labeler can still
submit while any slot of the task is free.

A labeler holds up to two tasks of a campaign: the one in work, and the next one, prepared so that its page is ready
when they submit. queue.py decides which slot is next.
"""

from datetime import datetime, timedelta
from typing import Any

from django.db import connection, transaction

from annotate.accounts.models import User
from annotate.guidelines.models import GuidelineVersion
from annotate.lib.prepared import execute
from annotate.lib.refusals import Refusal
from annotate.work import queries, queue
from annotate.work.lost import not_held
from annotate.work.models import Assignment, Campaign, Hand, Skip, Task
from annotate.work.moves import SLOT, move, move_first
from annotate.work.refusals import Busy, CampaignNotOpen, DailyCap, LeaseLost, NotAcknowledged, NothingLeft, NotYours
from annotate.work.rules import stops
from annotate.work.slots import give_back, hold_campaign, hold_slots, replace, stop
from annotate.work.states import CampaignState, Move, State

SWEEP_BATCH = 500


def claim(*, campaign_id: int, labeler: User, now: datetime) -> Assignment:
    """Give the labeler a task to work on: the one they hold already (another tab, a reload), else the one that is
    ready ahead, else the next open slot.

    Raises NotYours, NotAcknowledged, CampaignNotOpen, DailyCap, NothingLeft or Busy.
    """
    with transaction.atomic():
        sitting = _enter(campaign_id, labeler)
        campaign, held = sitting.campaign, sitting.held
        # Since that look the sweep, or a skip in another tab, may have taken it away: then claim anew.
        if (work := held.get(Hand.WORK)) and renewed(work, leased_until=lease_end(campaign, now)):
            return work
        _check_open(campaign, labeler)
        columns = {"hand": Hand.WORK, "leased_until": lease_end(campaign, now), "claimed_at": now}
        columns["guideline_version_id"] = campaign.version_id
        if (ahead := held.get(Hand.AHEAD)) and renewed(ahead, **columns):
            return ahead
        taken = _take_next(campaign, labeler, sitting.seat, Hand.WORK, now)
    return _handed_out(taken)


def claim_ahead(*, campaign_id: int, labeler: User, now: datetime) -> Assignment:
    """Lease the task after the one in work, so that its page can be made ready. Asking again does not prolong it.

    Raises LeaseLost where nothing is in work, else what `claim` does.
    """
    with transaction.atomic():
        sitting = _enter(campaign_id, labeler)
        campaign, held = sitting.campaign, sitting.held
        if Hand.WORK not in held:
            raise LeaseLost
        if Hand.AHEAD in held:
            return held[Hand.AHEAD]
        _check_open(campaign, labeler)
        taken = _take_next(campaign, labeler, sitting.seat, Hand.AHEAD, now)
    return _handed_out(taken)


def put_down(*, campaign_id: int, labeler: User, now: datetime) -> None:
    """The labeler stops for now: what is ready ahead goes to others."""
    with transaction.atomic():
        ahead = (
            Assignment.objects.select_for_update()
            .filter(campaign=campaign_id, labeler=labeler, state=State.LEASED, hand=Hand.AHEAD)
            .first()
        )
        if ahead is not None:
            give_back(ahead, Move.RELEASE, actor=labeler, now=now)


def renew(*, assignment_id: int, labeler: User, now: datetime) -> datetime:
    """Heartbeat: move the lease's end on and return it. A task that is only ready ahead keeps its end.

    Raises LeaseLost or one of its subclasses, which name the cause; also for somebody else's assignment.
    """
    with connection.cursor() as cursor:
        execute(cursor, RENEW, {"assignment": assignment_id, "labeler": labeler.id, "now": now, "ahead": Hand.AHEAD})
        found = cursor.fetchone()
    if found is None:
        raise not_held(own(assignment_id, labeler), labeler)
    until: datetime = found[0]
    return until


RENEW = """
UPDATE work_assignment slot SET leased_until = CASE
    WHEN slot.hand = %(ahead)s THEN slot.leased_until
    ELSE %(now)s::timestamptz + campaign.lease_minutes * interval '1 minute' END
FROM work_campaign campaign
WHERE slot.id = %(assignment)s AND slot.labeler_id = %(labeler)s AND slot.state = 'leased'
    AND campaign.id = slot.campaign_id
RETURNING slot.leased_until
"""


def release(*, assignment_id: int, labeler: User, now: datetime) -> Assignment:
    """Put the task back for somebody else; the draft stays."""
    with transaction.atomic():
        assignment = _held(own(assignment_id, labeler), labeler)
        return give_back(assignment, Move.RELEASE, actor=labeler, now=now)


def skip(*, assignment_id: int, labeler: User, reason: str, note: str, now: datetime) -> Skip:
    """Pass on a task for good: it does not come back to this labeler.

    A sent-back answer can be passed on too: it stays with its writer, cancelled, and a new slot takes its place. When
    as many people have skipped the task as the campaign allows, it stops, and waits for a manager.
    """
    with transaction.atomic():
        wanted = own(assignment_id, labeler)
        # Holding the campaign, concurrent skips follow one another, and the last one counts them all.
        campaign = hold_campaign(wanted.campaign_id)
        hold_slots([wanted.task_id])
        assignment = _held(wanted, labeler)
        task = Task.objects.select_for_update(no_key=True).get(id=assignment.task_id)
        skipped, _created = Skip.objects.get_or_create(
            task_id=assignment.task_id,
            labeler=labeler,
            defaults={"reason": reason, "note": note, "skipped_at": now},
        )
        if assignment.rounds:
            replace(assignment, Move.GIVE_UP, actor=labeler, now=now)
        else:
            give_back(assignment, Move.SKIP, actor=labeler, now=now, detail={"reason": reason})
        stopping = stops(skips=task.skips.count(), excused=task.excused, limit=campaign.skip_limit)
        if stopping and task.stopped_at is None and task.dropped_at is None:
            stop(task, now)
        return skipped


def sweep(*, now: datetime) -> int:
    """Free every lease that has ended, and return how many. Safe to run anywhere, twice, at once."""
    freed = 0
    while batch := _sweep_batch(now):
        freed += batch
    return freed


def _sweep_batch(now: datetime) -> int:
    ended = queries.overdue().filter(leased_until__lt=now).values_list("id", flat=True)[:SWEEP_BATCH]
    return sum(_expire(assignment_id, now) for assignment_id in list(ended))


def _expire(assignment_id: int, now: datetime) -> bool:
    """Free one lease, in a transaction of its own: whoever holds several and wants a task's row waits in a circle."""
    with transaction.atomic():
        ended = queries.overdue().filter(id=assignment_id, leased_until__lt=now)
        assignment = ended.select_for_update(skip_locked=True).first()
        if assignment is None:
            return False
        detail = {"labeler": assignment.labeler_id, "leased_until": str(assignment.leased_until)}
        give_back(assignment, Move.EXPIRE, actor=None, now=now, detail=detail)
        return True


def lease_end(campaign: Campaign, now: datetime) -> datetime:
    return now + timedelta(minutes=campaign.lease_minutes)


def _enter(campaign_id: int, labeler: User) -> queue.Sitting:
    """The labeler's sitting in the campaign, with a seat, if it is open to them."""
    sitting = queue.take_seat(campaign_id, labeler)
    if sitting is None or not queries.may_enter(sitting.campaign, labeler):
        raise NotYours
    return sitting if sitting.seat else queue.take_new_seat(campaign_id, labeler)


def _check_open(campaign: Any, labeler: User) -> None:
    """May the labeler begin a task now?"""
    if campaign.state != CampaignState.OPEN:
        raise CampaignNotOpen
    if not campaign.acknowledged:
        raise NotAcknowledged(GuidelineVersion.objects.filter(id=campaign.version_id).first())


def held_in(campaign: Campaign, labeler: User, *, lock: bool = False) -> dict[int, Assignment]:
    """What the labeler holds in the campaign, by hand."""
    held = SLOT.rows(HELD + "FOR UPDATE" * lock, {"campaign": campaign.id, "labeler": labeler.id})
    return {row.hand: row for row in held}


HELD = f"""
SELECT {SLOT.columns} FROM work_assignment slot
WHERE slot.campaign_id = %(campaign)s AND slot.labeler_id = %(labeler)s AND slot.state = 'leased' ORDER BY slot.id
"""


def renewed(held: Assignment, **columns: Any) -> bool:
    """Change columns of a lease, if it is still theirs."""
    lease = Assignment.objects.filter(id=held.id, labeler=held.labeler_id, state=State.LEASED)
    return bool(lease.update(**columns))


def _take_next(campaign: Any, labeler: User, seat: Any, hand: Hand, now: datetime) -> Assignment | NothingLeft | Busy:
    _check_daily_cap(labeler, now)
    columns: dict[str, Any] = {"labeler_id": labeler.id, "hand": hand, "claimed_at": now}
    columns |= {"leased_until": lease_end(campaign, now), "guideline_version_id": campaign.version_id}
    slot = queue.come_back(campaign, labeler, seat)
    if slot is not None:
        return move(slot, Move.CLAIM, actor=labeler, now=now, along=[queue.moved_on(seat)], **columns)
    for search, follow in queue.searches(campaign, labeler, seat):
        found = move_first(search, Move.CLAIM, actor=labeler, now=now, along=[follow], **columns)
        if found is not None:
            return found
    return NothingLeft() if queue.is_exhausted(campaign, labeler, seat) else Busy()


def _handed_out(taken: Assignment | NothingLeft | Busy) -> Assignment:
    """Raised only here, after the transaction: what the seat has learned by a search in vain stays."""
    if isinstance(taken, Refusal):
        raise taken
    return taken


def _check_daily_cap(labeler: User, now: datetime) -> None:
    if labeler.daily_cap is None:
        return
    # Claims in several campaigns at once wait for each other here.
    User.objects.select_for_update(no_key=True).get(id=labeler.id)
    # A sent-back answer in work again is one that was submitted before: it counts once.
    held = Assignment.objects.filter(labeler=labeler, state=State.LEASED, rounds=0).count()
    if held + queries.answered_today(labeler, now) >= labeler.daily_cap:
        raise DailyCap


def own(assignment_id: int, labeler: User) -> Assignment:
    """The assignment, if the labeler has or had it; an outsider cannot tell it from one that does not exist."""
    assignment = Assignment.objects.select_related("campaign").filter(id=assignment_id).first()
    if assignment is None:
        raise NotYours
    if assignment.labeler_id != labeler.id and not queries.has_held(labeler, assignment.task_id):
        raise NotYours
    return assignment


def _held(wanted: Assignment, labeler: User) -> Assignment:
    """The row, locked, if the labeler holds it now."""
    assignment = Assignment.objects.select_for_update().get(id=wanted.id)
    if assignment.labeler_id != labeler.id or assignment.state != State.LEASED:
        raise not_held(wanted, labeler)
    return assignment
