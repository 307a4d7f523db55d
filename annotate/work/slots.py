"""Return, stop, replace and cancel slots. The caller has locked the slot or its campaign."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from django.db import transaction

from annotate.accounts.models import User
from annotate.lib.sql import load_statements
from annotate.work import queue
from annotate.work.models import Assignment, Campaign, Hand, Task
from annotate.work.moves import Columns, Sql, move, move_all
from annotate.work.states import CampaignState, Move, State

SQL = load_statements(Path(__file__).parent / "sql/slots.sql")

FREE: Columns = {
    "labeler_id": None,
    "hand": Hand.ACTIVE,
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
UNANSWERED = (State.OPEN, State.LEASED, State.STOPPED)
CANCEL_FREE = {State.OPEN: [Move.CANCEL], State.STOPPED: [Move.RESTART, Move.CANCEL]}

# Bounds the time of a step's locks.
SLOTS_A_STEP = 20_000


def hold_campaign(campaign_id: int) -> Campaign:
    """Lock the campaign, before all other rows, to add, cancel, stop, restart or reposition slots or undo a submit.

    Claims, drafts and submits do not wait for this lock.
    """
    return Campaign.objects.select_for_update(no_key=True).get(id=campaign_id)


def replace_answer(assignment: Assignment, step: Move, *, actor: User, now: datetime) -> None:
    """Cancel a sent-back answer, and add a slot if the task needs one. The caller holds the campaign."""
    move(slot=assignment, steps=[step], actor=actor, now=now, leased_until=None, hand=Hand.ACTIVE)
    task = Task.objects.select_for_update(no_key=True).get(id=assignment.task_id)
    if _spare_slots(task) < 0:
        _add_slot(task)


def _add_slot(task: Task) -> None:
    last = task.assignments.order_by("-slot")[0]
    Assignment.objects.create(
        task=task,
        campaign_id=task.campaign_id,
        slot=last.slot + 1,
        language=last.language,
        position=queue.returned_position(task.campaign_id),
        state=State.STOPPED if task.stopped_at or task.held_at else State.OPEN,
    )


def _spare_slots(task: Task) -> int:
    """Slots above those required; negative: missing ones."""
    campaign = Campaign.objects.get(id=task.campaign_id)
    required = 0 if campaign.state == CampaignState.CLOSED or task.dropped_at else campaign.overlap
    return task.assignments.exclude(state=State.CANCELLED).count() - required


def give_back(
    assignment: Assignment, step: Move, *, actor: User | None, now: datetime, detail: Mapping[str, object] | None = None
) -> Assignment:
    """Return a leased slot, or cancel or stop it. A sent-back answer stays with its writer."""
    if assignment.rounds:
        return move(
            slot=assignment,
            steps=[Move.SET_ASIDE],
            actor=actor,
            now=now,
            detail=detail,
            leased_until=None,
            hand=Hand.ACTIVE,
        )
    # Otherwise a task that stops now could keep an open slot, and two surplus slots could both stay.
    task = Task.objects.select_for_update(no_key=True).get(id=assignment.task_id)
    # Takes its lock before the count: a change of the overlap waits, or is done.
    position = queue.returned_position(task.campaign_id)
    steps = [step]
    if _spare_slots(task) > 0:
        steps.append(Move.CANCEL)
    elif task.stopped_at or task.held_at:
        steps.append(Move.STOP)
    columns = FREE | Columns(position=position)
    return move(slot=assignment, steps=steps, actor=actor, now=now, detail=detail, **columns)


def stop_task(task: Task, now: datetime) -> None:
    Task.objects.filter(id=task.id).update(stopped_at=now)
    stop_slots([task.id], now=now)


def hold_slots(tasks: Collection[int]) -> None:
    """Lock the unanswered slots of these tasks. The caller holds the campaigns, so nobody adds a slot.

    Lock the tasks afterwards: `give_back` locks a slot before its task, and the opposite order would deadlock.
    """
    slots = Assignment.objects.filter(task__in=tasks, state__in=UNANSWERED).order_by("id")
    list(slots.select_for_update().values_list("id"))


def stop_slots(tasks: Collection[int], *, now: datetime) -> None:
    """The caller has called `hold_slots` and marked the tasks."""
    for slot in Assignment.objects.filter(task__in=tasks, state=State.OPEN).order_by("id").select_for_update():
        move(slot=slot, steps=[Move.STOP], actor=None, now=now)


@dataclass(frozen=True)
class Cancelled:
    """`complete`: no selected slot was locked or is left for a further step."""

    count: int
    complete: bool


def cancel_free_slots(selected: Sql, *, now: datetime) -> Cancelled:
    with transaction.atomic():
        counts = move_all(selected=selected, steps=CANCEL_FREE, actor=None, now=now, limit=SLOTS_A_STEP)
    return Cancelled(counts.moved, complete=counts.moved == counts.selected < SLOTS_A_STEP)


def cancel_left_open(*, now: datetime) -> int:
    """Cancel free slots of closed campaigns, and return their number. Idempotent and safe to run concurrently."""
    cancelled = 0
    while step := cancel_free_slots(Sql(SQL["free_of_closed"], {}), now=now).count:
        cancelled += step
    return cancelled


def free_of_campaign(campaign: Campaign) -> Sql:
    return Sql(SQL["free_of_campaign"], {"campaign": campaign.id})


def free_of_tasks(tasks: Collection[int]) -> Sql:
    return Sql(SQL["free_of_tasks"], {"tasks": list(tasks)})
