"""A manager's decision about a task that stopped after too many skips."""

from datetime import datetime

from django.db import transaction

from annotate.accounts.models import User
from annotate.work import queue
from annotate.work.models import Task
from annotate.work.moves import move
from annotate.work.refusals import InQuarantine, NotStopped
from annotate.work.slots import FREE_OF_TASK, cancel, hold_campaign
from annotate.work.states import Move, State


def restart_task(*, task_id: int, now: datetime, by: User) -> Task:
    """Put a stopped task back into the queue, first of all. It stops again after as many further skips.

    Raises NotStopped or InQuarantine.
    """
    with transaction.atomic():
        task = _stopped(task_id)
        if task.held_at:
            raise InQuarantine
        for slot in task.assignments.select_for_update().filter(state=State.STOPPED).order_by("position"):
            move(slot, Move.RESTART, actor=by, now=now, position=queue.returned_position(task.campaign_id))
        return _seen(task)


def drop_task(*, task_id: int, now: datetime) -> Task:
    """Want no more answers of a stopped task. Whoever still works on it can finish."""
    with transaction.atomic():
        task = _stopped(task_id)
        cancel(FREE_OF_TASK, {"task": task.id}, now)
        task.dropped_at = now
        return _seen(task)


def _stopped(task_id: int) -> Task:
    hold_campaign(Task.objects.values_list("campaign", flat=True).get(id=task_id))
    task = Task.objects.select_for_update(no_key=True).get(id=task_id)
    if task.stopped_at is None:
        raise NotStopped
    return task


def _seen(task: Task) -> Task:
    """A manager has decided about all the skips so far."""
    task.stopped_at, task.excused = None, task.skips.count()
    task.save(update_fields=["stopped_at", "excused", "dropped_at"])
    return task
