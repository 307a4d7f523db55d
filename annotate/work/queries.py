"""What is there to do, who holds it, how far a campaign is."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from statistics import median
from typing import Any

from django.db import connection
from django.db.models import Count, Exists, F, Max, Min, OuterRef, Prefetch, Q, QuerySet
from django.utils.timezone import localtime

from annotate.accounts.models import User
from annotate.lib.prepared import Shape, execute
from annotate.pools.models import Prompt
from annotate.work.models import Assignment, Campaign, Draft, Event, Hand, Skip, Task
from annotate.work.rules import may_work
from annotate.work.states import CampaignState, State

CAMPAIGN, DRAFT = Shape(Campaign, "campaign"), Shape(Draft, "draft")
HOW_IT_STANDS = f"""{CAMPAIGN.columns}, current.id,
    EXISTS (
        SELECT FROM guidelines_acknowledgement known
        WHERE known.version_id = current.id AND known.labeler_id = %(labeler)s),
    EXISTS (SELECT FROM work_campaign_labelers named WHERE named.campaign_id = campaign.id),
    EXISTS (
        SELECT FROM work_campaign_labelers named
        WHERE named.campaign_id = campaign.id AND named.user_id = %(labeler)s),
    NOT EXISTS (
        SELECT FROM work_campaign_qualifications needed
        WHERE needed.campaign_id = campaign.id AND NOT EXISTS (
            SELECT FROM accounts_user_qualifications held
            WHERE held.user_id = %(labeler)s AND held.qualification_id = needed.qualification_id))"""
CAMPAIGN_WITH_VERSION = """work_campaign campaign LEFT JOIN LATERAL (
    SELECT version.id FROM guidelines_guidelineversion version
    WHERE version.guideline_id = campaign.guideline_id AND version.published_at IS NOT NULL
    ORDER BY version.number DESC LIMIT 1
) AS current ON true"""
STANDING = f"SELECT {HOW_IT_STANDS} FROM {CAMPAIGN_WITH_VERSION} WHERE campaign.id = %(campaign)s"


def standing(campaign_id: int, labeler: User) -> Any:
    """The campaign with how the labeler stands to it, in one statement: `anyone_named`, `named` and `qualified`, the
    guideline's current `version_id`, and whether they `acknowledged` that. None: there is no such campaign."""
    with connection.cursor() as cursor:
        execute(cursor, STANDING, {"campaign": campaign_id, "labeler": labeler.id})
        row = cursor.fetchone()
    return stood(row)[0] if row else None


def stood(row: Sequence[Any]) -> tuple[Any, Sequence[Any]]:
    """The campaign that a row of HOW_IT_STANDS begins with, and what follows there."""
    campaign: Any
    campaign, rest = CAMPAIGN.made(row)
    (
        campaign.version_id,
        campaign.acknowledged,
        campaign.anyone_named,
        campaign.named,
        campaign.qualified,
        *more,
    ) = rest
    return campaign, more


def allowed(campaign: Campaign, labeler: User) -> bool:
    return may_enter(standing(campaign.id, labeler), labeler)


def may_enter(standing: Any, labeler: User) -> bool:
    return may_work(
        role=labeler.role,
        cohort=labeler.cohort,
        cohorts=standing.cohorts,
        anyone_named=standing.anyone_named,
        named=standing.named,
        qualified=standing.qualified,
    )


def campaigns_for(labeler: User) -> QuerySet[Campaign]:
    """Open campaigns this labeler may work in, oldest first."""
    named = Campaign.labelers.through.objects.filter(campaign=OuterRef("id"))
    lacking = Campaign.qualifications.through.objects.filter(campaign=OuterRef("id")).exclude(
        qualification__in=labeler.qualifications.all()
    )
    return (
        Campaign.objects.filter(state=CampaignState.OPEN)
        .filter(Exists(named.filter(user=labeler)) | (~Exists(named) & Q(cohorts__contains=[labeler.cohort])))
        .exclude(Exists(lacking))
        .select_related("guideline", "pool")
        .order_by("opened_at", "id")
    )


def held(labeler: User) -> QuerySet[Assignment]:
    """What the labeler works on now, over all campaigns; what is ready ahead is not theirs to see yet."""
    return (
        Assignment.objects.filter(labeler=labeler, state=State.LEASED, hand=Hand.WORK)
        .select_related("campaign", "task__prompt")
        .order_by("claimed_at", "id")
    )


def sent_back(labeler: User) -> QuerySet[Assignment]:
    """Answers waiting for their writer to take them up again."""
    return (
        Assignment.objects.filter(labeler=labeler, state=State.SENT_BACK)
        .exclude(campaign__state=CampaignState.CLOSED)
        .select_related("campaign", "task__prompt", "decided_by")
        .order_by("decided_at", "id")
    )


def answers_of(labeler: User) -> QuerySet[Assignment]:
    """What the labeler submitted, newest first."""
    return (
        Assignment.objects.filter(labeler=labeler, submitted_at__isnull=False)
        .select_related("campaign", "task__prompt")
        .order_by("-submitted_at", "-id")
    )


def answered_today(labeler: User, now: datetime) -> int:
    """Answers since midnight on the platform's clock, those sent back since among them."""
    midnight = localtime(now).replace(hour=0, minute=0, second=0, microsecond=0)
    return Assignment.objects.filter(labeler=labeler, submitted_at__gte=midnight).count()


def is_free(labeler: User, task_id: int) -> bool:
    """Is a slot of the task free for somebody who held it before? They may not have skipped it since."""
    skipped = Skip.objects.filter(task=OuterRef("task"), labeler=labeler)
    return Assignment.objects.filter(~Exists(skipped), task=task_id, state=State.OPEN).exists()


def to_review(reviewer: User) -> QuerySet[Assignment]:
    """Submitted answers that wait for a decision, oldest first; never the reviewer's own."""
    return (
        Assignment.objects.filter(state=State.SUBMITTED, needs_review=True)
        .exclude(labeler=reviewer)
        .select_related("campaign", "task__prompt", "labeler")
        .order_by("submitted_at", "id")
    )


HAS_HELD = """
SELECT EXISTS (
        SELECT FROM work_assignment mine WHERE mine.task_id = %(task)s AND mine.labeler_id = %(labeler)s)
    OR EXISTS (
        SELECT FROM work_assignment slot JOIN work_event event ON event.assignment_id = slot.id
        WHERE slot.task_id = %(task)s AND event.actor_id = %(labeler)s AND event.move = 'claim')
"""


def has_held(labeler: User, task_id: int) -> bool:
    """Did this labeler ever have a slot of the task? Then its text is theirs to read and to keep, lease or not."""
    with connection.cursor() as cursor:
        execute(cursor, HAS_HELD, {"task": task_id, "labeler": labeler.id})
        return bool(cursor.fetchone()[0])


@dataclass(frozen=True)
class Progress:
    """Slots of a campaign by state. `total` leaves out the cancelled ones, and those `held` back because their prompts
    are in quarantine: nobody can answer them, and a prompt may stay there for good."""

    open: int = 0
    leased: int = 0
    submitted: int = 0
    accepted: int = 0
    sent_back: int = 0
    stopped: int = 0
    held: int = 0

    @property
    def total(self) -> int:
        return self.open + self.leased + self.submitted + self.accepted + self.sent_back + self.stopped

    @property
    def answered(self) -> int:
        return self.submitted + self.accepted

    @property
    def percent(self) -> int:
        return self.answered * 100 // self.total if self.total else 0


def progress(campaigns: list[Campaign]) -> dict[int, Progress]:
    """Progress by campaign id, in one query, and another where slots are stopped."""
    counts: dict[int, dict[str, int]] = {campaign.id: {} for campaign in campaigns}
    rows = (
        Assignment.objects.filter(campaign__in=campaigns)
        .exclude(state=State.CANCELLED)
        .values("campaign", "state")
        # Not the ids: they would have to be read from the table, and an index has the rest.
        .annotate(slots=Count("*"))
        .order_by()
    )
    for row in rows:
        counts[row["campaign"]][row["state"]] = row["slots"]
    if stopped := [campaign_id for campaign_id, states in counts.items() if State.STOPPED in states]:
        kept_back = Assignment.objects.filter(campaign__in=stopped, state=State.STOPPED, task__held_at__isnull=False)
        by_campaign = kept_back.order_by().values_list("campaign").annotate(slots=Count("*"))
        for campaign_id, held in by_campaign:
            counts[campaign_id]["held"] = held
            # It may be more than was counted just before.
            counts[campaign_id][State.STOPPED] = max(0, counts[campaign_id][State.STOPPED] - held)
    return {campaign_id: Progress(**states) for campaign_id, states in counts.items()}


def matched_percent(campaign: Campaign) -> int | None:
    """How far a changed overlap has got through the campaign's tasks, by their ids; None: it has reached them all."""
    if campaign.matched_to is None:
        return None
    ends = campaign.tasks.aggregate(first=Min("id"), last=Max("id"))
    if ends["first"] is None:
        return 100
    first, last = int(ends["first"]), int(ends["last"])
    return max(0, campaign.matched_to - first + 1) * 100 // (last - first + 1)


# So many answers tell what is usual now.
LATEST = 1000


def active_time(answers: QuerySet[Assignment]) -> float | None:
    """The median active time of the latest LATEST answers, in seconds; None where no browser told any."""
    told = answers.filter(submitted_at__isnull=False, active_seconds__isnull=False).order_by("-submitted_at")
    seconds = [value for value in told.values_list("active_seconds", flat=True)[:LATEST] if value is not None]
    return median(seconds) if seconds else None


def skips(campaign: Campaign) -> QuerySet[Skip]:
    """Who passed on what and why, newest first."""
    return (
        Skip.objects.filter(task__campaign=campaign)
        .select_related("task__prompt", "labeler")
        .order_by("-skipped_at", "-id")
    )


# Prompts are committed out of the order of their ids, but never by so many.
LATE_IDS = 100_000


def without_task(campaign: Campaign, prompts: QuerySet[Prompt], most: int) -> QuerySet[Prompt]:
    """Up to `most` of `prompts` that have no task in the campaign, by id.

    Tasks are made in the order of the prompts' ids, so first come the prompts behind the last one that has a task:
    what this costs does not grow with the tasks there are. Then the late ones among the ids just before.
    """
    last = Task.objects.filter(campaign=campaign, prompt__isnull=False).aggregate(last=Max("prompt"))["last"] or 0
    new = prompts.filter(id__gt=last).order_by("id")[:most]
    if new.exists():
        return new
    asked = Task.objects.filter(campaign=campaign, prompt=OuterRef("id"))
    return prompts.filter(~Exists(asked), id__gt=last - LATE_IDS).order_by("id")[:most]


def stopped_tasks(campaign: Campaign) -> QuerySet[Task]:
    """Tasks that wait for a manager because so many people skipped them, longest waiting first, with their skips."""
    newest = Skip.objects.select_related("labeler").order_by("-skipped_at", "-id")
    return (
        Task.objects.filter(campaign=campaign, stopped_at__isnull=False)
        .select_related("prompt")
        .prefetch_related(Prefetch("skips", newest))
        .order_by("stopped_at", "id")
    )


def held_tasks(campaign: Campaign) -> QuerySet[Task]:
    """Tasks that are not handed out because their prompts are in quarantine."""
    return Task.objects.filter(campaign=campaign, held_at__isnull=False, retired_at=None).order_by("id")


def history(assignment: Assignment) -> QuerySet[Event]:
    return Event.objects.filter(assignment=assignment).select_related("actor").order_by("id")


def overdue() -> QuerySet[Assignment]:
    """Leases, soonest to end first; the sweep takes those that have ended."""
    return Assignment.objects.filter(state=State.LEASED).order_by(F("leased_until"), "id")
