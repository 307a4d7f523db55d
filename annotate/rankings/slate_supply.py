"""Sample slates in advance from a campaign's mix, check them and open their tasks.

A refill locks the mix, so workers take turns. All state is in rows, so the next worker continues after a crash.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime

from django.db import transaction
from django.db.models import Exists, F, Max, OuterRef
from django.utils.translation import gettext_lazy as _

from annotate.lib.refusals import Refusal
from annotate.lib.wake import wake
from annotate.pools.actions import keep_quarantine
from annotate.pools.models import Prompt
from annotate.rankings import slate_queries
from annotate.rankings.models import Candidate, Mix, MixPart, MixVersion, Portion, Slate
from annotate.rankings.rules import MIN_CANDIDATES, Share, check_mix, gather, part_seed
from annotate.rankings.slate_queries import ResolvedPart
from annotate.rankings.states import SlateState, Why
from annotate.samples import runs as sampling
from annotate.samples.models import SampleRun
from annotate.samples.states import RequestState, RunState
from annotate.samples.tasks import FILL
from annotate.work import filling
from annotate.work.models import Campaign, Task
from annotate.work.states import CampaignState

BATCH = 200
# How often a slate requests further completions. The worker resamples too, but compares only within a part of the mix.
ROUNDS = 2


class MixFixed(Refusal):
    message = _("This campaign is closed. You cannot change its mix any more.")


class NoMix(Refusal):
    message = _("This campaign has not sampled any slates. Save a mix for it and open it first.")


def _refuse_closed(campaign: Campaign) -> None:
    # Without a lock, because `refill` locks the mix before the campaign.
    if Campaign.objects.get(id=campaign.id).state == CampaignState.CLOSED:
        raise MixFixed


def save_mix(
    *,
    campaign: Campaign,
    shares: Sequence[Share],
    low: int,
    high: int,
    cut_off_allowed: bool,
    renew: bool,
    seed: int,
) -> Mix:
    """Store the mix; an existing mix keeps its seed. `renew`: replace slates that nobody has opened.

    Raises BadMix or MixFixed.
    """
    check_mix(shares, low=low, high=high)
    for number, share in enumerate(shares):
        slate_queries.check_pointer(share, number)
    with transaction.atomic():
        _refuse_closed(campaign)
        mix, _created = Mix.objects.select_for_update().get_or_create(campaign=campaign, defaults={"seed": seed})
        mix.low, mix.high, mix.cut_off_allowed, mix.renew = low, high, cut_off_allowed, renew
        mix.save()
        mix.parts.all().delete()
        MixPart.objects.bulk_create(MixPart(mix=mix, place=place, **vars(share)) for place, share in enumerate(shares))
        wake(FILL, campaign.pool_id)
    return mix


def resume_sampling(*, campaign: Campaign, now: datetime) -> None:
    """Resume after a `Stall`. Raises MixFixed or NoMix."""
    with transaction.atomic():
        _refuse_closed(campaign)
        mix = Mix.objects.select_for_update().filter(campaign=campaign).first()
        latest = slate_queries.latest_version(mix) if mix else None
        if not mix or not latest:
            raise NoMix
        # A new version restarts the count and replaces cancelled runs.
        MixVersion.objects.create(mix=mix, parts=latest.parts, made_at=now)
        wake(FILL, campaign.pool_id)


def revisit_prompts_from(*, campaign: Campaign, prompt_id: int) -> None:
    """A refill may have passed this prompt while it was in quarantine."""
    with transaction.atomic():
        mix = Mix.objects.select_for_update().filter(campaign=campaign).first()
        if mix and mix.reached >= prompt_id:
            mix.reached = prompt_id - 1
            mix.save(update_fields=["reached"])


@contextmanager
def retrying(*, run: SampleRun) -> Iterator[None]:
    """Slates wait again for the retried prompts. Lock mixes before the run, as `refill` does, to prevent a deadlock."""
    mixes = Mix.objects.filter(versions__portions__run=run).values("id")
    list(Mix.objects.filter(id__in=mixes).order_by("id").select_for_update())
    yield
    waiting = run.requests.filter(state=RequestState.WAITING).values("prompt")
    failed = Slate.objects.filter(version__portions__run=run, prompt__in=waiting, why=Why.FAILED)
    Slate.objects.filter(id__in=failed.values("id")).update(state=SlateState.SAMPLING, why="")


def refill(*, campaign: Campaign, now: datetime) -> int:
    """Open the sampled slates, and request more if fewer than `Mix.low` are left.

    Return the number of decided prompts. Idempotent and safe to run concurrently.
    """
    with transaction.atomic():
        # Take this lock before those of the runs. `add_tasks` takes it too late.
        keep_quarantine(campaign.pool_id)
        mix = Mix.objects.select_for_update().select_related("campaign").get(campaign=campaign)
        _notice_opened(mix)
        decided = _decide(mix, now)
        if (parts := slate_queries.resolved(mix)) is not None:
            if mix.renew:
                _replace_stale(mix, parts, now)
            _request_slates(mix, parts, now)
    return decided


def _notice_opened(mix: Mix) -> None:
    """Mark opened slates as used, and delete replacements that are being sampled for them."""
    opened = slate_queries.opened_tasks(mix.campaign)
    slates = Slate.objects.filter(campaign=mix.campaign)
    slates.filter(Exists(opened.filter(id=OuterRef("task"))), state=SlateState.READY).update(state=SlateState.USED)
    slates.filter(Exists(opened.filter(prompt=OuterRef("prompt"))), state=SlateState.SAMPLING).delete()


def _decide(mix: Mix, now: datetime) -> int:
    """Open, give up or extend sampled slates. Return the number of decided prompts."""
    slates = list(slate_queries.sampled_slates(mix)[:BATCH])
    if not slates:
        return 0
    found = slate_queries.SampledSlates.of(slates)
    ready: dict[int, list[int]] = {}
    more: dict[int, dict[int, int]] = defaultdict(dict)
    for slate in slates:
        runs = found.runs[slate.version_id or 0]
        if why := _stopped(found, slate, runs):
            _give_up(slate, why)
            continue
        gathered = gather(found.part(run, slate.prompt_id, cut_off_allowed=mix.cut_off_allowed) for run in runs)
        if any(gathered.short) and slate.rounds < ROUNDS:
            for run, short in zip(runs, gathered.short, strict=True):
                if short:
                    more[run.id][slate.prompt_id] = short
            Slate.objects.filter(id=slate.id).update(rounds=F("rounds") + 1)
        elif len(gathered.chosen) < _min_candidates(mix.campaign, runs):
            _give_up(slate, Why(gathered.why))
        else:
            ready[slate.prompt_id] = gathered.chosen
    for run_id, extra in sorted(more.items()):
        sampling.sample_more(run=found.run_of(run_id), extra=extra)
    opened = _open(mix.campaign, {slate.prompt_id: slate for slate in slates if slate.prompt_id in ready}, ready, now)
    return len(slates) - len(ready) + opened


def _stopped(found: slate_queries.SampledSlates, slate: Slate, runs: Iterable[SampleRun]) -> Why | None:
    """A slate needs all parts that the manager chose."""
    states = {found.states.get((run.id, slate.prompt_id)) for run in runs}
    if RequestState.CANCELLED in states:
        return Why.CANCELLED
    return Why.FAILED if states != {RequestState.DONE} else None


def _min_candidates(campaign: Campaign, runs: Iterable[SampleRun]) -> int:
    return max(MIN_CANDIDATES, min(campaign.rankingsettings.slate_min, sum(run.k for run in runs)))


def _give_up(slate: Slate, why: Why) -> None:
    Slate.objects.filter(id=slate.id).update(state=SlateState.NONE, why=why)


def _open(campaign: Campaign, slates: dict[int, Slate], chosen: dict[int, list[int]], now: datetime) -> int:
    """Open tasks and return their number. Retire older tasks, except opened and claimed ones."""
    if not slates:
        return 0
    older = Task.objects.filter(campaign=campaign, prompt__in=slates, retired_at=None).values_list("id", flat=True)
    retired = filling.retire_tasks(campaign=campaign, tasks=older, now=now)
    Slate.objects.filter(task__in=retired).update(state=SlateState.RETIRED)
    made = filling.add_tasks(campaign=campaign, prompts=Prompt.objects.filter(id__in=slates).order_by("id"), now=now)
    Candidate.objects.bulk_create(
        Candidate(task_id=task, completion_id=completion) for task, prompt in made for completion in chosen[prompt]
    )
    for task, prompt in made:
        Slate.objects.filter(id=slates[prompt].id).update(state=SlateState.READY, task=task)
    return len(made)


def _replace_stale(mix: Mix, parts: list[ResolvedPart], now: datetime) -> None:
    """Sample new slates for prompts whose unopened slate has another version of the mix.

    Old slates stay open until the new ones are ready, so no labeler waits.
    """
    slates = Slate.objects.filter(campaign=mix.campaign)
    if not slates.filter(state__in=[SlateState.READY, SlateState.SAMPLING], version__isnull=False).exists():
        return
    version = _version(mix, parts, now)
    stale = slates.exclude(version=version).filter(version__isnull=False)
    requested = Slate.objects.filter(version=version, prompt=OuterRef("prompt"))
    replaced = stale.filter(~Exists(requested), state=SlateState.READY).values_list("prompt", flat=True)
    unfinished = stale.filter(state=SlateState.SAMPLING)
    prompts = {*replaced, *unfinished.values_list("prompt", flat=True)}
    unfinished.delete()
    if not prompts:
        return
    _request(mix, version, sorted(prompts), now)
    kept = SampleRun.objects.filter(portions__version=version)
    for run in SampleRun.objects.filter(portions__version__mix=mix, state=RunState.RUNNING).exclude(id__in=kept):
        sampling.cancel(run=run, now=now)


def _request_slates(mix: Mix, parts: list[ResolvedPart], now: datetime) -> None:
    ahead = slate_queries.count_ahead(mix)
    if ahead >= mix.low or slate_queries.stall(mix, parts):
        return
    version = _version(mix, parts, now)
    missing = mix.high - ahead
    again = list(slate_queries.prompts_to_retry(mix, version)[:missing])
    fresh = list(slate_queries.next_prompts(mix)[: missing - len(again)])
    if mix.campaign.order in slate_queries.BY_ID and fresh:
        mix.reached = fresh[-1]
    elif len(again) + len(fresh) < missing:
        # The pool is exhausted: scan it again only after it gets a new prompt.
        newest = Prompt.objects.filter(pool=mix.campaign.pool_id).aggregate(newest=Max("id"))["newest"]
        mix.reached = newest or 0
    mix.save(update_fields=["reached"])
    Slate.objects.filter(campaign=mix.campaign, prompt__in=again, state=SlateState.NONE, version__isnull=False).delete()
    _request(mix, version, again + fresh, now)


def _version(mix: Mix, parts: list[ResolvedPart], now: datetime) -> MixVersion:
    latest = slate_queries.latest_version(mix)
    if latest and latest.parts == parts:
        return latest
    return MixVersion.objects.create(mix=mix, parts=parts, made_at=now)


def _request(mix: Mix, version: MixVersion, prompts: Sequence[int], now: datetime) -> None:
    if not prompts:
        return
    Slate.objects.bulk_create(
        (Slate(campaign=mix.campaign, version=version, prompt_id=prompt) for prompt in prompts), ignore_conflicts=True
    )
    chosen = Prompt.objects.filter(id__in=prompts)
    for place, part in enumerate(version.parts):
        run = slate_queries.run_of_part(mix, version, place, part)
        if run:
            sampling.add_prompts(run=run, prompts=chosen)
        else:
            run = sampling.start(
                pool=mix.campaign.pool,
                policy=slate_queries.policy(part["policy"]),
                k=part["count"],
                temperature=part["temperature"],
                top_p=part["top_p"],
                max_new_tokens=part["max_new_tokens"],
                resample_cut_off=part["resample_cut_off"],
                stop=[],
                seed=part_seed(mix.seed, place),
                by=None,
                now=now,
                prompts=chosen,
            )
        Portion.objects.get_or_create(version=version, place=place, defaults={"run": run})
