"""Where a campaign stands, in numbers. Those of large campaigns are kept: 3 million answers take a second to count."""

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

# With more answers than this a campaign's numbers are kept. Fewer are counted in milliseconds.
LARGE = 100_000
KEPT = timedelta(hours=1)
# The part of a page that keeps itself up to date counts anew after this.
FRESH = timedelta(seconds=15)


COUNTED = (State.LEASED, State.SUBMITTED, State.ACCEPTED, State.SENT_BACK)


@dataclass(frozen=True)
class Counts:
    """What somebody holds, has answered and has skipped."""

    leased: int = 0
    submitted: int = 0
    accepted: int = 0
    sent_back: int = 0
    skipped: int = 0

    @property
    def answered(self) -> int:
        return self.submitted + self.accepted + self.sent_back


@dataclass(frozen=True)
class Standing:
    """`tasks` are made of prompts, `prompts` are those they are made of; None where a campaign makes none of them."""

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
        """Prompts without a task."""
        return max(0, self.prompts - self.tasks) if self.prompts is not None else 0


def standing(campaign: Campaign, *, now: datetime, younger: timedelta) -> Standing:
    """Of a large campaign what was counted before, if that is younger."""
    kept = cast(Standing | None, cache.get(_key(campaign)))
    return kept if kept and now - kept.counted_at < younger else count(campaign, now=now)


def count(campaign: Campaign, *, now: datetime) -> Standing:
    """Count, and keep what took long."""
    prompts = None
    if campaign.state in (CampaignState.OPEN, CampaignState.PAUSED):
        prompts = workflow_of(campaign).prompts(campaign=campaign)
    counted = Standing(
        progress=work.progress([campaign])[campaign.id],
        labelers=counts_in(campaign),
        tasks=0 if prompts is None else _tasks(campaign),
        prompts=None if prompts is None else prompts.count(),
        counted_at=now,
    )
    if counted.large:
        cache.set(_key(campaign), counted, KEPT.total_seconds())
    return counted


def _tasks(campaign: Campaign) -> int:
    """Those that are made of prompts, without those whose prompt is in quarantine."""
    return campaign.tasks.filter(prompt__isnull=False, retired_at=None, held_at=None).count()


def progress(campaigns: Iterable[Campaign], *, now: datetime) -> dict[int, Progress]:
    """By campaign id, for a list: one query for those whose numbers are not kept."""
    by_key = {_key(campaign): campaign for campaign in campaigns}
    kept = {by_key[key].id: cast(Standing, found).progress for key, found in cache.get_many(by_key).items()}
    others = [campaign for campaign in by_key.values() if campaign.id not in kept]
    counted = work.progress(others)
    for campaign in others:
        if counted[campaign.id].total > LARGE:
            count(campaign, now=now)
    return kept | counted


def _key(campaign: Campaign) -> str:
    # A state of its own: what was counted of the open campaign is not said of the closed one.
    return f"standing:{campaign.id}:{campaign.state}"


def counts_in(campaign: Campaign) -> dict[int, Counts]:
    """What everybody holds and has answered in the campaign, by labeler id, without skips."""
    return counts_by(Assignment.objects.filter(campaign=campaign), Skip.objects.none(), by="labeler")


def counts_by(
    assignments: QuerySet[Assignment], skips: QuerySet[Skip], *, by: str, skips_by: str = ""
) -> dict[int, Counts]:
    """Two queries, however many rows."""
    answers: dict[int, dict[str, int]] = {}
    # Not the ids, and the states as groups: an index of a campaign's answers has all of that.
    for key, state, number in (
        assignments.filter(state__in=COUNTED).order_by().values_list(by, "state").annotate(n=Count("*"))
    ):
        answers.setdefault(key, {})[state] = number
    skipped = dict(skips.order_by().values_list(skips_by or by).annotate(skips=Count("id")))
    return {key: Counts(**answers.get(key, {}), skipped=skipped.get(key, 0)) for key in answers.keys() | skipped}
