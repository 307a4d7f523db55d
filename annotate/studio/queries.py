from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

from django.db.models import Case, Count, Exists, OuterRef, Q, QuerySet, Value, When

from annotate.accounts.models import User
from annotate.pools.models import Pool, Prompt
from annotate.samples.models import CurrentPolicy, Policy, SampleRun
from annotate.work.models import Assignment, Campaign, Skip, Task
from annotate.work.queries import to_review
from annotate.work.states import CampaignState, State
from annotate.workflows.counts import Counts, counts_by


def campaigns() -> QuerySet[Campaign]:
    """Open campaigns first, then paused, drafts and closed; the newest first within each state."""
    order = [CampaignState.OPEN, CampaignState.PAUSED, CampaignState.DRAFT, CampaignState.CLOSED]
    rank = Case(*(When(state=state, then=Value(place)) for place, state in enumerate(order)))
    return Campaign.objects.select_related("pool", "guideline").order_by(rank, "-created_at", "-id")


def labelers_of(campaign: Campaign, counts: Mapping[int, Counts]) -> list[tuple[User, Counts]]:
    """The labelers in `counts` and those who skipped a task, by name, with their skips."""
    skipped = counts_by(Assignment.objects.none(), Skip.objects.filter(task__campaign=campaign), by="labeler")
    people = User.objects.filter(id__in=counts.keys() | skipped.keys()).order_by("username")
    nothing = Counts()
    return [
        (person, replace(counts.get(person.id, nothing), skipped=skipped.get(person.id, nothing).skipped))
        for person in people
    ]


def campaigns_of(person: User) -> list[tuple[Campaign, Counts]]:
    """The campaigns that a person worked in, newest first."""
    assignments = Assignment.objects.filter(labeler=person)
    counts = counts_by(assignments, Skip.objects.filter(labeler=person), by="campaign", skips_by="task__campaign")
    campaigns = Campaign.objects.filter(id__in=counts).order_by("-created_at", "-id")
    return [(campaign, counts[campaign.id]) for campaign in campaigns]


def counts_of(people: Iterable[User]) -> dict[int, Counts]:
    """By person id, over all campaigns. Contains only people who worked."""
    chosen = [person.id for person in people]
    return counts_by(
        Assignment.objects.filter(labeler__in=chosen), Skip.objects.filter(labeler__in=chosen), by="labeler"
    )


def waiting_for_writers(campaign: Campaign) -> QuerySet[Assignment]:
    """Sent-back answers, the oldest decision first."""
    return (
        Assignment.objects.filter(campaign=campaign, state=State.SENT_BACK)
        .select_related("task__prompt", "labeler", "decided_by")
        .order_by("decided_at", "id")
    )


def campaigns_to_review(reviewer: User) -> QuerySet[Campaign]:
    """Campaigns with answers that this reviewer may decide about; `waiting`: their number."""
    waiting = Q(assignments__in=to_review(reviewer).order_by())
    counted = Campaign.objects.annotate(waiting=Count("assignments", filter=waiting))
    return counted.filter(waiting__gt=0).order_by("name")


def next_to_review(reviewer: User, after: Assignment, *, campaign: int | None) -> Assignment | None:
    """The answer after `after` in the queue; at the end of the queue, the first one. Never `after` itself."""
    queue = to_review(reviewer).exclude(id=after.id)
    if campaign:
        queue = queue.filter(campaign=campaign)
    later = Q(submitted_at__gt=after.submitted_at) | Q(submitted_at=after.submitted_at, id__gt=after.id)
    return queue.filter(later).first() or queue.first()


def policies() -> QuerySet[Policy]:
    """By name, the newest revision first. `is_current`: of its stage; `runs_made`: the number of its runs."""
    pointers = CurrentPolicy.objects.filter(policy=OuterRef("id"))
    counted = Policy.objects.annotate(is_current=Exists(pointers), runs_made=Count("runs"))
    return counted.select_related("probe").order_by("name", "-created_at", "-id")


def runs() -> QuerySet[SampleRun]:
    return SampleRun.objects.select_related("pool", "policy__probe", "created_by").order_by("-created_at", "-id")


@dataclass(frozen=True)
class PoolCounts:
    splits: Counter[str] = field(default_factory=Counter)
    sources: Counter[str] = field(default_factory=Counter)
    kinds: Counter[str] = field(default_factory=Counter)

    @property
    def total(self) -> int:
        return self.splits.total()


def prompts_by_pool(pools: Iterable[Pool]) -> dict[int, PoolCounts]:
    """By pool id, in one query."""
    counts = {pool.id: PoolCounts() for pool in pools}
    columns = ("pool", "group__split", "source", "kind")
    rows = Prompt.objects.filter(pool__in=counts).order_by().values_list(*columns).annotate(prompts=Count("id"))
    for pool_id, split, source, kind, number in rows:
        pool = counts[pool_id]
        pool.splits[split] += number
        pool.sources[source] += number
        pool.kinds[kind] += number
    return counts


def tasks_of(prompt: Prompt) -> QuerySet[Task]:
    """The tasks of a prompt; `wanted` and `answered`: numbers of answers."""
    wanted = Count("assignments", filter=~Q(assignments__state=State.CANCELLED))
    answered = Count("assignments", filter=Q(assignments__state__in=[State.SUBMITTED, State.ACCEPTED]))
    return (
        prompt.tasks.filter(retired_at=None)
        .select_related("campaign")
        .annotate(wanted=wanted, answered=answered)
        .order_by("id")
    )
