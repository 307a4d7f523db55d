"""Claim, renew, release, skip and expire leases.

The page's heartbeat extends a lease; the sweep ends it. The draft stays, and the labeler can submit while a slot of the
task is free.
"""

from datetime import datetime, timedelta
from pathlib import Path
from typing import Unpack

from django.db import connection, transaction

from annotate.accounts.models import User
from annotate.guidelines.models import GuidelineVersion
from annotate.lib.prepared import execute
from annotate.lib.refusals import Refusal
from annotate.lib.sql import load_statements
from annotate.work import queries, queue
from annotate.work.eligibility import Eligibility
from annotate.work.lost import not_held
from annotate.work.models import Assignment, Campaign, Hand, Skip, Task
from annotate.work.moves import Columns, move, move_first
from annotate.work.queue import Cursor, Entry, Held
from annotate.work.refusals import Busy, CampaignNotOpen, DailyCap, LeaseLost, NotAcknowledged, NothingLeft, NotYours
from annotate.work.rules import stops
from annotate.work.shapes import SLOT
from annotate.work.slots import give_back, hold_campaign, hold_slots, replace_answer, stop_task
from annotate.work.states import CampaignState, Move, State

SQL = load_statements(Path(__file__).parent / "sql/leases.sql", slot=SLOT)
SWEEP_BATCH = 500


def claim(*, campaign_id: int, labeler: User, now: datetime) -> Assignment:
    """Return the labeler's active task, else their prefetched one, else the next open slot.

    Raises NotYours, NotAcknowledged, CampaignNotOpen, DailyCap, NothingLeft or Busy.
    """
    with transaction.atomic():
        entry, cursor = _enter(campaign_id, labeler)
        campaign, held = entry.eligibility.campaign, entry.held
        # The sweep or another tab may have freed it.
        if held.active and change_lease(held.active, leased_until=lease_end(campaign, now)):
            return held.active
        _check_open(entry.eligibility)
        columns = Columns(
            hand=Hand.ACTIVE,
            leased_until=lease_end(campaign, now),
            claimed_at=now,
            guideline_version_id=entry.eligibility.version_id,
        )
        if held.prefetched and change_lease(held.prefetched, **columns):
            return held.prefetched
        taken = _take_next(entry.eligibility, labeler, cursor, Hand.ACTIVE, now)
    return _raise_refusal(taken)


def prefetch(*, campaign_id: int, labeler: User, now: datetime) -> Assignment:
    """Lease the task after the active one, once. Raises LeaseLost if no task is active, else as `claim`."""
    with transaction.atomic():
        entry, cursor = _enter(campaign_id, labeler)
        if entry.held.active is None:
            raise LeaseLost
        if entry.held.prefetched:
            return entry.held.prefetched
        _check_open(entry.eligibility)
        taken = _take_next(entry.eligibility, labeler, cursor, Hand.PREFETCHED, now)
    return _raise_refusal(taken)


def release_prefetched(*, campaign_id: int, labeler: User, now: datetime) -> None:
    with transaction.atomic():
        slot = (
            Assignment.objects.select_for_update()
            .filter(campaign=campaign_id, labeler=labeler, state=State.LEASED, hand=Hand.PREFETCHED)
            .first()
        )
        if slot is not None:
            give_back(slot, Move.RELEASE, actor=labeler, now=now)


def renew(*, assignment_id: int, labeler: User, now: datetime) -> datetime:
    """Extend the lease of an active task, and return its end. Raises NotYours or LeaseLost."""
    values = {"assignment": assignment_id, "labeler": labeler.id, "now": now, "prefetched": Hand.PREFETCHED}
    with connection.cursor() as cursor:
        execute(cursor, SQL["renew"], values)
        row = cursor.fetchone()
    if row is None:
        raise not_held(own_or_refuse(assignment_id, labeler), labeler)
    until: datetime = row[0]
    return until


def release(*, assignment_id: int, labeler: User, now: datetime) -> Assignment:
    with transaction.atomic():
        assignment = _lock_held(own_or_refuse(assignment_id, labeler), labeler)
        return give_back(assignment, Move.RELEASE, actor=labeler, now=now)


def skip(*, assignment_id: int, labeler: User, reason: str, note: str, now: datetime) -> Skip:
    """Give a task back for good. At the campaign's limit of skips the task stops."""
    with transaction.atomic():
        requested = own_or_refuse(assignment_id, labeler)
        # Concurrent skips wait here: the last one counts all.
        campaign = hold_campaign(requested.campaign_id)
        hold_slots([requested.task_id])
        assignment = _lock_held(requested, labeler)
        task = Task.objects.select_for_update(no_key=True).get(id=assignment.task_id)
        skipped, _created = Skip.objects.get_or_create(
            task_id=assignment.task_id,
            labeler=labeler,
            defaults={"reason": reason, "note": note, "skipped_at": now},
        )
        if assignment.rounds:
            replace_answer(assignment, Move.GIVE_UP, actor=labeler, now=now)
        else:
            give_back(assignment, Move.SKIP, actor=labeler, now=now, detail={"reason": reason})
        stopping = stops(skips=task.skips.count(), excused=task.excused, limit=campaign.skip_limit)
        if stopping and task.stopped_at is None and task.dropped_at is None:
            stop_task(task, now)
        return skipped


def sweep(*, now: datetime) -> int:
    """Free expired leases, and return their number. Idempotent and safe to run concurrently."""
    freed = 0
    while batch := _sweep_batch(now):
        freed += batch
    return freed


def _sweep_batch(now: datetime) -> int:
    ended = queries.overdue().filter(leased_until__lt=now).values_list("id", flat=True)[:SWEEP_BATCH]
    return sum(_expire(assignment_id, now) for assignment_id in list(ended))


def _expire(assignment_id: int, now: datetime) -> bool:
    """A transaction per lease: holding several slots while waiting for a task could deadlock."""
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


def _enter(campaign_id: int, labeler: User) -> tuple[Entry, Cursor]:
    entry = queue.enter(campaign_id, labeler)
    if entry is None or not entry.eligibility.allows(labeler):
        raise NotYours
    return (entry, entry.cursor) if entry.cursor else queue.enter_new_seat(campaign_id, labeler)


def _check_open(eligibility: Eligibility) -> None:
    if eligibility.campaign.state != CampaignState.OPEN:
        raise CampaignNotOpen
    if not eligibility.acknowledged:
        version_id = eligibility.version_id
        raise NotAcknowledged(GuidelineVersion.objects.get(id=version_id) if version_id else None)


def held_in(campaign: Campaign, labeler: User, *, lock: bool = False) -> Held:
    statement = SQL["lock_held" if lock else "held"]
    return queue.held_by_hand(SLOT.rows(statement, {"campaign": campaign.id, "labeler": labeler.id}))


def change_lease(lease: Assignment, **columns: Unpack[Columns]) -> bool:
    """False: the labeler has lost the lease."""
    held = Assignment.objects.filter(id=lease.id, labeler=lease.labeler_id, state=State.LEASED)
    return bool(held.update(**columns))


def _take_next(
    eligibility: Eligibility, labeler: User, cursor: Cursor, hand: Hand, now: datetime
) -> Assignment | NothingLeft | Busy:
    _check_daily_cap(labeler, now)
    campaign = eligibility.campaign
    columns = Columns(
        labeler_id=labeler.id,
        hand=hand,
        claimed_at=now,
        leased_until=lease_end(campaign, now),
        guideline_version_id=eligibility.version_id,
    )
    slot = queue.take_preferred(campaign, labeler, cursor)
    if slot is not None:
        along = [queue.store(cursor)]
        return move(slot=slot, steps=[Move.CLAIM], actor=labeler, now=now, along=along, **columns)
    along = [queue.store_at_found(cursor)]
    for search in queue.searches(campaign, labeler, cursor):
        taken = move_first(search=search, steps=[Move.CLAIM], actor=labeler, now=now, along=along, **columns)
        if taken is not None:
            return taken
    return NothingLeft() if queue.is_exhausted(campaign, labeler, cursor) else Busy()


def _raise_refusal(taken: Assignment | NothingLeft | Busy) -> Assignment:
    """After the transaction, which stores the cursor."""
    if isinstance(taken, Refusal):
        raise taken
    return taken


def _check_daily_cap(labeler: User, now: datetime) -> None:
    if labeler.daily_cap is None:
        return
    # Claims in other campaigns wait here.
    User.objects.select_for_update(no_key=True).get(id=labeler.id)
    # `answered_today` includes resumed answers.
    held = Assignment.objects.filter(labeler=labeler, state=State.LEASED, rounds=0).count()
    if held + queries.answered_today(labeler, now) >= labeler.daily_cap:
        raise DailyCap


def own_or_refuse(assignment_id: int, labeler: User) -> Assignment:
    """Raises NotYours, also if the assignment does not exist."""
    assignment = Assignment.objects.select_related("campaign").filter(id=assignment_id).first()
    if assignment is None:
        raise NotYours
    if assignment.labeler_id != labeler.id and not queries.has_held(labeler, assignment.task_id):
        raise NotYours
    return assignment


def _lock_held(requested: Assignment, labeler: User) -> Assignment:
    assignment = Assignment.objects.select_for_update().get(id=requested.id)
    if assignment.labeler_id != labeler.id or assignment.state != State.LEASED:
        raise not_held(requested, labeler)
    return assignment
