"""Read the queue, for labelers, reviewers and managers."""

from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from statistics import median

from django.db import connection
from django.db.models import Count, Exists, F, Max, Min, OuterRef, Prefetch, Q, QuerySet
from django.utils.timezone import localtime

from annotate.accounts import queries as accounts
from annotate.accounts.models import User
from annotate.lib.prepared import execute
from annotate.lib.sql import load_statements
from annotate.pools.models import Prompt
from annotate.work.models import Assignment, Campaign, Event, Hand, Skip, Task
from annotate.work.states import CampaignState, State

SQL = load_statements(Path(__file__).parent / "sql/queries.sql")


def campaigns_for(labeler: User) -> QuerySet[Campaign]:
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
    """Active tasks only: labelers do not see prefetched ones."""
    return (
        Assignment.objects.filter(labeler=labeler, state=State.LEASED, hand=Hand.ACTIVE)
        .select_related("campaign", "task__prompt")
        .order_by("claimed_at", "id")
    )


def sent_back(labeler: User) -> QuerySet[Assignment]:
    return (
        Assignment.objects.filter(labeler=labeler, state=State.SENT_BACK)
        .exclude(campaign__state=CampaignState.CLOSED)
        .select_related("campaign", "task__prompt", "decided_by")
        .order_by("decided_at", "id")
    )


def answers_of(labeler: User) -> QuerySet[Assignment]:
    return (
        Assignment.objects.filter(labeler=labeler, submitted_at__isnull=False)
        .select_related("campaign", "task__prompt")
        .order_by("-submitted_at", "-id")
    )


def answered_today(labeler: User, now: datetime) -> int:
    """Since midnight in the platform's time zone, including answers sent back since."""
    midnight = localtime(now).replace(hour=0, minute=0, second=0, microsecond=0)
    return Assignment.objects.filter(labeler=labeler, submitted_at__gte=midnight).count()


def is_free(labeler: User, task_id: int) -> bool:
    """For a labeler who has held a slot of the task."""
    skipped = Skip.objects.filter(task=OuterRef("task"), labeler=labeler)
    return Assignment.objects.filter(~Exists(skipped), task=task_id, state=State.OPEN).exists()


def to_review(reviewer: User) -> QuerySet[Assignment]:
    return (
        Assignment.objects.filter(state=State.SUBMITTED, needs_review=True)
        .exclude(labeler=reviewer)
        .select_related("campaign", "task__prompt", "labeler")
        .order_by("submitted_at", "id")
    )


def has_held(labeler: User, task_id: int) -> bool:
    """A labeler who has may always read the task and save a draft."""
    with connection.cursor() as cursor:
        execute(cursor, SQL["has_held"], {"task": task_id, "labeler": labeler.id})
        return bool(cursor.fetchone()[0])


@dataclass(frozen=True)
class Progress:
    """Numbers of slots. `held`: stopped by quarantine, maybe for good; not in `stopped` or `total`."""

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
    counts: dict[int, dict[str, int]] = {campaign.id: {} for campaign in campaigns}
    rows = (
        Assignment.objects.filter(campaign__in=campaigns)
        .exclude(state=State.CANCELLED)
        .values("campaign", "state")
        # Count("id") would read the table.
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
            # Slots may have changed since the first query.
            counts[campaign_id][State.STOPPED] = max(0, counts[campaign_id][State.STOPPED] - held)
    return {campaign_id: Progress(**states) for campaign_id, states in counts.items()}


def matched_percent(campaign: Campaign) -> int | None:
    """The percentage of tasks that match_overlap has reached, estimated from ids. None: all."""
    if campaign.matched_to is None:
        return None
    ends = campaign.tasks.aggregate(first=Min("id"), last=Max("id"))
    if ends["first"] is None:
        return 100
    first, last = int(ends["first"]), int(ends["last"])
    return max(0, campaign.matched_to - first + 1) * 100 // (last - first + 1)


MAX_TIMED = 1000


def active_time(answers: QuerySet[Assignment]) -> float | None:
    """The median of the latest MAX_TIMED answers, in seconds. None: no reports."""
    timed = answers.filter(submitted_at__isnull=False, active_seconds__isnull=False).order_by("-submitted_at")
    seconds = [value for value in timed.values_list("active_seconds", flat=True)[:MAX_TIMED] if value is not None]
    return median(seconds) if seconds else None


def skips(campaign: Campaign) -> QuerySet[Skip]:
    return (
        Skip.objects.filter(task__campaign=campaign)
        .select_related("task__prompt", "labeler")
        .order_by("-skipped_at", "-id")
    )


# Concurrent imports commit prompts out of order, by fewer ids than this.
LATE_IDS = 100_000


def without_task(campaign: Campaign, prompts: QuerySet[Prompt], limit: int) -> QuerySet[Prompt]:
    """Up to `limit` of `prompts` without a task, by id.

    Begins after the last prompt with a task: the cost does not grow with the tasks. Then searches LATE_IDS before it.
    """
    last = Task.objects.filter(campaign=campaign, prompt__isnull=False).aggregate(last=Max("prompt"))["last"] or 0
    new = prompts.filter(id__gt=last).order_by("id")[:limit]
    if new.exists():
        return new
    existing = Task.objects.filter(campaign=campaign, prompt=OuterRef("id"))
    return prompts.filter(~Exists(existing), id__gt=last - LATE_IDS).order_by("id")[:limit]


def may_be_named(campaign: Campaign | None) -> QuerySet[User]:
    """Active labelers, and people who are already named: a form that does not offer them would remove them."""
    named = campaign.labelers.values("id") if campaign and campaign.pk else User.objects.none().values("id")
    return User.objects.filter(Q(id__in=accounts.labelers()) | Q(id__in=named)).order_by("username")


def stopped_tasks(campaign: Campaign) -> QuerySet[Task]:
    """Tasks that wait for a manager's decision. In a closed campaign, none does."""
    newest = Skip.objects.select_related("labeler").order_by("-skipped_at", "-id")
    return (
        Task.objects.filter(campaign=campaign, stopped_at__isnull=False)
        .exclude(campaign__state=CampaignState.CLOSED)
        .select_related("prompt")
        .prefetch_related(Prefetch("skips", newest))
        .order_by("stopped_at", "id")
    )


def held_tasks(campaign: Campaign) -> QuerySet[Task]:
    return Task.objects.filter(campaign=campaign, held_at__isnull=False, retired_at=None).order_by("id")


def history(assignment: Assignment) -> QuerySet[Event]:
    return Event.objects.filter(assignment=assignment).select_related("actor").order_by("id")


def overdue() -> QuerySet[Assignment]:
    return Assignment.objects.filter(state=State.LEASED).order_by(F("leased_until"), "id")
