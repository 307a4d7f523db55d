"""Who holds what until when: claim, renew, draft, release, skip, submit, undo, expire. Read this first.

A lease is a row's state, never a lock in memory: an assignment is `leased`, by a labeler, until a time. The page's
heartbeat moves that time on. When it passes, the sweep gives the slot back, but what was typed stays in the Draft, and
whoever comes back late still submits if any slot of the task is free.

A labeler holds up to two tasks of a campaign: one in work, and the next one ahead, so that its page is there when they
submit. Which slot is next says queue.py.
"""

import json
from collections.abc import Callable, Collection, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from django.conf import settings
from django.db import IntegrityError, connection, transaction
from django.utils.translation import gettext_lazy as _
from psycopg2.extras import Json

from annotate.accounts.models import User
from annotate.guidelines.models import GuidelineVersion
from annotate.guidelines.queries import acknowledged_version
from annotate.lib.prepared import execute
from annotate.lib.refusals import Refusal
from annotate.work import queries, queue, times
from annotate.work.models import SUBMIT_KEY_ONCE, Assignment, Campaign, Draft, Event, Hand, Skip, Task
from annotate.work.moves import SLOT, Moved, Sql, move, move_first, require_transaction
from annotate.work.rules import needs_review, stops
from annotate.work.states import CampaignState, Move, State

# A draft is what one person typed into one form; anything larger is not that.
DRAFT_MAX_CHARACTERS = 1_000_000
# The page shows each again, and a hundred thousand take ten seconds. Django takes no more of a form either.
DRAFT_MAX_FIELDS = 1_000
SWEEP_BATCH = 500


class NotYours(Refusal):
    message = _("This campaign or task is not open to you.")


class CampaignNotOpen(Refusal):
    message = _("This campaign hands out no tasks at the moment. What you hold you can still finish.")


class CampaignClosed(Refusal):
    message = _("This campaign is closed, and waits for no more answers.")


class NothingLeft(Refusal):
    message = _("There is nothing left for you in this campaign at the moment.")


class Busy(Refusal):
    message = _("Others are taking the next tasks at this very moment. Please try again.")


class DailyCap(Refusal):
    message = _("You have reached your number of answers for today. What you hold you can still finish.")


class LeaseLost(Refusal):
    message = _("Your time for this task ended and it went to somebody else. Your text is kept, and you can copy it.")


class Skipped(LeaseLost):
    message = _("You skipped this task. It does not come back to you.")


class ClosedMeanwhile(LeaseLost):
    message = _("This campaign is closed now, and takes no more answers. Your text is kept, and you can copy it.")


class NotOpenToYou(LeaseLost):
    message = _("This campaign is not open to you any more. Your text is kept, and you can copy it.")


class TaskStopped(LeaseLost):
    message = _(
        "Nobody can work on this task until a manager has decided about it. Your text is kept, and you can copy it."
    )


class NotWanted(LeaseLost):
    message = _("No more answers to this task are wanted. Your text is kept, and you can copy it.")


class LeaseEnded(LeaseLost):
    message = _("Your time for this task has ended. You can still submit it while nobody else has taken it.")


class AlreadySubmitted(LeaseLost):
    message = _("You have already submitted this task.")


class UndoOver(Refusal):
    message = _("This answer cannot be taken back any more: its time is over, or somebody has worked on with it.")


class NotSentBack(Moved):
    message = _(
        "You have already submitted this answer, and it is not sent back to you. You can read it under “My answers”."
    )


class Replaced(Moved):
    message = _(
        "Another labeler was asked for this answer instead of you, because you had not written it again. You can still"
        " read your text under “My answers”. Start another task."
    )


class GivenUp(Moved):
    message = _(
        "You skipped this task, so another labeler was asked for the answer. You can still read your text under"
        " “My answers”. Start another task."
    )


class KeyTaken(Refusal):
    message = _("This page was handed in before. Load the task again.")


class DraftTooLong(Refusal):
    message = _("This text is longer than a million characters and cannot be kept as a draft.")


class DraftOfTooManyFields(Refusal):
    message = _("This form has more than a thousand fields and cannot be kept as a draft.")


class NotAcknowledged(Refusal):
    message = _("Please read and acknowledge the current guideline first.")

    def __init__(self, version: GuidelineVersion | None) -> None:
        super().__init__(version)
        self.version = version


def claim(*, campaign_id: int, labeler: User, now: datetime) -> Assignment:
    """Give the labeler a task to work on: the one they hold already (another tab, a reload), else the one that is
    ready ahead, else the next open slot.

    Raises NotYours, NotAcknowledged, CampaignNotOpen, DailyCap, NothingLeft or Busy.
    """
    with transaction.atomic():
        sitting = _enter(campaign_id, labeler)
        campaign, held = sitting.campaign, sitting.held
        # Since that look the sweep, or a skip in another tab, may have taken it away: then claim anew.
        if (work := held.get(Hand.WORK)) and _renewed(work, leased_until=_lease_end(campaign, now)):
            return work
        _check_open(campaign, labeler)
        columns = {"hand": Hand.WORK, "leased_until": _lease_end(campaign, now), "claimed_at": now}
        columns["guideline_version_id"] = campaign.version_id
        if (ahead := held.get(Hand.AHEAD)) and _renewed(ahead, **columns):
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
            _give_back(ahead, Move.RELEASE, actor=labeler, now=now)


def renew(*, assignment_id: int, labeler: User, now: datetime) -> datetime:
    """Heartbeat: move the lease's end on and return it. A task that is only ready ahead keeps its end.

    Raises LeaseLost or one of its subclasses, which name the cause; also for somebody else's assignment.
    """
    with connection.cursor() as cursor:
        execute(cursor, RENEW, {"assignment": assignment_id, "labeler": labeler.id, "now": now, "ahead": Hand.AHEAD})
        found = cursor.fetchone()
    if found is None:
        raise _not_held(_own(assignment_id, labeler), labeler)
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


def save_draft(*, task_id: int, labeler: User, body: dict[str, Any], now: datetime, seen: str | None = None) -> Draft:
    """Keep what was typed, with or without a lease: an expired lease never destroys text.

    seen: the version that this text was written over, "" for none. If another window has saved since, its text comes
    back as `unseen`; the last one is kept all the same, because a window that cannot save helps nobody. Raises NotYours
    for a task this labeler never had, DraftTooLong and DraftOfTooManyFields.
    """
    if sum(len(name) + len(str(value)) for name, value in body.items()) > DRAFT_MAX_CHARACTERS:
        raise DraftTooLong
    if sum(max(1, len(texts)) if isinstance(texts, list) else 1 for texts in body.values()) > DRAFT_MAX_FIELDS:
        raise DraftOfTooManyFields
    values = {"task": task_id, "labeler": labeler.id, "body": Json(body), "now": now}
    with transaction.atomic(), connection.cursor() as cursor:
        # A submit holds the seat too, so an autosave that was under way with it is either before or after it. Whoever
        # has held a task of the campaign has a seat.
        execute(cursor, LOCK_BY_TASK, values)
        seated = cursor.fetchone()
        if not seated or not queries.has_held(labeler, task_id):
            raise NotYours
        execute(cursor, KEEP, values)
        row = cursor.fetchone()
        if not row:
            # A late autosave of a form that was handed in meanwhile must not stand above the answer.
            raise AlreadySubmitted
        kept, (before, saved_at) = queries.DRAFT.made(row)
        if saved_at and seen is not None and saved_at.isoformat() != seen:
            kept.unseen = json.loads(before)
        return kept


LOCK_BY_TASK = """
SELECT seat.id FROM work_seat seat JOIN work_task task ON task.campaign_id = seat.campaign_id
WHERE task.id = %(task)s AND seat.labeler_id = %(labeler)s FOR UPDATE OF seat
"""
# What stood there before comes back in the same statement: the lock on the seat has let nothing in between.
KEEP = f"""
WITH before AS (SELECT body, saved_at FROM work_draft WHERE task_id = %(task)s AND labeler_id = %(labeler)s)
INSERT INTO work_draft AS draft (task_id, labeler_id, body, saved_at)
SELECT %(task)s::bigint, %(labeler)s::bigint, %(body)s::jsonb, %(now)s::timestamptz
WHERE NOT EXISTS (
    SELECT FROM work_assignment answer WHERE answer.task_id = %(task)s AND answer.labeler_id = %(labeler)s
    AND answer.state IN ('submitted', 'accepted'))
ON CONFLICT (task_id, labeler_id) DO UPDATE SET body = excluded.body, saved_at = excluded.saved_at
RETURNING {queries.DRAFT.columns}, (SELECT body FROM before), (SELECT saved_at FROM before)
"""


def release(*, assignment_id: int, labeler: User, now: datetime) -> Assignment:
    """Put the task back for somebody else; the draft stays."""
    with transaction.atomic():
        assignment = _held(_own(assignment_id, labeler), labeler)
        return _give_back(assignment, Move.RELEASE, actor=labeler, now=now)


def skip(*, assignment_id: int, labeler: User, reason: str, note: str, now: datetime) -> Skip:
    """Pass on a task for good: it does not come back to this labeler.

    A sent-back answer can be passed on too: it stays with its writer, cancelled, and a new slot takes its place. When
    as many people have skipped the task as the campaign allows, it stops, and waits for a manager.
    """
    with transaction.atomic():
        wanted = _own(assignment_id, labeler)
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
            _give_back(assignment, Move.SKIP, actor=labeler, now=now, detail={"reason": reason})
        stopping = stops(skips=task.skips.count(), excused=task.excused, limit=campaign.skip_limit)
        if stopping and task.stopped_at is None and task.dropped_at is None:
            _stop(task, now)
        return skipped


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
        if not _set_aside(mine):
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


DROP_DRAFT = "DELETE FROM work_draft WHERE task_id = %(task)s AND labeler_id = %(labeler)s"


def undo(*, assignment_id: int, labeler: User, now: datetime) -> Assignment:
    """Take the labeler's last submit back into work, in the campaign's minutes for it, while nobody has built on it.

    The bench turns its answer into the draft again in the same transaction. What was claimed after the submit stays
    ready ahead. Raises NotYours or UndoOver.
    """
    require_transaction()
    wanted = _own(assignment_id, labeler)
    # An export settles the campaign before it reads: whoever comes after it is too late, whoever comes before is seen.
    campaign = hold_campaign(wanted.campaign_id)
    searched = queue.lock_seat(campaign, labeler)
    mine = Assignment.objects.select_for_update().get(id=wanted.id)
    if not _may_undo(mine, campaign, labeler, now):
        raise UndoOver
    # Its task may come back to them now, with all of its slots.
    if searched:
        queue.look_behind(campaign.id, labeler)
    held = _held_in(campaign, labeler, lock=True)
    if Hand.WORK in held:
        if Hand.AHEAD in held:
            _give_back(held[Hand.AHEAD], Move.RELEASE, actor=labeler, now=now)
        _renewed(held[Hand.WORK], hand=Hand.AHEAD)
    steps = [Move.TAKE_BACK, Move.UNDO] if mine.state == State.ACCEPTED else [Move.UNDO]
    columns: dict[str, Any] = {"submit_key": None, "needs_review": False, "leased_until": _lease_end(campaign, now)}
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
        assignment = _own(assignment_id, labeler)
        queue.lock_seat(assignment.campaign, labeler)
        other = _held_in(assignment.campaign, labeler).get(Hand.WORK)
        if other is not None and other.id == assignment.id:
            return assignment
        if assignment.campaign.state == CampaignState.CLOSED:
            raise CampaignClosed
        # Before the other goes back: whoever replaces this one holds it while its new slot comes in.
        assignment.refresh_from_db(from_queryset=Assignment.objects.select_for_update())
        if assignment.labeler_id != labeler.id:
            raise NotYours
        if assignment.state != State.SENT_BACK:
            raise _not_sent_back(assignment)
        if other is not None:
            # Or it has gone back by itself meanwhile: its time was over.
            with suppress(LeaseLost):
                release(assignment_id=other.id, labeler=labeler, now=now)
        until = _lease_end(assignment.campaign, now)
        return move(assignment, Move.RESUME, actor=labeler, now=now, leased_until=until)


def _not_sent_back(assignment: Assignment) -> Moved:
    """Why its labeler cannot take the answer up again. Submitted and accepted sound alike: see `labeler_state`."""
    if assignment.state in (State.SUBMITTED, State.ACCEPTED):
        return NotSentBack()
    if assignment.state == State.CANCELLED:
        return GivenUp() if _last_move(assignment) == Move.GIVE_UP else Replaced()
    return Moved()


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
        _give_back(assignment, Move.EXPIRE, actor=None, now=now, detail=detail)
        return True


# The columns of a slot that is nobody's.
FREE: dict[str, Any] = {
    "labeler_id": None,
    "hand": Hand.WORK,
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
    "active_seconds": None,
}


def hold_campaign(campaign_id: int) -> Campaign:
    """Lock the campaign's row, before any other. Whoever adds or cancels slots of tasks, stops or restarts them, moves
    their places or undoes an answer holds it, so that none of these meets another halfway. Claims, drafts and submits
    do not wait for it."""
    return Campaign.objects.select_for_update(no_key=True).get(id=campaign_id)


def replace(assignment: Assignment, step: Move, *, actor: User, now: datetime) -> None:
    """Cancel a sent-back answer, which stays its writer's, and want another answer in its place. The caller holds the
    campaign."""
    move(assignment, step, actor=actor, now=now, leased_until=None, hand=Hand.WORK)
    task = Task.objects.select_for_update(no_key=True).get(id=assignment.task_id)
    if _spare_slots(task) < 0:
        _add_slot(task)


def _add_slot(task: Task) -> None:
    """Want one more answer of a task that others have answered: it goes first, like a slot that came back."""
    last = task.assignments.order_by("-slot")[0]
    position = queue.returned_position(task.campaign_id)
    state = State.STOPPED if task.stopped_at or task.held_at else State.OPEN
    Assignment.objects.create(
        task=task,
        campaign_id=task.campaign_id,
        slot=last.slot + 1,
        language=last.language,
        position=position,
        state=state,
    )


def _spare_slots(task: Task) -> int:
    """How many slots the task has above the answers that are wanted of it; below 0, so many are missing."""
    campaign = Campaign.objects.get(id=task.campaign_id)
    wanted = 0 if campaign.state == CampaignState.CLOSED or task.dropped_at else campaign.overlap
    return task.assignments.exclude(state=State.CANCELLED).count() - wanted


def _give_back(
    assignment: Assignment, step: Move, *, actor: User | None, now: datetime, detail: dict[str, Any] | None = None
) -> Assignment:
    """Make the slot nobody's again, and wanted by others unless there are enough without it; a stopped or held task
    keeps it back. A sent-back answer stays its writer's."""
    if assignment.rounds:
        return move(assignment, Move.SET_ASIDE, actor=actor, now=now, detail=detail, leased_until=None, hand=Hand.WORK)
    # The lock: a task that stops at this moment must not keep an open slot, and of two that come back one is spare.
    task = Task.objects.select_for_update(no_key=True).get(id=assignment.task_id)
    # Before the look at what is wanted: a change of the overlap waits for it, or has been.
    position = queue.returned_position(task.campaign_id)
    steps = [step]
    if _spare_slots(task) > 0:
        steps.append(Move.CANCEL)
    elif task.stopped_at or task.held_at:
        steps.append(Move.STOP)
    return move(assignment, *steps, actor=actor, now=now, detail=detail, **FREE, position=position)


def _stop(task: Task, now: datetime) -> None:
    Task.objects.filter(id=task.id).update(stopped_at=now)
    stop_slots([task.id], now=now)


# What is handed out, or may be again.
UNANSWERED = (State.OPEN, State.LEASED, State.STOPPED)


def hold_slots(tasks: Collection[int]) -> None:
    """Lock the unanswered slots of these tasks, in the order of their ids.

    The caller holds the campaigns, so nobody adds a slot. It locks the tasks only afterwards: giving a slot back locks
    the slot first and then its task, and the other order would deadlock.
    """
    slots = Assignment.objects.filter(task__in=tasks, state__in=UNANSWERED).order_by("id")
    list(slots.select_for_update().values_list("id"))


def stop_slots(tasks: Collection[int], *, now: datetime) -> None:
    """Hand out no slot of these tasks any more. The caller has called `hold_slots` and has marked the tasks."""
    for slot in Assignment.objects.filter(task__in=tasks, state=State.OPEN).order_by("id").select_for_update():
        move(slot, Move.STOP, actor=None, now=now)


def _lease_end(campaign: Campaign, now: datetime) -> datetime:
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


def _held_in(campaign: Campaign, labeler: User, *, lock: bool = False) -> dict[int, Assignment]:
    """What the labeler holds in the campaign, by hand."""
    held = SLOT.rows(HELD + "FOR UPDATE" * lock, {"campaign": campaign.id, "labeler": labeler.id})
    return {row.hand: row for row in held}


HELD = f"""
SELECT {SLOT.columns} FROM work_assignment slot
WHERE slot.campaign_id = %(campaign)s AND slot.labeler_id = %(labeler)s AND slot.state = 'leased' ORDER BY slot.id
"""


def _renewed(held: Assignment, **columns: Any) -> bool:
    """Change columns of a lease, if it is still theirs."""
    lease = Assignment.objects.filter(id=held.id, labeler=held.labeler_id, state=State.LEASED)
    return bool(lease.update(**columns))


def _take_next(campaign: Any, labeler: User, seat: Any, hand: Hand, now: datetime) -> Assignment | NothingLeft | Busy:
    _check_daily_cap(labeler, now)
    columns: dict[str, Any] = {"labeler_id": labeler.id, "hand": hand, "claimed_at": now}
    columns |= {"leased_until": _lease_end(campaign, now), "guideline_version_id": campaign.version_id}
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


def _own(assignment_id: int, labeler: User) -> Assignment:
    """The assignment, if the labeler has or had it; an outsider cannot tell it from one that does not exist."""
    assignment = Assignment.objects.select_related("campaign").filter(id=assignment_id).first()
    if assignment is None:
        raise NotYours
    if assignment.labeler_id != labeler.id and not queries.has_held(labeler, assignment.task_id):
        raise NotYours
    return assignment


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
    """The campaign and the task's id of an assignment that the labeler has or had, as `_own`, their seat locked; and
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


def _held(wanted: Assignment, labeler: User) -> Assignment:
    """The row, locked, if the labeler holds it now."""
    assignment = Assignment.objects.select_for_update().get(id=wanted.id)
    if assignment.labeler_id != labeler.id or assignment.state != State.LEASED:
        raise _not_held(wanted, labeler)
    return assignment


def _not_held(assignment: Assignment, labeler: User) -> LeaseLost:
    """Why the labeler has no lease on the task: another tab has submitted or skipped it, or the time is over."""
    mine = Assignment.objects.filter(task=assignment.task_id, labeler=labeler).first()
    if mine is None:
        still_taken = takes_late(assignment.campaign, assignment.task_id, labeler)
    else:
        # Another slot of the task would be free for others only.
        still_taken = mine.state == State.LEASED or _set_aside(mine)
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


def _is_this_submit(earlier: Assignment, task_id: int, labeler: User) -> bool:
    """Is this the submit that left its key on `earlier`, once more? Its answer then still stands there as handed in.

    The key of another task, or of an answer that was sent back since, comes from an old page with other text on it:
    calling that submitted would lose the text.
    """
    same = earlier.labeler_id == labeler.id and earlier.task_id == task_id
    return same and earlier.state in (State.SUBMITTED, State.ACCEPTED)


def _set_aside(mine: Assignment) -> bool:
    """Was the sent-back answer taken up again, until its lease ended? Then a late submit takes it up once more."""
    return mine.state == State.SENT_BACK and _last_move(mine) == Move.SET_ASIDE


def _last_move(assignment: Assignment) -> str | None:
    return Event.objects.filter(assignment=assignment).order_by("-id").values_list("move", flat=True).first()


def _free_slot(campaign: Campaign, task_id: int, assignment_id: int, labeler: User) -> Assignment:
    """After an expired lease: the same slot, or any other of the task that is free."""
    slot = None
    if takes_late(campaign, task_id, labeler):
        free = Assignment.objects.select_for_update(skip_locked=True).filter(task_id=task_id, state=State.OPEN)
        slot = free.filter(id=assignment_id).first() or free.order_by("slot").first()
    if slot is None:
        raise lease_lost(campaign, Assignment.objects.get(id=assignment_id), labeler)
    return slot
