"""Tasks and their slots: made for prompts, matched to a changed overlap, retired, moved in the queue."""

import re
from collections.abc import Iterable
from datetime import datetime
from itertools import count
from typing import Any

from django.core.exceptions import EmptyResultSet
from django.db import connection, transaction
from django.db.models import QuerySet

from annotate.pools.actions import keep_quarantine
from annotate.pools.models import Prompt
from annotate.work import queue
from annotate.work.models import Campaign, Order, Task
from annotate.work.slots import FREE_OF_TASKS, cancel, hold_campaign
from annotate.work.states import CampaignState

# The tasks made by the statement around it.
MADE = """(
    SELECT made.id, made.prompt_id, chosen.language, chosen.priority, 'open' AS state
    FROM made JOIN chosen ON chosen.id = made.prompt_id
)"""


def add_tasks(*, campaign: Campaign, prompts: QuerySet[Prompt], now: datetime) -> list[tuple[int, int]]:
    """Make a task with its slots for each prompt that has none in the campaign, in one statement. Prompts in
    quarantine get none.

    Returns (task id, prompt id) of the tasks made. Safe to run twice and at once: the unique index decides.
    """
    try:
        chosen, params = prompts.values("id", "language", "priority").query.sql_with_params()
    except EmptyResultSet:
        # Django can tell without asking that nothing matches.
        return []
    slots = _slots_sql(campaign, tasks=MADE, first="1", last="%(overlap)s")
    # `chosen` is SQL that Django wrote, its values are parameters.
    statement = f"""
        WITH chosen AS MATERIALIZED ({_named(chosen)}), made AS (
            INSERT INTO work_task (campaign_id, prompt_id, created_at)
            SELECT %(campaign)s, id, %(now)s FROM chosen WHERE NOT EXISTS (
                SELECT FROM pools_prompt prompt WHERE prompt.id = chosen.id AND prompt.quarantined_at IS NOT NULL)
            ORDER BY id ON CONFLICT DO NOTHING RETURNING id, prompt_id
        ), slots AS ({slots})
        SELECT made.id, made.prompt_id, chosen.language FROM made JOIN chosen ON chosen.id = made.prompt_id
        ORDER BY made.id
    """
    values = {f"chosen{number}": value for number, value in enumerate(params)}
    with transaction.atomic(), connection.cursor() as cursor:
        # Also in a campaign that is newer than a decision which is being taken, no task escapes it.
        keep_quarantine(campaign.pool_id)
        # Together with match_overlap, which holds the same lock, no task escapes a change of the overlap.
        campaign = Campaign.objects.select_for_update(no_key=True).get(id=campaign.id)
        cursor.execute(statement, values | _slot_values(campaign) | {"now": now})
        made_tasks = cursor.fetchall()
        _announce(campaign, {language for _task, _prompt, language in made_tasks})
    return [(int(task_id), int(prompt_id)) for task_id, prompt_id, _language in made_tasks]


def add_task(*, campaign: Campaign, now: datetime) -> Task:
    """A task without a prompt, with its slots: something new is to be written."""
    tasks = "(SELECT %(task)s::bigint AS id, NULL::bigint AS prompt_id, '' AS language, 0 AS priority, 'open' AS state)"
    with transaction.atomic(), connection.cursor() as cursor:
        campaign = Campaign.objects.select_for_update(no_key=True).get(id=campaign.id)
        task = Task.objects.create(campaign=campaign, prompt=None, created_at=now)
        slots = _slots_sql(campaign, tasks=tasks, first="1", last="%(overlap)s")
        cursor.execute(slots, _slot_values(campaign) | {"task": task.id})
        _announce(campaign, {""})
    return task


def _slots_sql(campaign: Campaign, *, tasks: str, first: str, last: str) -> str:
    position = queue.POSITION[Order(campaign.order)]
    return queue.ADD_SLOTS.format(tasks=tasks, first=first, last=last, position=position)


def _slot_values(campaign: Campaign) -> dict[str, Any]:
    return {"campaign": campaign.id, "overlap": campaign.overlap, "seed": campaign.order_seed}


def _named(sql: str) -> str:
    """Django's positional parameters as chosen0, chosen1, ... beside those with names."""
    numbers = count()
    return re.sub(r"%s", lambda _found: f"%(chosen{next(numbers)})s", sql)


def _announce(campaign: Campaign, languages: set[str]) -> None:
    """New slots are in the queue: say in which languages, and let everybody look where they are.

    The caller holds the campaign's row.
    """
    if not languages:
        return
    if languages - set(campaign.languages):
        campaign.languages = sorted(languages.union(campaign.languages))
        campaign.save(update_fields=["languages"])
    # Depth first, new tasks stand behind all others.
    queue.look_again(campaign.id, from_start=campaign.order != Order.DEPTH)


# One step of match_overlap, and of fill: short enough that nobody waits for its locks.
TASKS_A_STEP = 10_000


MISSING_SLOTS = """
SELECT task.id, task.prompt_id, slots.language, COALESCE(prompt.priority, 0) AS priority,
    CASE WHEN task.stopped_at IS NULL AND task.held_at IS NULL THEN 'open' ELSE 'stopped' END AS state,
    slots.last + 1 AS first, slots.last + %(overlap)s - slots.wanted AS last
FROM work_task task
LEFT JOIN pools_prompt prompt ON prompt.id = task.prompt_id
JOIN LATERAL (
    SELECT max(slot) AS last, max(language) AS language, count(*) FILTER (WHERE state <> 'cancelled') AS wanted
    FROM work_assignment WHERE task_id = task.id
) AS slots ON slots.wanted < %(overlap)s
WHERE task.campaign_id = %(campaign)s AND task.id > %(after)s AND task.id <= %(up_to)s
    AND task.retired_at IS NULL AND task.dropped_at IS NULL
"""


def _is_short(values: dict[str, Any]) -> bool:
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT EXISTS ({MISSING_SLOTS})", values)
        return bool(cursor.fetchone()[0])


# Of a task's slots that nobody holds, those that stand last in the queue go first.
SURPLUS_SLOTS = """
SELECT id FROM (
    SELECT slot.id, slot.state, count(*) OVER (PARTITION BY slot.task_id) AS wanted, row_number() OVER (
        PARTITION BY slot.task_id, slot.state IN ('open', 'stopped') ORDER BY slot.position DESC) AS place
    FROM work_assignment slot JOIN work_task task ON task.id = slot.task_id
    WHERE task.campaign_id = %(campaign)s AND task.id > %(after)s AND task.id <= %(up_to)s
        AND slot.state <> 'cancelled'
) AS slot WHERE slot.state IN ('open', 'stopped') AND slot.place <= slot.wanted - %(overlap)s
"""


def match_overlap(*, campaign: Campaign, now: datetime) -> bool:
    """Give the next TASKS_A_STEP tasks that a changed overlap has not reached as many slots as it says.

    Missing ones are added; of surplus ones those that nobody holds are cancelled, the last in the queue first. Returns
    whether there is more to do. Safe to run twice and at once: every step begins where the last one ended, after a
    further change at the first task again.
    """
    with transaction.atomic():
        # Two of these, or one and a further change, work one after the other.
        campaign = Campaign.objects.select_for_update(no_key=True).get(id=campaign.id)
        after = campaign.matched_to
        if after is None or campaign.state == CampaignState.CLOSED:
            return False
        ids = list(campaign.tasks.filter(id__gt=after).order_by("id").values_list("id", flat=True)[:TASKS_A_STEP])
        # Tasks made from here on have the changed overlap already: they wait for this lock.
        more = len(ids) == TASKS_A_STEP
        values = _slot_values(campaign) | {"after": after, "up_to": ids[-1] if ids else after}
        with connection.cursor() as cursor:
            slots = _slots_sql(campaign, tasks=f"({MISSING_SLOTS})", first="task.first", last="task.last")
            cursor.execute(slots, values)
            if cursor.rowcount:
                queue.look_again(campaign.id, from_start=True)
        # A slot that comes back looks whether it is wanted: it has done so before this, or sees what this has changed.
        queue.hold_returns(campaign.id)
        _cancelled, all_of_them = cancel(SURPLUS_SLOTS, values, now)
        if not all_of_them or _is_short(values):
            # A locked slot may stay free, where a claim only looked at it, and one that came back just before may be
            # cancelled by the overlap of before: the same tasks once more. To wait for a slot here would hold up those
            # who give theirs back, and one of them may be who has locked it.
            return True
        Campaign.objects.filter(id=campaign.id).update(matched_to=ids[-1] if more else None)
    return more


# Tasks that nobody has ever claimed, with their slots locked. One that is being claimed at this moment has a slot that
# somebody else has locked; one that came back stands below 0.
UNTOUCHED = """
WITH free AS MATERIALIZED (
    SELECT task_id FROM work_assignment
    WHERE task_id = ANY(%(tasks)s) AND state = 'open' AND position >= 0 FOR UPDATE SKIP LOCKED
)
SELECT free.task_id FROM free GROUP BY free.task_id
HAVING count(*) = (
        SELECT count(*) FROM work_assignment slot WHERE slot.task_id = free.task_id AND slot.state <> 'cancelled')
    AND NOT EXISTS (
        SELECT FROM work_assignment slot JOIN work_event event ON event.assignment_id = slot.id
        WHERE slot.task_id = free.task_id AND event.move = 'claim')
    AND NOT EXISTS (SELECT FROM work_draft draft WHERE draft.task_id = free.task_id)
"""


def retire_tasks(*, campaign: Campaign, tasks: Iterable[int], now: datetime) -> set[int]:
    """Want no answers of those of these tasks that nobody has opened, so that others may take their place.

    Returns which. A labeler who claims one at this moment keeps it, or is given another. Safe to run twice and at once.
    """
    values = {"tasks": list(tasks)}
    with transaction.atomic(), connection.cursor() as cursor:
        # No change of the overlap adds slots meanwhile.
        Campaign.objects.select_for_update(no_key=True).get(id=campaign.id)
        cursor.execute(UNTOUCHED, values)
        untouched = {int(task) for (task,) in cursor.fetchall()}
        cancel(FREE_OF_TASKS, {"tasks": list(untouched)}, now)
        Task.objects.filter(id__in=untouched).update(retired_at=now)
    return untouched


def prioritise(*, prompts: QuerySet[Prompt], priority: int) -> int:
    """Give prompts another priority, and their open slots the place that goes with it. Returns how many prompts."""
    with transaction.atomic():
        chosen = list(prompts.order_by("id").values_list("id", flat=True))
        # Also those whose tasks of these prompts are being made: they get the new place, or are moved to it.
        over = Campaign.objects.filter(order=Order.PRIORITY, pool__prompts__in=chosen)
        campaigns = sorted(set(over.values_list("id", flat=True)))
        for campaign in campaigns:
            hold_campaign(campaign)
        # One after another, in one order: of two at once the later counts, for the prompts and for the slots.
        list(Prompt.objects.filter(id__in=chosen).order_by("id").select_for_update(no_key=True).values_list("id"))
        Prompt.objects.filter(id__in=chosen).update(priority=priority)
        # Before the slots: one that was claimed just now is locked by the look at it, and its labeler has a seat.
        for campaign in campaigns:
            queue.look_again(campaign, from_start=True)
        with connection.cursor() as cursor:
            # What came back keeps its place before all others.
            cursor.execute(
                f"""
                UPDATE work_assignment SET position = {queue.POSITION[Order.PRIORITY]}
                FROM (
                    SELECT task.id, prompt.priority
                    FROM work_task task JOIN pools_prompt prompt ON prompt.id = task.prompt_id
                    WHERE prompt.id = ANY(%s) AND task.campaign_id = ANY(%s)
                ) AS task WHERE task_id = task.id AND state IN ('open', 'stopped') AND position >= 0
                """,
                [chosen, campaigns],
            )
    return len(chosen)
