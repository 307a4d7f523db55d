"""Numbers of campaigns, cached for large ones: counting 3 million answers takes a second."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import cast

from django.core.cache import cache
from django.db.models import Count, QuerySet

from annotate.work import queries as work
from annotate.work.models import Assignment, Campaign, Skip
from annotate.work.queries import Progress
from annotate.work.states import CampaignState, State
from annotate.workflows.table import workflow_of

# In answers or prompts.
LARGE = 100_000
CACHED = timedelta(hours=1)
# For the section that refreshes itself.
FRESH = timedelta(seconds=15)


COUNTED = (State.LEASED, State.SUBMITTED, State.ACCEPTED, State.SENT_BACK)


@dataclass(frozen=True)
class Counts:
    leased: int = 0
    submitted: int = 0
    accepted: int = 0
    sent_back: int = 0
    skipped: int = 0

    @property
    def answered(self) -> int:
        return self.submitted + self.accepted + self.sent_back


@dataclass(frozen=True)
class CampaignNumbers:
    """`prompts` get a task; None: this campaign needs none now. `tasks`: of prompts."""

    progress: Progress
    labelers: dict[int, Counts]
    tasks: int
    prompts: int | None
    counted_at: datetime

    @property
    def large(self) -> bool:
        return max(self.progress.total, self.prompts or 0) > LARGE

    @property
    def missing(self) -> int:
        return max(0, self.prompts - self.tasks) if self.prompts is not None else 0


def numbers_of(campaign: Campaign, *, now: datetime, max_age: timedelta) -> CampaignNumbers:
    cached = cast(CampaignNumbers | None, cache.get(_key(campaign)))
    return cached if cached and now - cached.counted_at < max_age else count(campaign, now=now)


def count(campaign: Campaign, *, now: datetime) -> CampaignNumbers:
    """Count, and cache the numbers of a large campaign."""
    prompts = None
    if campaign.state in (CampaignState.OPEN, CampaignState.PAUSED):
        prompts = workflow_of(campaign).prompts(campaign=campaign)
    counted = CampaignNumbers(
        progress=work.progress([campaign])[campaign.id],
        labelers=counts_in(campaign),
        tasks=0 if prompts is None else _tasks(campaign),
        prompts=None if prompts is None else prompts.count(),
        counted_at=now,
    )
    if counted.large:
        cache.set(_key(campaign), counted, CACHED.total_seconds())
    return counted


def _tasks(campaign: Campaign) -> int:
    """Without tasks whose prompt is in quarantine."""
    return campaign.tasks.filter(prompt__isnull=False, retired_at=None, held_at=None).count()


def progress(campaigns: Iterable[Campaign], *, now: datetime) -> dict[int, Progress]:
    """By campaign id, with one query for all campaigns that are not cached."""
    by_key = {_key(campaign): campaign for campaign in campaigns}
    cached = {
        by_key[key].id: cast(CampaignNumbers, numbers).progress for key, numbers in cache.get_many(by_key).items()
    }
    others = [campaign for campaign in by_key.values() if campaign.id not in cached]
    counted = work.progress(others)
    for campaign in others:
        if counted[campaign.id].total > LARGE:
            count(campaign, now=now)
    return cached | counted


def _key(campaign: Campaign) -> str:
    # A closed campaign needs other numbers than an open one.
    return f"campaign-numbers:{campaign.id}:{campaign.state}"


def counts_in(campaign: Campaign) -> dict[int, Counts]:
    """By labeler id, without skips."""
    return counts_by(Assignment.objects.filter(campaign=campaign), Skip.objects.none(), by="labeler")


def counts_by(
    assignments: QuerySet[Assignment], skips: QuerySet[Skip], *, by: str, skips_by: str = ""
) -> dict[int, Counts]:
    """Group assignments by a column, and skips by `skips_by` (default: the same). Two queries."""
    answers: dict[int, dict[str, int]] = {}
    # Count(*) by state reads only an index; counting ids would read the rows.
    for key, state, number in (
        assignments.filter(state__in=COUNTED).order_by().values_list(by, "state").annotate(n=Count("*"))
    ):
        answers.setdefault(key, {})[state] = number
    skipped = dict(skips.order_by().values_list(skips_by or by).annotate(skips=Count("id")))
    return {key: Counts(**answers.get(key, {}), skipped=skipped.get(key, 0)) for key in answers.keys() | skipped}
