"""What is there to do, who holds it, how far a campaign is."""

from dataclasses import dataclass

from django.db.models import Count, Exists, F, OuterRef, Q, QuerySet

from annotate.accounts.models import User
from annotate.work.models import Assignment, Campaign, Draft, Event, Skip
from annotate.work.rules import may_work
from annotate.work.states import CampaignState, Move, State


def open_slots(campaign: Campaign, labeler: User) -> QuerySet[Assignment]:
    """Open slots this labeler may take, in queue order: no task they answered or skipped, no prompt they wrote."""
    answered = Assignment.objects.filter(task=OuterRef("task"), labeler=labeler)
    skipped = Skip.objects.filter(task=OuterRef("task"), labeler=labeler)
    return (
        Assignment.objects.filter(campaign=campaign, state=State.OPEN)
        .filter(~Exists(answered), ~Exists(skipped))
        .exclude(task__prompt__author=labeler)
        .order_by("position")
    )


def allowed(campaign: Campaign, labeler: User) -> bool:
    named = set(campaign.labelers.values_list("id", flat=True))
    return may_work(
        role=labeler.role, cohort=labeler.cohort, labeler_id=labeler.id, cohorts=campaign.cohorts, named=named
    )


def campaigns_for(labeler: User) -> QuerySet[Campaign]:
    """Open campaigns this labeler may work in, oldest first."""
    named = Campaign.labelers.through.objects.filter(campaign=OuterRef("id"))
    return (
        Campaign.objects.filter(state=CampaignState.OPEN)
        .filter(Exists(named.filter(user=labeler)) | (~Exists(named) & Q(cohorts__contains=[labeler.cohort])))
        .select_related("guideline", "pool")
        .order_by("opened_at", "id")
    )


def held(labeler: User) -> QuerySet[Assignment]:
    """What the labeler holds a lease on now, over all campaigns."""
    return (
        Assignment.objects.filter(labeler=labeler, state=State.LEASED)
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


def to_review(reviewer: User) -> QuerySet[Assignment]:
    """Submitted answers that wait for a decision, oldest first; never the reviewer's own."""
    return (
        Assignment.objects.filter(state=State.SUBMITTED, needs_review=True)
        .exclude(labeler=reviewer)
        .select_related("campaign", "task__prompt", "labeler")
        .order_by("submitted_at", "id")
    )


def draft_of(labeler: User, task_id: int) -> Draft | None:
    return Draft.objects.filter(labeler=labeler, task_id=task_id).first()


def has_held(labeler: User, task_id: int) -> bool:
    """Did this labeler ever have a slot of the task? Then its text is theirs to read and to keep, lease or not."""
    return (
        Assignment.objects.filter(task_id=task_id, labeler=labeler).exists()
        or Event.objects.filter(assignment__task_id=task_id, actor=labeler, move=Move.CLAIM).exists()
    )


@dataclass(frozen=True)
class Progress:
    """Slots of a campaign by state. `total` leaves cancelled ones out."""

    open: int = 0
    leased: int = 0
    submitted: int = 0
    accepted: int = 0
    sent_back: int = 0

    @property
    def total(self) -> int:
        return self.open + self.leased + self.submitted + self.accepted + self.sent_back

    @property
    def answered(self) -> int:
        return self.submitted + self.accepted

    @property
    def percent(self) -> int:
        return self.answered * 100 // self.total if self.total else 0


def progress(campaigns: list[Campaign]) -> dict[int, Progress]:
    """Progress by campaign id, in one query."""
    counts: dict[int, dict[str, int]] = {campaign.id: {} for campaign in campaigns}
    rows = (
        Assignment.objects.filter(campaign__in=campaigns)
        .exclude(state=State.CANCELLED)
        .values("campaign", "state")
        .annotate(slots=Count("id"))
        .order_by()
    )
    for row in rows:
        counts[row["campaign"]][row["state"]] = row["slots"]
    return {campaign_id: Progress(**states) for campaign_id, states in counts.items()}


def skips(campaign: Campaign) -> QuerySet[Skip]:
    """Who passed on what and why, newest first."""
    return (
        Skip.objects.filter(task__campaign=campaign)
        .select_related("task__prompt", "labeler")
        .order_by("-skipped_at", "-id")
    )


def history(assignment: Assignment) -> QuerySet[Event]:
    return Event.objects.filter(assignment=assignment).select_related("actor").order_by("id")


def overdue() -> QuerySet[Assignment]:
    """Leases, soonest to end first; the sweep takes those that have ended."""
    return Assignment.objects.filter(state=State.LEASED).order_by(F("leased_until"), "id")
