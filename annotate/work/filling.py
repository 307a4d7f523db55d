"""Add tasks with their slots, retire tasks, and apply changes of overlap and priority."""

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

# Bounds the time of a step's locks.
TASKS_A_STEP = 10_000


def add_tasks(*, campaign: Campaign, prompts: QuerySet[Prompt], now: datetime) -> list[tuple[int, int]]:
    """Add a task for each prompt without one that is not in quarantine. Returns (task id, prompt id) pairs.

    Idempotent and safe to run concurrently.
    """
    try:
        chosen, params = prompts.values("id", "language", "priority").query.sql_with_params()
    except EmptyResultSet:
        return []
    values: Values = {f"chosen{number}": value for number, value in enumerate(params)}
    with transaction.atomic(), connection.cursor() as cursor:
        # A concurrent quarantine would miss the new tasks.
        keep_quarantine(campaign.pool_id)
        # A concurrent match_overlap would miss them too.
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
    numbers = count()
    return re.sub(r"%s", lambda _match: f"%(chosen{next(numbers)})s", sql)


def _announce(campaign: Campaign, languages: set[str]) -> None:
    """Let claims find new slots. The caller holds the campaign."""
    if not languages:
        return
    if languages - set(campaign.languages):
        campaign.languages = sorted(languages.union(campaign.languages))
        campaign.save(update_fields=["languages"])
    # Depth order puts new tasks last.
    queue.look_again(campaign.id, from_start=campaign.order != Order.DEPTH)


def match_overlap(*, campaign: Campaign, now: datetime) -> bool:
    """Apply a changed overlap to the next TASKS_A_STEP tasks. Returns whether more remain.

    Adds missing slots and cancels surplus ones that nobody holds. Idempotent and safe to run concurrently.
    """
    with transaction.atomic():
        campaign = hold_campaign(campaign.id)
        after = campaign.matched_to
        if after is None or campaign.state == CampaignState.CLOSED:
            return False
        ids = list(campaign.tasks.filter(id__gt=after).order_by("id").values_list("id", flat=True)[:TASKS_A_STEP])
        # Tasks added after the lock have the new overlap.
        more = len(ids) == TASKS_A_STEP
        values = _slot_values(campaign) | {"after": after, "up_to": ids[-1] if ids else after}
        with connection.cursor() as cursor:
            cursor.execute(SQL["add_missing_slots"], values)
            if cursor.rowcount:
                queue.look_again(campaign.id, from_start=True)
        # A return counts the task's slots either before this lock or after the change.
        queue.hold_returns(campaign.id)
        cancelled = cancel_free_slots(Sql(SQL["surplus_slots"], values), now=now)
        if not cancelled.complete or _is_short(values):
            # A locked slot may stay free, and a returned one may be cancelled by the old overlap: repeat these tasks.
            # Waiting for locks would block labelers.
            return True
        Campaign.objects.filter(id=campaign.id).update(matched_to=ids[-1] if more else None)
    return more


def _is_short(values: Values) -> bool:
    with connection.cursor() as cursor:
        cursor.execute(SQL["has_missing_slots"], values)
        return bool(cursor.fetchone()[0])


def retire_tasks(*, campaign: Campaign, tasks: Iterable[int], now: datetime) -> set[int]:
    """Retire those of `tasks` that nobody has opened, and return their ids. A concurrent claim wins.

    Idempotent and safe to run concurrently.
    """
    with transaction.atomic(), connection.cursor() as cursor:
        # A concurrent match_overlap would add slots.
        hold_campaign(campaign.id)
        cursor.execute(SQL["lock_untouched_tasks"], {"tasks": list(tasks)})
        untouched = {int(task) for (task,) in cursor.fetchall()}
        cancel_free_slots(free_of_tasks(untouched), now=now)
        Task.objects.filter(id__in=untouched).update(retired_at=now)
    return untouched


def prioritise(*, prompts: QuerySet[Prompt], priority: int) -> int:
    """Also repositions the open slots. Returns the number of prompts."""
    with transaction.atomic():
        chosen = list(prompts.order_by("id").values_list("id", flat=True))
        # Also campaigns that may be adding tasks.
        over = Campaign.objects.filter(order=Order.PRIORITY, pool__prompts__in=chosen)
        campaigns = sorted(set(over.values_list("id", flat=True)))
        for campaign in campaigns:
            hold_campaign(campaign)
        # By id: the later of two concurrent changes wins for all rows.
        list(Prompt.objects.filter(id__in=chosen).order_by("id").select_for_update(no_key=True).values_list("id"))
        Prompt.objects.filter(id__in=chosen).update(priority=priority)
        # A claim, too, locks its seat before a slot.
        for campaign in campaigns:
            queue.look_again(campaign, from_start=True)
        with connection.cursor() as cursor:
            cursor.execute(SQL["reposition"], {"prompts": chosen, "campaigns": campaigns})
    return len(chosen)
