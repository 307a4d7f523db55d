"""Submit an answer, undo a submit, resume a sent-back answer."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from uuid import UUID

from django.conf import settings
from django.db import IntegrityError, connection, transaction

from annotate.accounts.models import User
from annotate.guidelines.queries import acknowledged_version
from annotate.lib.prepared import execute
from annotate.lib.sql import load_statements
from annotate.work import queries, queue, times
from annotate.work.drafts import drop_draft
from annotate.work.leases import change_lease, held_in, lease_end, own_or_refuse, release
from annotate.work.lost import lease_lost, not_sent_back, set_aside, takes_late
from annotate.work.models import SUBMIT_KEY_ONCE, Assignment, Campaign, Hand
from annotate.work.moves import Columns, Sql, move, require_transaction
from annotate.work.refusals import AlreadySubmitted, CampaignClosed, KeyTaken, LeaseLost, NotYours, UndoOver
from annotate.work.rules import needs_review
from annotate.work.shapes import CAMPAIGN, SLOT
from annotate.work.slots import give_back, hold_campaign
from annotate.work.states import CampaignState, Move, State

SQL = load_statements(Path(__file__).parent / "sql/submitting.sql", campaign=CAMPAIGN, slot=SLOT)


@dataclass(frozen=True)
class Submission:
    """`repeated`: the same submit arrived before; this one changed nothing."""

    assignment: Assignment
    repeated: bool


@dataclass(frozen=True)
class Request:
    """`mine`: the labeler's slot of the task. `same_key`: the answer with this submit key."""

    campaign: Campaign
    task_id: int
    mine: Assignment | None
    same_key: Assignment | None


def submit(
    *,
    assignment_id: int,
    labeler: User,
    submit_key: UUID,
    now: datetime,
    replaces: Callable[[Assignment], Mapping[str, object] | None] = lambda _earlier: None,
    along: Sequence[Sql] = (),
) -> Submission:
    """Submit an answer, also after the lease has ended if a slot of the task is free.

    The workflow stores its rows in the same transaction, unless `repeated`, or by statements in `along`. `replaces`
    returns the sent-back answer, which the event keeps. An answer that is not drawn for review is accepted immediately.

    Raises NotYours, AlreadySubmitted, KeyTaken or LeaseLost.
    """
    require_transaction()
    request = _load_request(assignment_id, labeler, submit_key)
    campaign, task_id, mine = request.campaign, request.task_id, request.mine
    if request.same_key is not None:
        if not _is_this_submit(request.same_key, task_id, labeler):
            raise KeyTaken
        request.same_key.campaign = campaign
        return Submission(request.same_key, repeated=True)
    columns: Columns = {}
    if mine is None:
        mine = _free_slot(campaign, task_id, assignment_id, labeler)
        steps = [Move.CLAIM, Move.SUBMIT]
        version = acknowledged_version(labeler, campaign.guideline)
        columns = Columns(labeler_id=labeler.id, claimed_at=now, guideline_version_id=version.id if version else None)
    else:
        steps = _steps_to_submit(mine, campaign, labeler)
    reviewed = bool(mine.rounds) or needs_review(mine.id, now, campaign.review_percent, settings.SECRET_KEY)
    if not reviewed:
        steps.append(Move.ACCEPT)
        columns["decided_at"] = now
    columns |= Columns(
        hand=Hand.ACTIVE,
        submitted_at=now,
        submit_key=submit_key,
        needs_review=reviewed,
        leased_until=None,
        active_seconds=times.active_seconds(task_id, labeler),
    )
    before = replaces(mine) if mine.rounds else None
    try:
        move(
            slot=mine,
            steps=steps,
            actor=labeler,
            now=now,
            detail={"replaces": before} if before else None,
            along=[drop_draft(task_id, labeler), *along],
            **columns,
        )
    except IntegrityError as conflict:
        # A concurrent submit with the same key was not yet visible.
        if SUBMIT_KEY_ONCE in str(conflict):
            raise KeyTaken from conflict
        raise
    mine.campaign = campaign
    return Submission(mine, repeated=False)


def undo(*, assignment_id: int, labeler: User, now: datetime) -> Assignment:
    """Undo the labeler's last submit. The active task becomes the prefetched one. Raises NotYours or UndoOver.

    The workflow turns its answer into a draft in the same transaction.
    """
    require_transaction()
    requested = own_or_refuse(assignment_id, labeler)
    # An export settles the campaign under this lock.
    campaign = hold_campaign(requested.campaign_id)
    searched = queue.lock_seat(campaign, labeler)
    mine = Assignment.objects.select_for_update().get(id=requested.id)
    if not _may_undo(mine, campaign, labeler, now):
        raise UndoOver
    # They may give the task back, which opens its other slots to them.
    if searched:
        queue.look_behind(campaign.id, labeler)
    held = held_in(campaign, labeler, lock=True)
    if held.active:
        if held.prefetched:
            give_back(held.prefetched, Move.RELEASE, actor=labeler, now=now)
        change_lease(held.active, hand=Hand.PREFETCHED)
    steps = [Move.TAKE_BACK, Move.UNDO] if mine.state == State.ACCEPTED else [Move.UNDO]
    columns = Columns(submit_key=None, needs_review=False, leased_until=lease_end(campaign, now))
    if not mine.rounds:
        columns |= Columns(submitted_at=None, decided_at=None)
    move(slot=mine, steps=steps, actor=labeler, now=now, **columns)
    mine.campaign = campaign
    return mine


def can_undo(assignment: Assignment, labeler: User, now: datetime) -> bool:
    """The workflow may still refuse."""
    return _may_undo(assignment, assignment.campaign, labeler, now)


def resume(*, assignment_id: int, labeler: User, now: datetime) -> Assignment:
    """Lease a sent-back answer to its writer, and release their active task.

    Raises NotYours, CampaignClosed, or Moved or a subclass of it.
    """
    with transaction.atomic():
        assignment = own_or_refuse(assignment_id, labeler)
        queue.lock_seat(assignment.campaign, labeler)
        other = held_in(assignment.campaign, labeler).active
        if other is not None and other.id == assignment.id:
            return assignment
        if assignment.campaign.state == CampaignState.CLOSED:
            raise CampaignClosed
        # Before the release: a concurrent replacement locks this answer before the lock for returned slots.
        assignment.refresh_from_db(from_queryset=Assignment.objects.select_for_update())
        if assignment.labeler_id != labeler.id:
            raise NotYours
        if assignment.state != State.SENT_BACK:
            raise not_sent_back(assignment)
        if other is not None:
            with suppress(LeaseLost):
                release(assignment_id=other.id, labeler=labeler, now=now)
        until = lease_end(assignment.campaign, now)
        return move(slot=assignment, steps=[Move.RESUME], actor=labeler, now=now, leased_until=until)


def _may_undo(mine: Assignment, campaign: Campaign, labeler: User, now: datetime) -> bool:
    if mine.labeler_id != labeler.id or mine.submitted_at is None or campaign.state == CampaignState.CLOSED:
        return False
    undecided = mine.state == State.SUBMITTED or (mine.state == State.ACCEPTED and mine.decided_by_id is None)
    recent = now - mine.submitted_at <= timedelta(minutes=campaign.undo_minutes)
    settled = campaign.settled_at is not None and mine.submitted_at <= campaign.settled_at
    if not undecided or not campaign.undo_minutes or not recent or settled:
        return False
    later = Assignment.objects.filter(campaign=campaign, labeler=labeler, submitted_at__gt=mine.submitted_at)
    return not later.exists()


def _load_request(assignment_id: int, labeler: User, key: UUID) -> Request:
    """Also locks the seat and the slots."""
    with connection.cursor() as cursor:
        values = {"labeler": labeler.id, "assignment": assignment_id, "key": key}
        execute(cursor, SQL["requested"], values, first=SQL["lock_seat"])
        rows = cursor.fetchall()
    if not rows:
        raise NotYours
    campaign, (task_id, labeler_id, *_slot) = CAMPAIGN.made(rows[0])
    if labeler_id != labeler.id and not queries.has_held(labeler, task_id):
        raise NotYours
    slots = [slot for row in rows if (slot := SLOT.made_if_any(row[-len(SLOT) :])[0])]
    same_key = next((slot for slot in slots if slot.submit_key == key), None)
    return Request(campaign, task_id, slots[0] if slots else None, same_key)


def _is_this_submit(earlier: Assignment, task_id: int, labeler: User) -> bool:
    """If not, an old page with other text sent the key. Reporting success would lose that text."""
    same = earlier.labeler_id == labeler.id and earlier.task_id == task_id
    return same and earlier.state in (State.SUBMITTED, State.ACCEPTED)


def _steps_to_submit(mine: Assignment, campaign: Campaign, labeler: User) -> list[Move]:
    if mine.state == State.LEASED:
        return [Move.SUBMIT]
    if mine.state == State.CANCELLED:
        raise lease_lost(campaign, mine, labeler)
    if not set_aside(mine):
        raise AlreadySubmitted
    return [Move.RESUME, Move.SUBMIT]


def _free_slot(campaign: Campaign, task_id: int, assignment_id: int, labeler: User) -> Assignment:
    slot = None
    if takes_late(campaign, task_id, labeler):
        free = Assignment.objects.select_for_update(skip_locked=True).filter(task_id=task_id, state=State.OPEN)
        slot = free.filter(id=assignment_id).first() or free.order_by("slot").first()
    if slot is None:
        raise lease_lost(campaign, Assignment.objects.get(id=assignment_id), labeler)
    return slot
