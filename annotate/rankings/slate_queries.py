"""Read side of slate supply: resolve a mix, load its samples, count its slates."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TypedDict

from django.db.models import Count, Exists, OuterRef, QuerySet, TextField, Value
from django.db.models.functions import MD5, Cast, Concat
from django.utils.translation import gettext_lazy as _

from annotate.pools.models import Prompt
from annotate.rankings.models import Mix, MixPart, MixVersion, Pointer, Portion, Slate
from annotate.rankings.rules import BadMix, Part, Sampled, Share
from annotate.rankings.states import SlateState, Why
from annotate.samples.gate import read
from annotate.samples.models import Completion, FinishReason, Origin, Policy, SampleRequest, SampleRun, Stage
from annotate.samples.policies import NotSampledHere
from annotate.samples.queries import current_policy, previous_policy
from annotate.samples.states import RequestState, RunState
from annotate.work.models import Assignment, Campaign, Order, Task
from annotate.work.states import State

# In these orders prompts come by id, so a cursor can skip those already sampled.
BY_ID = (Order.DEPTH, Order.BREADTH)
# Sampling stops after this many consecutive prompts without a slate, or after `Mix.high` if that is more.
FRUITLESS = 20

NO_POLICY = {
    Pointer.CURRENT: _("The stage %(stage)s has no current policy. Make a policy current first."),
    Pointer.PREVIOUS: _("The stage %(stage)s has no previous policy. Choose the current one or name a policy."),
}


class ResolvedPart(TypedDict):
    """As `MixVersion.parts` stores it."""

    policy: int
    count: int
    temperature: float
    top_p: float
    max_new_tokens: int
    resample_cut_off: bool


def parts_of(campaign: Campaign) -> list[MixPart]:
    """Empty: the campaign ranks existing completions."""
    return list(MixPart.objects.filter(mix__campaign=campaign).order_by("place"))


def pointed_at(part: MixPart | Share) -> Policy | None:
    """The part's policy now. None: its pointer has none."""
    if part.policy_id:
        return policy(part.policy_id)
    return (current_policy if part.pointer == Pointer.CURRENT else previous_policy)(part.stage)


def policy(policy_id: int) -> Policy:
    return Policy.objects.get(id=policy_id)


def check_pointer(share: Share, number: int) -> None:
    policy = pointed_at(share)
    if policy is None:
        raise BadMix(NO_POLICY[Pointer(share.pointer)] % {"stage": Stage(share.stage).label}, number)
    if policy.origin == Origin.IMPORTED:
        raise BadMix(NotSampledHere.message, number)


def resolved(mix: Mix) -> list[ResolvedPart] | None:
    """None: the mix has no parts, or a pointer has no policy."""
    policies = [(part, pointed_at(part)) for part in parts_of(mix.campaign)]
    if not policies or not all(policy for _part, policy in policies):
        return None
    return [
        {
            "policy": policy.id,
            "count": part.count,
            "temperature": part.temperature,
            "top_p": part.top_p,
            "max_new_tokens": part.max_new_tokens,
            "resample_cut_off": not mix.cut_off_allowed,
        }
        for part, policy in policies
        if policy
    ]


def latest_version(mix: Mix) -> MixVersion | None:
    return mix.versions.order_by("-id").first()


def run_of_part(mix: Mix, version: MixVersion, place: int, part: ResolvedPart) -> SampleRun | None:
    """The run of this part, also from an earlier version with an equal part in this place."""
    portions = Portion.objects.select_related("run", "version").filter(version__mix=mix, place=place)
    if own := portions.filter(version=version).first():
        return own.run
    for portion in portions.exclude(run__state=RunState.CANCELLED).order_by("-version"):
        if portion.version.parts[place] == part:
            return portion.run
    return None


def opened_tasks(campaign: Campaign) -> QuerySet[Task]:
    """Tasks that a labeler has had, or without a free slot."""
    slots = Assignment.objects.filter(task=OuterRef("id"))
    touched = slots.exclude(state=State.CANCELLED).exclude(state=State.OPEN, position__gte=0)
    free = slots.filter(state=State.OPEN)
    return Task.objects.filter(Exists(touched) | ~Exists(free), campaign=campaign, retired_at=None)


def sampled_slates(mix: Mix) -> QuerySet[Slate]:
    """Slates whose requests are all finished, oldest first."""
    pending = SampleRequest.objects.filter(
        run__portions__version=OuterRef("version"),
        prompt=OuterRef("prompt"),
        state__in=[RequestState.WAITING, RequestState.LEASED],
    )
    sampling = Slate.objects.filter(campaign=mix.campaign_id, state=SlateState.SAMPLING, prompt__quarantined_at=None)
    return sampling.filter(~Exists(pending)).order_by("id")


@dataclass(frozen=True)
class SampledSlates:
    """`runs`: by version id, in the order of the mix. `states` (of requests), `sampled`: by run id and prompt id."""

    runs: dict[int, list[SampleRun]]
    states: dict[tuple[int, int], str] = field(default_factory=dict)
    sampled: dict[tuple[int, int], list[Completion]] = field(default_factory=lambda: defaultdict(list))

    @classmethod
    def of(cls, slates: Sequence[Slate]) -> "SampledSlates":
        found = cls({slate.version_id: [] for slate in slates if slate.version_id})
        for portion in Portion.objects.filter(version__in=found.runs).select_related("run").order_by("place"):
            found.runs[portion.version_id].append(portion.run)
        prompts = {slate.prompt_id for slate in slates}
        runs = {run.id for runs in found.runs.values() for run in runs}
        requests = SampleRequest.objects.filter(run__in=runs, prompt__in=prompts)
        for run_id, prompt_id, state in requests.values_list("run", "prompt", "state"):
            found.states[run_id, prompt_id] = state
        rows = Completion.objects.filter(run__in=runs, prompt__in=prompts).order_by("k")
        for row in rows.only("run_id", "prompt_id", "text", "finish_reason", "attempt"):
            found.sampled[row.run_id or 0, row.prompt_id].append(row)
        return found

    def run_of(self, run_id: int) -> SampleRun:
        return next(run for runs in self.runs.values() for run in runs if run.id == run_id)

    def part(self, run: SampleRun, prompt_id: int, *, cut_off_allowed: bool) -> Part:
        refused = None if cut_off_allowed else FinishReason.LENGTH
        rows = self.sampled[run.id, prompt_id]
        sampled = [Sampled(row.id, read(row.text), row.finish_reason == refused, row.attempt) for row in rows]
        return Part(run.k, sampled, seeded=run.temperature > 0)


def count_ahead(mix: Mix) -> int:
    """Prompts with a slate that is ready or being sampled. A replacement does not count twice."""
    live = Slate.objects.filter(
        campaign=mix.campaign_id,
        state__in=[SlateState.READY, SlateState.SAMPLING],
        version__isnull=False,
        prompt__quarantined_at=None,
    )
    return live.values("prompt").distinct().count()


def prompts_to_retry(mix: Mix, version: MixVersion) -> QuerySet[Slate, int]:
    """Prompts whose run of an earlier version failed or was cancelled."""
    live = Task.objects.filter(campaign=mix.campaign_id, prompt=OuterRef("prompt"), retired_at=None)
    left = Slate.objects.filter(
        ~Exists(live),
        campaign=mix.campaign_id,
        state=SlateState.NONE,
        why__in=[Why.FAILED, Why.CANCELLED],
        version__isnull=False,
        prompt__quarantined_at=None,
    )
    return left.exclude(version=version).order_by("prompt").values_list("prompt", flat=True).distinct()


def next_prompts(mix: Mix) -> QuerySet[Prompt, int]:
    """Prompts not sampled yet, in the campaign's order."""
    campaign = mix.campaign
    slates = Slate.objects.filter(campaign=campaign, version__isnull=False, prompt=OuterRef("id"))
    tasks = Task.objects.filter(campaign=campaign, prompt=OuterRef("id"), retired_at=None)
    left = Prompt.objects.filter(
        ~Exists(slates), ~Exists(tasks), pool=campaign.pool_id, id__gt=mix.reached, quarantined_at=None
    )
    if campaign.order == Order.PRIORITY:
        left = left.order_by("-priority", "id")
    elif campaign.order == Order.RANDOM:
        # As in annotate/work/sql/filling.sql.
        left = left.order_by(MD5(Concat(Value(f"{campaign.order_seed}:"), Cast("id", TextField()))), "id")
    else:
        left = left.order_by("id")
    return left.values_list("id", flat=True)


@dataclass(frozen=True)
class Stall:
    """`run` was cancelled, or `fruitless` consecutive prompts made no slate."""

    run: SampleRun | None = None
    fruitless: int = 0


def stall(mix: Mix, parts: list[ResolvedPart]) -> Stall | None:
    latest = latest_version(mix)
    if not latest or latest.parts != parts:
        return None
    cancelled = SampleRun.objects.filter(portions__version=latest, state=RunState.CANCELLED).order_by("id").first()
    if cancelled:
        return Stall(run=cancelled)
    limit = max(FRUITLESS, mix.high)
    states = list(latest.slates.order_by("-id").values_list("state", flat=True)[:limit])
    if len(states) == limit and set(states) == {SlateState.NONE}:
        return Stall(fruitless=limit)
    return None


@dataclass(frozen=True)
class SlateCounts:
    """Unopened slates by state, and prompts without a slate by reason."""

    ready: int
    sampling: int
    retired: int
    none: list[tuple[Why, int]]

    @property
    def without(self) -> int:
        return sum(number for _why, number in self.none)


def slate_counts(campaign: Campaign) -> SlateCounts:
    rows = Slate.objects.filter(campaign=campaign).exclude(state=SlateState.USED).order_by("state", "why")
    counts = {(state, why): number for state, why, number in rows.values_list("state", "why").annotate(n=Count("id"))}
    return SlateCounts(
        counts.get((SlateState.READY, ""), 0),
        counts.get((SlateState.SAMPLING, ""), 0),
        counts.get((SlateState.RETIRED, ""), 0),
        [(Why(why), number) for (state, why), number in counts.items() if state == SlateState.NONE],
    )
