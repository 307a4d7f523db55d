"""Slots come back, stop and are cancelled. The caller holds the campaign or the slot."""

from collections.abc import Collection
from datetime import datetime
from typing import Any

from django.db import connection, transaction

from annotate.accounts.models import User
from annotate.work import queue
from annotate.work.models import Assignment, Campaign, Hand, Task
from annotate.work.moves import move
from annotate.work.states import CampaignState, Move, State

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


def give_back(
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


def stop(task: Task, now: datetime) -> None:
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


# Cancelled in one transaction: short enough that nobody waits for its locks.
SLOTS_A_STEP = 20_000


FREE_OF_CAMPAIGN = """
SELECT id FROM work_assignment WHERE campaign_id = %(campaign)s AND state IN ('open', 'stopped')
"""


FREE_OF_CLOSED = """
SELECT slot.id FROM work_campaign campaign JOIN work_assignment slot ON slot.campaign_id = campaign.id
WHERE campaign.state = 'closed' AND slot.state IN ('open', 'stopped')
"""


FREE_OF_TASK = "SELECT id FROM work_assignment WHERE task_id = %(task)s AND state IN ('open', 'stopped')"


# A slot that is being claimed at this moment is locked, and stays its labeler's.
CANCEL = """
WITH wanted AS MATERIALIZED ({slots} LIMIT %(most)s), free AS MATERIALIZED (
    SELECT id, state FROM work_assignment
    WHERE id IN (SELECT id FROM wanted) AND state IN ('open', 'stopped') FOR UPDATE SKIP LOCKED
), cancelled AS (
    UPDATE work_assignment slot SET state = 'cancelled' FROM free WHERE slot.id = free.id
), told AS (
    INSERT INTO work_event (assignment_id, move, at)
    SELECT free.id, step.move, %(now)s
    FROM free JOIN (VALUES ('open', 1, 'cancel'), ('stopped', 1, 'restart'), ('stopped', 2, 'cancel'))
        AS step(state, number, move) ON step.state = free.state
    ORDER BY free.id, step.number
)
SELECT count(*), (SELECT count(*) FROM wanted) FROM free
"""


def cancel_left_open(*, now: datetime) -> int:
    """Cancel the free slots of closed campaigns, and return how many: the many of a large one, and those made, put
    back or locked by somebody just as their campaign was closed. Safe to run anywhere, twice, at once.
    """
    cancelled = 0
    while step := cancel(FREE_OF_CLOSED, {}, now)[0]:
        cancelled += step
    return cancelled


def cancel(slots: str, values: dict[str, Any], now: datetime) -> tuple[int, bool]:
    """Cancel up to SLOTS_A_STEP free slots out of those whose ids the statement `slots` selects, with their events.

    Returns how many, and whether those were all: of the rest somebody had a lock, or they were too many for a step.
    """
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(CANCEL.format(slots=slots), values | {"now": now, "most": SLOTS_A_STEP})
        cancelled, wanted = cursor.fetchone()
    return int(cancelled), cancelled == wanted < SLOTS_A_STEP


FREE_OF_TASKS = "SELECT id FROM work_assignment WHERE task_id = ANY(%(tasks)s) AND state IN ('open', 'stopped')"
