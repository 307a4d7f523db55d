"""A manager's decision about a task with too many skips."""

from datetime import datetime

from django.db import transaction

from annotate.accounts.models import User
from annotate.work import queue
from annotate.work.models import Task
from annotate.work.moves import move
from annotate.work.refusals import InQuarantine, NotStopped
from annotate.work.slots import cancel_free_slots, free_of_tasks, hold_campaign
from annotate.work.states import CampaignState, Move, State


def restart_task(*, task_id: int, now: datetime, by: User) -> Task:
    """Put the task at the front of the queue, for as many further skips. Raises NotStopped or InQuarantine."""
    with transaction.atomic():
        task = _lock_stopped(task_id)
        if task.held_at:
            raise InQuarantine
        for slot in task.assignments.select_for_update().filter(state=State.STOPPED).order_by("position"):
            position = queue.returned_position(task.campaign_id)
            move(slot=slot, steps=[Move.RESTART], actor=by, now=now, position=position)
        return _excuse(task)


def drop_task(*, task_id: int, now: datetime) -> Task:
    """Cancel the free slots of the task. Raises NotStopped."""
    with transaction.atomic():
        task = _lock_stopped(task_id)
        cancel_free_slots(free_of_tasks([task.id]), now=now)
        task.dropped_at = now
        return _excuse(task)


def _lock_stopped(task_id: int) -> Task:
    campaign = hold_campaign(Task.objects.values_list("campaign", flat=True).get(id=task_id))
    if campaign.state == CampaignState.CLOSED:
        raise NotStopped
    task = Task.objects.select_for_update(no_key=True).get(id=task_id)
    if task.stopped_at is None:
        raise NotStopped
    return task


def _excuse(task: Task) -> Task:
    task.stopped_at, task.excused = None, task.skips.count()
    task.save(update_fields=["stopped_at", "excused", "dropped_at"])
    return task
