"""Make tasks and slots, match them to a changed overlap, retire them, and move them in the queue."""

import re
from collections.abc import Iterable
from datetime import datetime
from itertools import count
from pathlib import Path

from django.core.exceptions import EmptyResultSet
from django.db import connection, transaction
from django.db.models import QuerySet

from annotate.lib.sql import Values, load_statements
from annotate.pools.actions import keep_quarantine
from annotate.pools.models import Prompt
from annotate.work import queue
from annotate.work.models import Campaign, Order, Task
from annotate.work.moves import Sql
from annotate.work.slots import cancel_free_slots, free_of_tasks, hold_campaign
from annotate.work.states import CampaignState

SQL = load_statements(Path(__file__).parent / "sql/filling.sql")

# Tasks in one step of `match_overlap` and of a workflow's filling: few enough that nobody waits long for its locks.
TASKS_A_STEP = 10_000


def add_tasks(*, campaign: Campaign, prompts: QuerySet[Prompt], now: datetime) -> list[tuple[int, int]]:
    """Make a task with its slots for each prompt that has none in the campaign and is not in quarantine.

    Returns (task id, prompt id) of the new tasks. Idempotent and safe to run concurrently: the unique index decides.
    """
    try:
        chosen, params = prompts.values("id", "language", "priority").query.sql_with_params()
    except EmptyResultSet:
        return []
    # Django writes the query set's SQL; its values stay parameters.
    values: Values = {f"chosen{number}": value for number, value in enumerate(params)}
    with transaction.atomic(), connection.cursor() as cursor:
        # A decision about quarantine that is being taken misses no task, even in a campaign that is newer than it.
        keep_quarantine(campaign.pool_id)
        # match_overlap takes this lock too, so a change of the overlap misses no task.
        campaign = hold_campaign(campaign.id)
        cursor.execute(SQL["add_tasks"].format(prompts=_named(chosen)), values | _slot_values(campaign) | {"now": now})
        rows = cursor.fetchall()
        _announce(campaign, {language for _task, _prompt, language in rows})
    return [(int(task_id), int(prompt_id)) for task_id, prompt_id, _language in rows]


def add_task(*, campaign: Campaign, now: datetime) -> Task:
    with transaction.atomic(), connection.cursor() as cursor:
        campaign = hold_campaign(campaign.id)
        task = Task.objects.create(campaign=campaign, prompt=None, created_at=now)
        cursor.execute(SQL["add_missing_slots"], _slot_values(campaign) | {"after": task.id - 1, "up_to": task.id})
        _announce(campaign, {""})
    return task


def _slot_values(campaign: Campaign) -> Values:
    return {
        "campaign": campaign.id,
        "overlap": campaign.overlap,
        "order": campaign.order,
        "seed": campaign.order_seed,
    }


def _named(sql: str) -> str:
    """Name Django's positional parameters chosen0, chosen1, ..."""
    numbers = count()
    return re.sub(r"%s", lambda _match: f"%(chosen{next(numbers)})s", sql)


def _announce(campaign: Campaign, languages: set[str]) -> None:
    """Make new slots findable. The caller holds the campaign."""
    if not languages:
        return
    if languages - set(campaign.languages):
        campaign.languages = sorted(languages.union(campaign.languages))
        campaign.save(update_fields=["languages"])
    # Only in depth order new tasks are behind all others.
    queue.look_again(campaign.id, from_start=campaign.order != Order.DEPTH)


def match_overlap(*, campaign: Campaign, now: datetime) -> bool:
    """Match the slots of the next TASKS_A_STEP tasks to a changed overlap. Returns whether there is more to do.

    Adds missing slots, and cancels surplus ones that nobody holds, the last in the queue first. Idempotent and safe to
    run concurrently: every step begins where the last one ended, and at the first task after a further change.
    """
    with transaction.atomic():
        campaign = hold_campaign(campaign.id)
        after = campaign.matched_to
        if after is None or campaign.state == CampaignState.CLOSED:
            return False
        ids = list(campaign.tasks.filter(id__gt=after).order_by("id").values_list("id", flat=True)[:TASKS_A_STEP])
        # Tasks made after this one's lock have the changed overlap already.
        more = len(ids) == TASKS_A_STEP
        values = _slot_values(campaign) | {"after": after, "up_to": ids[-1] if ids else after}
        with connection.cursor() as cursor:
            cursor.execute(SQL["add_missing_slots"], values)
            if cursor.rowcount:
                queue.look_again(campaign.id, from_start=True)
        # A slot that is being returned counts the task's slots either before this lock, or after the change.
        queue.hold_returns(campaign.id)
        cancelled = cancel_free_slots(Sql(SQL["surplus_slots"], values), now=now)
        if not cancelled.complete or _is_short(values):
            # A locked slot may stay free, and a slot returned just before may be cancelled by the old overlap. So
            # repeat these tasks. Waiting for the lock here would block the labelers who return their slots.
            return True
        Campaign.objects.filter(id=campaign.id).update(matched_to=ids[-1] if more else None)
    return more


def _is_short(values: Values) -> bool:
    with connection.cursor() as cursor:
        cursor.execute(SQL["has_missing_slots"], values)
        return bool(cursor.fetchone()[0])


def retire_tasks(*, campaign: Campaign, tasks: Iterable[int], now: datetime) -> set[int]:
    """Retire those of these tasks that nobody has opened, so that others can take their place. Returns their ids.

    A labeler who claims one at this moment keeps it, or gets another. Idempotent and safe to run concurrently.
    """
    with transaction.atomic(), connection.cursor() as cursor:
        # Until the end, no change of the overlap adds slots.
        hold_campaign(campaign.id)
        cursor.execute(SQL["lock_untouched_tasks"], {"tasks": list(tasks)})
        untouched = {int(task) for (task,) in cursor.fetchall()}
        cancel_free_slots(free_of_tasks(untouched), now=now)
        Task.objects.filter(id__in=untouched).update(retired_at=now)
    return untouched


def prioritise(*, prompts: QuerySet[Prompt], priority: int) -> int:
    """Change the priority of prompts and the positions of their open slots. Returns the number of prompts."""
    with transaction.atomic():
        chosen = list(prompts.order_by("id").values_list("id", flat=True))
        # Also the campaigns that are making tasks of these prompts.
        over = Campaign.objects.filter(order=Order.PRIORITY, pool__prompts__in=chosen)
        campaigns = sorted(set(over.values_list("id", flat=True)))
        for campaign in campaigns:
            hold_campaign(campaign)
        # Locked in one order, so that the later of two concurrent changes wins for all rows.
        list(Prompt.objects.filter(id__in=chosen).order_by("id").select_for_update(no_key=True).values_list("id"))
        Prompt.objects.filter(id__in=chosen).update(priority=priority)
        # The seats come before the slots: a claim locks its seat first, too.
        for campaign in campaigns:
            queue.look_again(campaign, from_start=True)
        with connection.cursor() as cursor:
            cursor.execute(SQL["reposition"], {"prompts": chosen, "campaigns": campaigns})
    return len(chosen)
