"""Hand an answer in, take it back, take a sent-back one up again."""

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from django.conf import settings
from django.db import IntegrityError, connection, transaction

from annotate.accounts.models import User
from annotate.guidelines.queries import acknowledged_version
from annotate.lib.prepared import execute
from annotate.work import queries, queue, times
from annotate.work.drafts import DROP_DRAFT
from annotate.work.leases import held_in, lease_end, own, release, renewed
from annotate.work.lost import lease_lost, not_sent_back, set_aside, takes_late
from annotate.work.models import SUBMIT_KEY_ONCE, Assignment, Campaign, Hand
from annotate.work.moves import SLOT, Sql, move, require_transaction
from annotate.work.refusals import AlreadySubmitted, CampaignClosed, KeyTaken, LeaseLost, NotYours, UndoOver
from annotate.work.rules import needs_review
from annotate.work.slots import give_back, hold_campaign
from annotate.work.states import CampaignState, Move, State


@dataclass(frozen=True)
class Submission:
    """What a submit came to. `repeated`: this very submit arrived before, and nothing was done again."""

    assignment: Assignment
    repeated: bool


def submit(
    *,
    assignment_id: int,
    labeler: User,
    submit_key: UUID,
    now: datetime,
    replaces: Callable[[Assignment], dict[str, Any] | None] = lambda _earlier: None,
    along: Sequence[Sql] = (),
) -> Submission:
    """Hand an answer in; the bench stores its own rows in the same transaction, unless the submit is a repeated one. A
    row of one statement may go `along` with the move.

    `replaces` reads the sent-back answer that this one takes the place of, where there is one; the event keeps it.

    The lease may have ended, and the sweep may have freed the slot: the answer is still taken while the task has any
    slot free. Where the campaign asks for no review of this answer it is accepted at once.
    Raises NotYours, AlreadySubmitted, KeyTaken or LeaseLost.
    """
    require_transaction()
    campaign, task_id, rows = _wanted(assignment_id, labeler, submit_key)
    earlier = next((row for row in rows if row.submit_key == submit_key), None)
    if earlier is not None:
        if not _is_this_submit(earlier, task_id, labeler):
            raise KeyTaken
        earlier.campaign = campaign
        return Submission(earlier, repeated=True)
    mine: Any = rows[0] if rows else None
    steps = [Move.SUBMIT]
    if mine is not None and mine.state != State.LEASED:
        if mine.state == State.CANCELLED:
            raise lease_lost(campaign, mine, labeler)
        if not set_aside(mine):
            raise AlreadySubmitted
        steps.insert(0, Move.RESUME)
    columns: dict[str, Any] = {}
    if mine is None:
        mine = _free_slot(campaign, task_id, assignment_id, labeler)
        steps.insert(0, Move.CLAIM)
        version = acknowledged_version(labeler, campaign.guideline)
        columns = {"labeler_id": labeler.id, "claimed_at": now, "guideline_version_id": version and version.id}
    reviewed = bool(mine.rounds) or needs_review(mine.id, now, campaign.review_percent, settings.SECRET_KEY)
    if not reviewed:
        steps.append(Move.ACCEPT)
        columns |= {"decided_at": now}
    columns["active_seconds"] = Sql(times.ACTIVE, {"task": task_id, "labeler": labeler.id})
    before = replaces(mine) if mine.rounds else None
    try:
        move(
            mine,
            *steps,
            actor=labeler,
            now=now,
            detail={"replaces": before} if before else None,
            along=[Sql(DROP_DRAFT, {"task": task_id, "labeler": labeler.id}), *along],
            hand=Hand.WORK,
            submitted_at=now,
            submit_key=submit_key,
            needs_review=reviewed,
            leased_until=None,
            **columns,
        )
    except IntegrityError as conflict:
        # Somebody else submits with the same key concurrently: WANTED does not see what is not committed yet.
        if SUBMIT_KEY_ONCE in str(conflict):
            raise KeyTaken from conflict
        raise
    mine.campaign = campaign
    return Submission(mine, repeated=False)


def undo(*, assignment_id: int, labeler: User, now: datetime) -> Assignment:
    """Take the labeler's last submit back into work, in the campaign's minutes for it, while nobody has built on it.

    The bench turns its answer into the draft again in the same transaction. What was claimed after the submit stays
    ready ahead. Raises NotYours or UndoOver.
    """
    require_transaction()
    wanted = own(assignment_id, labeler)
    # An export settles the campaign before it reads: whoever comes after it is too late, whoever comes before is seen.
    campaign = hold_campaign(wanted.campaign_id)
    searched = queue.lock_seat(campaign, labeler)
    mine = Assignment.objects.select_for_update().get(id=wanted.id)
    if not _may_undo(mine, campaign, labeler, now):
        raise UndoOver
    # Its task may come back to them now, with all of its slots.
    if searched:
        queue.look_behind(campaign.id, labeler)
    held = held_in(campaign, labeler, lock=True)
    if Hand.WORK in held:
        if Hand.AHEAD in held:
            give_back(held[Hand.AHEAD], Move.RELEASE, actor=labeler, now=now)
        renewed(held[Hand.WORK], hand=Hand.AHEAD)
    steps = [Move.TAKE_BACK, Move.UNDO] if mine.state == State.ACCEPTED else [Move.UNDO]
    columns: dict[str, Any] = {"submit_key": None, "needs_review": False, "leased_until": lease_end(campaign, now)}
    if not mine.rounds:
        columns |= {"submitted_at": None, "decided_at": None}
    move(mine, *steps, actor=labeler, now=now, **columns)
    mine.campaign = campaign
    return mine


def can_undo(assignment: Assignment, labeler: User, now: datetime) -> bool:
    """Would `undo` take this answer back now, as far as the queue knows?"""
    return _may_undo(assignment, assignment.campaign, labeler, now)


def resume(*, assignment_id: int, labeler: User, now: datetime) -> Assignment:
    """Take a sent-back answer up again. Another task held in the campaign goes back, its draft kept.

    Raises NotYours, CampaignClosed, or when it is not sent back any more Moved: NotSentBack, Replaced or GivenUp where
    that is the reason.
    """
    with transaction.atomic():
        assignment = own(assignment_id, labeler)
        queue.lock_seat(assignment.campaign, labeler)
        other = held_in(assignment.campaign, labeler).get(Hand.WORK)
        if other is not None and other.id == assignment.id:
            return assignment
        if assignment.campaign.state == CampaignState.CLOSED:
            raise CampaignClosed
        # Before the other goes back: whoever replaces this one holds it while its new slot comes in.
        assignment.refresh_from_db(from_queryset=Assignment.objects.select_for_update())
        if assignment.labeler_id != labeler.id:
            raise NotYours
        if assignment.state != State.SENT_BACK:
            raise not_sent_back(assignment)
        if other is not None:
            # Or it has gone back by itself meanwhile: its time was over.
            with suppress(LeaseLost):
                release(assignment_id=other.id, labeler=labeler, now=now)
        until = lease_end(assignment.campaign, now)
        return move(assignment, Move.RESUME, actor=labeler, now=now, leased_until=until)


def _may_undo(mine: Assignment, campaign: Campaign, labeler: User, now: datetime) -> bool:
    """Is it an undecided answer, young enough, that no export has read and no later one of theirs has followed?"""
    if mine.labeler_id != labeler.id or mine.submitted_at is None or campaign.state == CampaignState.CLOSED:
        return False
    undecided = mine.state == State.SUBMITTED or (mine.state == State.ACCEPTED and mine.decided_by_id is None)
    young = now - mine.submitted_at <= timedelta(minutes=campaign.undo_minutes)
    settled = campaign.settled_at is not None and mine.submitted_at <= campaign.settled_at
    if not undecided or not campaign.undo_minutes or not young or settled:
        return False
    later = Assignment.objects.filter(campaign=campaign, labeler=labeler, submitted_at__gt=mine.submitted_at)
    return not later.exists()


# Their seat in the campaign of an assignment that a labeler has or had: whoever has held a task of it has one.
LOCK_BY_SLOT = """
SELECT seat.id FROM work_seat seat JOIN work_assignment slot ON slot.campaign_id = seat.campaign_id
WHERE slot.id = %(assignment)s AND seat.labeler_id = %(labeler)s FOR UPDATE OF seat
"""


# With the answer that bears the key, and what the labeler has of the task: a row for each.
WANTED = f"""
WITH slot AS (
    SELECT {SLOT.columns} FROM work_assignment slot
    WHERE slot.submit_key = %(key)s OR (slot.labeler_id = %(labeler)s AND slot.task_id = (
        SELECT wanted.task_id FROM work_assignment wanted WHERE wanted.id = %(assignment)s))
    ORDER BY slot.id FOR UPDATE OF slot)
SELECT {queries.CAMPAIGN.columns}, wanted.task_id, wanted.labeler_id, slot.*
FROM work_assignment wanted JOIN work_campaign campaign ON campaign.id = wanted.campaign_id
JOIN work_seat seat ON seat.campaign_id = wanted.campaign_id AND seat.labeler_id = %(labeler)s
LEFT JOIN slot ON true
WHERE wanted.id = %(assignment)s ORDER BY slot.id
"""


def _wanted(assignment_id: int, labeler: User, key: UUID) -> tuple[Campaign, int, list[Assignment]]:
    """The campaign and the task's id of an assignment that the labeler has or had, as `own`, their seat locked; and
    what WANTED finds, locked."""
    with connection.cursor() as cursor:
        values = {"labeler": labeler.id, "assignment": assignment_id, "key": key}
        execute(cursor, WANTED, values, first=LOCK_BY_SLOT)
        rows = cursor.fetchall()
    if not rows:
        raise NotYours
    campaign, (task_id, of, *_slot) = queries.CAMPAIGN.made(rows[0])
    if of != labeler.id and not queries.has_held(labeler, task_id):
        raise NotYours
    found = [SLOT.made_if_any(row[-len(SLOT) :])[0] for row in rows]
    return campaign, task_id, [slot for slot in found if slot]


def _is_this_submit(earlier: Assignment, task_id: int, labeler: User) -> bool:
    """Is this the submit that left its key on `earlier`, once more? Its answer then still stands there as handed in.

    The key of another task, or of an answer that was sent back since, comes from an old page with other text on it:
    calling that submitted would lose the text.
    """
    same = earlier.labeler_id == labeler.id and earlier.task_id == task_id
    return same and earlier.state in (State.SUBMITTED, State.ACCEPTED)


def _free_slot(campaign: Campaign, task_id: int, assignment_id: int, labeler: User) -> Assignment:
    """After an expired lease: the same slot, or any other of the task that is free."""
    slot = None
    if takes_late(campaign, task_id, labeler):
        free = Assignment.objects.select_for_update(skip_locked=True).filter(task_id=task_id, state=State.OPEN)
        slot = free.filter(id=assignment_id).first() or free.order_by("slot").first()
    if slot is None:
        raise lease_lost(campaign, Assignment.objects.get(id=assignment_id), labeler)
    return slot
