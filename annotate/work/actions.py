"""What managers and reviewers do to campaigns, tasks and answers. What labelers do is in leases.py."""

import re
from collections.abc import Iterable
from datetime import datetime
from itertools import count
from typing import Any

from django.core.exceptions import EmptyResultSet
from django.db import IntegrityError, connection, transaction
from django.db.models import QuerySet, Value
from django.db.models.functions import Greatest
from django.utils.translation import gettext_lazy as _

from annotate.accounts.models import Qualification, User
from annotate.guidelines.queries import current_version
from annotate.lib.refusals import Refusal
from annotate.lib.text import is_blank
from annotate.pools.actions import keep_quarantine
from annotate.pools.models import Prompt
from annotate.samples.models import Policy
from annotate.work import queue
from annotate.work.leases import hold_campaign, replace
from annotate.work.models import Assignment, Campaign, Order, Task
from annotate.work.moves import Moved, move
from annotate.work.rules import CHANGEABLE
from annotate.work.states import CAMPAIGN_MOVES, CampaignState, Move, State


class NameTaken(Refusal):
    message = _("There is already a campaign of this name.")


class CampaignFixed(Refusal):
    message = _(
        "Once it is open a campaign keeps its settings, all but name, named labelers and qualifications, answers per"
        " task, review share, lease, skips and undo."
    )


class OrderFixed(Refusal):
    message = _("The campaign has tasks already, each with its place in the queue: their order cannot change any more.")


class NoSuchMove(Refusal):
    message = _("The campaign is not in a state that allows this. Load the page again to see its state.")


class NothingPublished(Refusal):
    message = _("Publish a version of the campaign's guideline first: labelers work under it.")


class NobodyMayWork(Refusal):
    message = _("Choose a cohort or name labelers first: nobody could work in this campaign.")


class NotStopped(Refusal):
    message = _("This task does not wait for a decision any more.")


class NoLongerSentBack(Moved):
    message = _("This answer is no longer waiting: its writer took it up, or it was replaced.")


class InQuarantine(Refusal):
    message = _("The prompt of this task is in quarantine. Decide about the prompt first.")


class OwnAnswer(Refusal):
    message = _("You wrote this answer; somebody else must review it.")


class CommentNeeded(Refusal):
    message = _("Write what should change: the labeler sees your comment beside the answer.")


def create_campaign(
    *,
    by: User | None,
    now: datetime,
    labelers: Iterable[User] = (),
    policies: Iterable[Policy] = (),
    qualifications: Iterable[Qualification] = (),
    **columns: Any,
) -> Campaign:
    """A draft, with the columns of Campaign that are given. Raises NameTaken."""
    with transaction.atomic():
        campaign = Campaign(**columns, created_by=by, created_at=now)
        _save(campaign)
        campaign.labelers.set(labelers)
        campaign.policies.set(policies)
        campaign.qualifications.set(qualifications)
    return campaign


def change_campaign(
    *,
    campaign: Campaign,
    labelers: Iterable[User] | None = None,
    policies: Iterable[Policy] | None = None,
    qualifications: Iterable[Qualification] | None = None,
    **columns: Any,
) -> Campaign:
    """Change what is given: anything of a draft, CHANGEABLE of an open or paused campaign, nothing of a closed one.

    Another overlap reaches the tasks that are there by `match_overlap`, step by step. Raises CampaignFixed, OrderFixed,
    NobodyMayWork or NameTaken.
    """
    lists = {"labelers": labelers, "policies": policies, "qualifications": qualifications}
    given = {name: rows for name, rows in lists.items() if rows is not None}
    with transaction.atomic():
        # NO KEY: labelers go on claiming in it meanwhile.
        campaign = Campaign.objects.select_for_update(no_key=True).get(id=campaign.id)
        fixed = (set(columns) | set(given)) - CHANGEABLE
        if campaign.state == CampaignState.CLOSED or (campaign.state != CampaignState.DRAFT and fixed):
            raise CampaignFixed
        order = (columns.get("order", campaign.order), columns.get("order_seed", campaign.order_seed))
        if order != (campaign.order, campaign.order_seed) and campaign.tasks.exists():
            raise OrderFixed
        if columns.get("overlap", campaign.overlap) != campaign.overlap and campaign.tasks.exists():
            campaign.matched_to = 0
        for name, value in columns.items():
            setattr(campaign, name, value)
        _save(campaign)
        for name, rows in given.items():
            getattr(campaign, name).set(rows)
        if campaign.state != CampaignState.DRAFT:
            _check_can_open(campaign)
    return campaign


def _save(campaign: Campaign) -> None:
    try:
        with transaction.atomic():
            campaign.save()
    except IntegrityError as refused:
        if Campaign.objects.filter(name=campaign.name).exclude(id=campaign.id).exists():
            raise NameTaken from refused
        raise


def change_state(*, campaign: Campaign, to: CampaignState, now: datetime) -> Campaign:
    """Open, pause, reopen or close a campaign. Closing cancels the slots nobody holds; what is held can be finished."""
    before = CampaignState(campaign.state)
    if (before, to) not in CAMPAIGN_MOVES:
        raise NoSuchMove
    columns: dict[str, Any] = {"state": to}
    if before == CampaignState.DRAFT:
        _check_can_open(campaign)
        columns["opened_at"] = now
    if to == CampaignState.CLOSED:
        columns["closed_at"] = now
    with transaction.atomic():
        if not Campaign.objects.filter(id=campaign.id, state=before).update(**columns):
            raise NoSuchMove
        if to == CampaignState.CLOSED:
            # Of a large campaign the sweep cancels the rest, which nobody can claim any more.
            _cancel(FREE_OF_CAMPAIGN, {"campaign": campaign.id}, now)
    campaign.refresh_from_db()
    return campaign


def _check_can_open(campaign: Campaign) -> None:
    if current_version(campaign.guideline) is None:
        raise NothingPublished
    if not campaign.cohorts and not campaign.labelers.exists():
        raise NobodyMayWork


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
    while step := _cancel(FREE_OF_CLOSED, {}, now)[0]:
        cancelled += step
    return cancelled


def _cancel(slots: str, values: dict[str, Any], now: datetime) -> tuple[int, bool]:
    """Cancel up to SLOTS_A_STEP free slots out of those whose ids the statement `slots` selects, with their events.

    Returns how many, and whether those were all: of the rest somebody had a lock, or they were too many for a step.
    """
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(CANCEL.format(slots=slots), values | {"now": now, "most": SLOTS_A_STEP})
        cancelled, wanted = cursor.fetchone()
    return int(cancelled), cancelled == wanted < SLOTS_A_STEP


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
        _cancelled, all_of_them = _cancel(SURPLUS_SLOTS, values, now)
        if not all_of_them or _is_short(values):
            # A locked slot may stay free, where a claim only looked at it, and one that came back just before may be
            # cancelled by the overlap of before: the same tasks once more. To wait for a slot here would hold up those
            # who give theirs back, and one of them may be who has locked it.
            return True
        Campaign.objects.filter(id=campaign.id).update(matched_to=ids[-1] if more else None)
    return more


FREE_OF_TASKS = "SELECT id FROM work_assignment WHERE task_id = ANY(%(tasks)s) AND state IN ('open', 'stopped')"

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
        _cancel(FREE_OF_TASKS, {"tasks": list(untouched)}, now)
        Task.objects.filter(id__in=untouched).update(retired_at=now)
    return untouched


def accept(*, assignment_id: int, reviewer: User, comment: str, now: datetime) -> Assignment:
    """The answer counts from now on. Raises OwnAnswer, or Moved when it was decided or taken back meanwhile."""
    assignment = _for_review(assignment_id, reviewer)
    return move(
        assignment,
        Move.ACCEPT,
        actor=reviewer,
        now=now,
        decided_by_id=reviewer.id,
        decided_at=now,
        comment=comment,
    )


def send_back(*, assignment_id: int, reviewer: User, comment: str, now: datetime) -> Assignment:
    """Ask the labeler to write the answer again. Raises CommentNeeded, OwnAnswer or Moved."""
    if is_blank(comment):
        raise CommentNeeded
    assignment = _for_review(assignment_id, reviewer)
    return move(
        assignment,
        Move.SEND_BACK,
        actor=reviewer,
        now=now,
        detail={"comment": comment},
        decided_by_id=reviewer.id,
        decided_at=now,
        comment=comment,
        rounds=assignment.rounds + 1,
    )


def replace_sent_back(*, assignment_id: int, by: User, now: datetime) -> Assignment:
    """Stop waiting for the writer of a sent-back answer and want another labeler's instead."""
    with transaction.atomic():
        hold_campaign(Assignment.objects.values_list("campaign", flat=True).get(id=assignment_id))
        assignment = Assignment.objects.select_for_update().get(id=assignment_id)
        if assignment.state != State.SENT_BACK:
            raise NoLongerSentBack
        replace(assignment, Move.REPLACE, actor=by, now=now)
        return assignment


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
        _cancel(FREE_OF_TASK, {"task": task.id}, now)
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


def settle(*, campaigns: Iterable[int], now: datetime) -> None:
    """From here on the answers submitted so far stand: somebody is about to read them, and none is undone later."""
    with transaction.atomic():
        for campaign in sorted(campaigns):
            hold_campaign(campaign)
            # Another may have waited less for the lock, and have read later answers.
            Campaign.objects.filter(id=campaign).update(settled_at=Greatest("settled_at", Value(now)))


def hold_as_read(*, assignment_id: int, submitted_at: datetime | None) -> None:
    """Lock an answer that somebody read as it was submitted at that time. Raises Moved if it is another by now."""
    submitted = Assignment.objects.select_for_update().values_list("submitted_at", flat=True).get(id=assignment_id)
    if submitted is None or submitted != submitted_at:
        raise Moved


def _for_review(assignment_id: int, reviewer: User) -> Assignment:
    """The row, locked: the bench stores what follows from the decision in the same transaction."""
    assignment = Assignment.objects.select_for_update(of=("self",)).select_related("campaign").get(id=assignment_id)
    if assignment.labeler_id == reviewer.id:
        raise OwnAnswer
    if assignment.state != State.SUBMITTED:
        raise Moved
    return assignment
