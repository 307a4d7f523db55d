"""What managers and reviewers do to campaigns, tasks and answers. What labelers do is in leases.py."""

from collections.abc import Iterable
from datetime import datetime
from typing import Any

from django.core.exceptions import EmptyResultSet
from django.db import IntegrityError, connection, transaction
from django.db.models import QuerySet
from django.utils.translation import gettext_lazy as _

from annotate.accounts.models import User
from annotate.guidelines.queries import current_version
from annotate.pools.models import Prompt
from annotate.samples.models import Policy
from annotate.work.leases import Refused, replace
from annotate.work.models import Assignment, Campaign, Event, Task
from annotate.work.moves import Moved, move
from annotate.work.rules import CHANGEABLE, SLOTS_A_TASK, position
from annotate.work.states import CAMPAIGN_MOVES, CampaignState, Move, State


class NameTaken(Refused):
    words = _("There is already a campaign of this name.")


class CampaignFixed(Refused):
    words = _("Once it is open a campaign keeps its settings, all but name, named labelers, review share and lease.")


class OverlapFixed(Refused):
    words = _("The campaign has tasks already, each with its slots: the answers per task cannot change any more.")


class NoSuchMove(Refused):
    words = _("The campaign is not in a state that allows this. Load the page again to see where it stands.")


class NothingPublished(Refused):
    words = _("Publish a version of the campaign's guideline first: labelers work under it.")


class NobodyMayWork(Refused):
    words = _("Choose a cohort or name labelers first: nobody could work in this campaign.")


class OwnAnswer(Refused):
    words = _("You wrote this answer; somebody else must review it.")


class CommentNeeded(Refused):
    words = _("Write what should change: the labeler sees your comment beside the answer.")


def create_campaign(
    *, by: User | None, now: datetime, labelers: Iterable[User] = (), policies: Iterable[Policy] = (), **columns: Any
) -> Campaign:
    """A draft, with the columns of Campaign that are given. Raises NameTaken."""
    with transaction.atomic():
        campaign = Campaign(**columns, created_by=by, created_at=now)
        _save(campaign)
        campaign.labelers.set(labelers)
        campaign.policies.set(policies)
    return campaign


def change_campaign(
    *,
    campaign: Campaign,
    labelers: Iterable[User] | None = None,
    policies: Iterable[Policy] | None = None,
    **columns: Any,
) -> Campaign:
    """Change what is given: anything of a draft, CHANGEABLE of an open or paused campaign, nothing of a closed one.

    Raises CampaignFixed, OverlapFixed, NobodyMayWork or NameTaken.
    """
    lists = {"labelers": labelers, "policies": policies}
    given = set(columns) | {name for name, rows in lists.items() if rows is not None}
    with transaction.atomic():
        # NO KEY: labelers go on claiming in it meanwhile.
        campaign = Campaign.objects.select_for_update(no_key=True).get(id=campaign.id)
        if campaign.state == CampaignState.CLOSED or (campaign.state != CampaignState.DRAFT and given - CHANGEABLE):
            raise CampaignFixed
        if columns.get("overlap", campaign.overlap) != campaign.overlap and campaign.tasks.exists():
            raise OverlapFixed
        for name, value in columns.items():
            setattr(campaign, name, value)
        _save(campaign)
        if labelers is not None:
            campaign.labelers.set(labelers)
        if policies is not None:
            campaign.policies.set(policies)
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
            cancel_open(campaign=campaign, now=now)
    campaign.refresh_from_db()
    return campaign


def _check_can_open(campaign: Campaign) -> None:
    if current_version(campaign.guideline) is None:
        raise NothingPublished
    if not campaign.cohorts and not campaign.labelers.exists():
        raise NobodyMayWork


def cancel_open(*, campaign: Campaign, now: datetime) -> int:
    """Cancel every open slot, with its event. A slot that is being claimed at this moment stays its labeler's."""
    return _cancel(Assignment.objects.filter(campaign=campaign, state=State.OPEN), now)


def cancel_left_open(*, now: datetime) -> int:
    """Cancel the open slots of closed campaigns, and return how many: those made, put back or locked by somebody just
    as their campaign was closed. Safe to run anywhere, twice, at once.
    """
    with transaction.atomic():
        return _cancel(Assignment.objects.filter(campaign__state=CampaignState.CLOSED, state=State.OPEN), now)


def _cancel(open_slots: QuerySet[Assignment], now: datetime) -> int:
    slots = open_slots.select_for_update(skip_locked=True, of=("self",))
    cancelled = list(slots.values_list("id", flat=True))
    Assignment.objects.filter(id__in=cancelled).update(state=State.CANCELLED)
    events = (Event(assignment_id=slot, move=Move.CANCEL, actor=None, at=now) for slot in cancelled)
    Event.objects.bulk_create(events, batch_size=1000)
    return len(cancelled)


def add_tasks(*, campaign: Campaign, prompts: QuerySet[Prompt], now: datetime) -> list[tuple[int, int]]:
    """Make a task with its slots for each prompt that has none in the campaign, in one statement.

    Returns (task id, prompt id) of the tasks made. Safe to run twice and at once: the unique index decides.
    """
    try:
        chosen, params = prompts.values("id").query.sql_with_params()
    except EmptyResultSet:
        # Django can tell without asking that nothing matches.
        return []
    with connection.cursor() as cursor:
        cursor.execute(
            f"""
            WITH chosen AS ({chosen}), made AS (
                INSERT INTO work_task (campaign_id, prompt_id, created_at)
                SELECT %s, id, %s FROM chosen ON CONFLICT DO NOTHING RETURNING id, prompt_id
            ), slots AS (
                INSERT INTO work_assignment
                    (task_id, campaign_id, slot, position, state, needs_review, comment, rounds)
                SELECT made.id, %s, slot, made.id * %s + slot, %s, false, '', 0
                FROM made CROSS JOIN generate_series(1, %s) AS slot
            )
            SELECT id, prompt_id FROM made ORDER BY id
            """,  # noqa: S608  # `chosen` is SQL that Django wrote, its values are parameters
            [*params, campaign.id, now, campaign.id, SLOTS_A_TASK, State.OPEN, campaign.overlap],
        )
        return [(int(task_id), int(prompt_id)) for task_id, prompt_id in cursor.fetchall()]


def add_task(*, campaign: Campaign, now: datetime) -> Task:
    """A task without a prompt, with its slots: something new is to be written."""
    task = Task.objects.create(campaign=campaign, prompt=None, created_at=now)
    Assignment.objects.bulk_create(
        Assignment(task=task, campaign=campaign, slot=slot, position=position(task.id, slot))
        for slot in range(1, campaign.overlap + 1)
    )
    return task


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
    if not comment.strip():
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
        assignment = (
            Assignment.objects.select_for_update(of=("self",)).select_related("task", "campaign").get(id=assignment_id)
        )
        if assignment.state != State.SENT_BACK:
            raise Moved
        replace(assignment, Move.REPLACE, actor=by, now=now)
        return assignment


def _for_review(assignment_id: int, reviewer: User) -> Assignment:
    """The row, locked: the bench stores what follows from the decision in the same transaction."""
    assignment = Assignment.objects.select_for_update(of=("self",)).select_related("campaign").get(id=assignment_id)
    if assignment.labeler_id == reviewer.id:
        raise OwnAnswer
    if assignment.state != State.SUBMITTED:
        raise Moved
    return assignment
