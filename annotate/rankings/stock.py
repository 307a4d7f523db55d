"""What a mix names at this time, what was sampled for it, and how its slates stand."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

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

# Orders in which prompts are worked on as they came.
BY_ID = (Order.DEPTH, Order.BREADTH)
# A mix stops after so many prompts in a row without a slate, or after as many as its high mark if that is more.
FRUITLESS = 20


def parts_of(campaign: Campaign) -> list[MixPart]:
    """The parts of the campaign's mix; none where it ranks the completions that are there."""
    return list(MixPart.objects.filter(mix__campaign=campaign).order_by("place"))


def pointed_at(part: MixPart | Share) -> Policy | None:
    """The policy of a part at this time; None where its pointer was never set, or never moved."""
    if part.policy_id:
        return policy(part.policy_id)
    return (current_policy if part.pointer == Pointer.CURRENT else previous_policy)(part.stage)


def policy(policy_id: int) -> Policy:
    return Policy.objects.get(id=policy_id)


def check_pointer(share: Share, number: int) -> None:
    """Raises BadMix where the part names nothing that can be sampled."""
    found = pointed_at(share)
    if found is None:
        words = {
            Pointer.CURRENT: _("No policy of the stage %(stage)s is current yet. Make one current first."),
            Pointer.PREVIOUS: _("In the stage %(stage)s no policy was current before the one that is now."),
        }
        raise BadMix(words[Pointer(share.pointer)] % {"stage": Stage(share.stage).label}, number)
    if found.origin == Origin.IMPORTED:
        raise BadMix(NotSampledHere.message, number)


def resolved(mix: Mix) -> list[dict[str, Any]] | None:
    """The parts of a mix with the policies that its pointers are at; None where it has none or one points nowhere."""
    found = [(part, pointed_at(part)) for part in parts_of(mix.campaign)]
    if not found or not all(policy for _part, policy in found):
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
        for part, policy in found
        if policy
    ]


def latest_version(mix: Mix) -> MixVersion | None:
    return mix.versions.order_by("-id").first()


def run_of_part(mix: Mix, version: MixVersion, place: int, part: dict[str, Any]) -> SampleRun | None:
    """The run of a part of this version, or of an earlier one that had the same part in its place."""
    portions = Portion.objects.select_related("run", "version").filter(version__mix=mix, place=place)
    if own := portions.filter(version=version).first():
        return own.run
    for portion in portions.exclude(run__state=RunState.CANCELLED).order_by("-version"):
        if portion.version.parts[place] == part:
            return portion.run
    return None


def opened_tasks(campaign: Campaign) -> QuerySet[Task]:
    """Tasks of which somebody has had a slot, or of which none is free any more."""
    slots = Assignment.objects.filter(task=OuterRef("id"))
    touched = slots.exclude(state=State.CANCELLED).exclude(state=State.OPEN, position__gte=0)
    free = slots.filter(state=State.OPEN)
    return Task.objects.filter(Exists(touched) | ~Exists(free), campaign=campaign, retired_at=None)


def sampled_slates(mix: Mix) -> QuerySet[Slate]:
    """Slates of which nothing is on its way any more, oldest first."""
    pending = SampleRequest.objects.filter(
        run__portions__version=OuterRef("version"),
        prompt=OuterRef("prompt"),
        state__in=[RequestState.WAITING, RequestState.LEASED],
    )
    # Those of a prompt in quarantine wait for the manager's decision.
    sampling = Slate.objects.filter(campaign=mix.campaign_id, state=SlateState.SAMPLING, prompt__quarantined_at=None)
    return sampling.filter(~Exists(pending)).order_by("id")


@dataclass(frozen=True)
class Found:
    """What was sampled for some slates: by version its runs in the order of the mix, by run and prompt what became of
    the request and the completions in the order of k."""

    runs: dict[int, list[SampleRun]]
    states: dict[tuple[int, int], str] = field(default_factory=dict)
    sampled: dict[tuple[int, int], list[Completion]] = field(default_factory=lambda: defaultdict(list))

    @classmethod
    def of(cls, slates: Sequence[Slate]) -> "Found":
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


def ahead(mix: Mix) -> int:
    """How many slates are ready or on their way; one that will take an unopened one's place is not counted twice."""
    live = Slate.objects.filter(
        campaign=mix.campaign_id,
        state__in=[SlateState.READY, SlateState.SAMPLING],
        version__isnull=False,
        prompt__quarantined_at=None,
    )
    return live.values("prompt").distinct().count()


def to_ask_again(mix: Mix, version: MixVersion) -> QuerySet[Slate, int]:
    """Prompts that made no slate only because an earlier version's policy failed or its run was cancelled."""
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
    """The pool's prompts that have neither a slate nor a task and are not in quarantine, in the campaign's order."""
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
    """Why nothing more is sampled: a run of the mix was cancelled, or so many prompts in a row made no slate."""

    run: SampleRun | None = None
    fruitless: int = 0


def stall(mix: Mix, parts: list[dict[str, Any]]) -> Stall | None:
    latest = latest_version(mix)
    if not latest or latest.parts != parts:
        return None
    cancelled = SampleRun.objects.filter(portions__version=latest, state=RunState.CANCELLED).order_by("id").first()
    if cancelled:
        return Stall(run=cancelled)
    most = max(FRUITLESS, mix.high)
    states = list(latest.slates.order_by("-id").values_list("state", flat=True)[:most])
    if len(states) == most and set(states) == {SlateState.NONE}:
        return Stall(fruitless=most)
    return None


@dataclass(frozen=True)
class Supply:
    """How a campaign's slates stand: ready, on their way, replaced unopened, and by reason how many there are not."""

    ready: int
    sampling: int
    retired: int
    none: list[tuple[Why, int]]

    @property
    def without(self) -> int:
        return sum(number for _why, number in self.none)


def supply_of(campaign: Campaign) -> Supply:
    rows = Slate.objects.filter(campaign=campaign).exclude(state=SlateState.USED).order_by("state", "why")
    counts = {(state, why): number for state, why, number in rows.values_list("state", "why").annotate(n=Count("id"))}
    return Supply(
        counts.get((SlateState.READY, ""), 0),
        counts.get((SlateState.SAMPLING, ""), 0),
        counts.get((SlateState.RETIRED, ""), 0),
        [(Why(why), number) for (state, why), number in counts.items() if state == SlateState.NONE],
    )
