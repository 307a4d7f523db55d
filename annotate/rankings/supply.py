"""Slates that are sampled for their campaign, ahead of its labelers: judged, opened, replaced, and more asked for.

A campaign's Mix says of what. Whoever supplies a campaign holds the mix's row, so that workers do it one after another,
and whatever a worker left undone the next one finds in the rows.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from typing import Any

from django.db import transaction
from django.db.models import Exists, F, Max, OuterRef
from django.utils.translation import gettext_lazy as _

from annotate.lib.refusals import Refusal
from annotate.lib.wake import wake
from annotate.pools.actions import keep_quarantine
from annotate.pools.models import Prompt
from annotate.rankings import stock
from annotate.rankings.models import Candidate, Mix, MixPart, MixVersion, Portion, Slate
from annotate.rankings.rules import MIN_CANDIDATES, Share, check_mix, gather, part_seed
from annotate.rankings.states import SlateState, Why
from annotate.samples import runs as sampling
from annotate.samples.models import SampleRun
from annotate.samples.states import RequestState, RunState
from annotate.samples.tasks import FILL
from annotate.work import filling
from annotate.work.models import Campaign, Task
from annotate.work.states import CampaignState

# Slates judged in one transaction.
BATCH = 200
# How often further completions are asked for in place of some that did not pass. The worker has then tried each of them
# several times, but knows only its own part of the mix.
ROUNDS = 2


class MixFixed(Refusal):
    message = _("This campaign is closed: nothing is sampled for it any more.")


class NoMix(Refusal):
    message = _("Nothing is sampled for this campaign: it ranks the completions that are there.")


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
    """Say how the campaign comes by its slates. The seed is that of a new mix; one that is there keeps its own.

    Slates that are open stay as they are, unless nobody has opened them and the mix says `renew`.
    Raises BadMix or MixFixed.
    """
    check_mix(shares, low=low, high=high)
    for number, share in enumerate(shares):
        stock.check_pointer(share, number)
    with transaction.atomic():
        if Campaign.objects.get(id=campaign.id).state == CampaignState.CLOSED:
            raise MixFixed
        mix, _created = Mix.objects.select_for_update().get_or_create(campaign=campaign, defaults={"seed": seed})
        mix.low, mix.high, mix.cut_off_allowed, mix.renew = low, high, cut_off_allowed, renew
        mix.save()
        mix.parts.all().delete()
        MixPart.objects.bulk_create(MixPart(mix=mix, place=place, **vars(share)) for place, share in enumerate(shares))
        wake(FILL, campaign.pool_id)
    return mix


def go_on(*, campaign: Campaign, now: datetime) -> None:
    """Sample for the campaign again, after a run was cancelled or too many prompts in a row made no slate.

    Raises NoMix.
    """
    with transaction.atomic():
        mix = Mix.objects.select_for_update().filter(campaign=campaign).first()
        latest = stock.latest_version(mix) if mix else None
        if not mix or not latest:
            raise NoMix
        # A version of its own, equal to the last: its failures are counted anew, and what was cancelled gets a new run.
        MixVersion.objects.create(mix=mix, parts=latest.parts, made_at=now)
        wake(FILL, campaign.pool_id)


def look_from(*, campaign: Campaign, prompt_id: int) -> None:
    """Let the supply look at this prompt and the later ones again: it may have passed one that was in quarantine."""
    with transaction.atomic():
        mix = Mix.objects.select_for_update().filter(campaign=campaign).first()
        if mix and mix.reached >= prompt_id:
            mix.reached = prompt_id - 1
            mix.save(update_fields=["reached"])


@contextmanager
def retrying(*, run: SampleRun) -> Iterator[None]:
    """Surround the retry of a run's failed prompts: their slates wait for them again.

    The mixes are locked first, in the order in which a supply locks them.
    """
    mixes = Mix.objects.filter(versions__portions__run=run).values("id")
    list(Mix.objects.filter(id__in=mixes).order_by("id").select_for_update())
    yield
    waiting = run.requests.filter(state=RequestState.WAITING).values("prompt")
    failed = Slate.objects.filter(version__portions__run=run, prompt__in=waiting, why=Why.FAILED)
    Slate.objects.filter(id__in=failed.values("id")).update(state=SlateState.SAMPLING, why="")


def supply(*, campaign: Campaign, now: datetime) -> int:
    """Open the slates of a campaign whose completions are all there, and have more sampled where few are left.

    Returns how many prompts it decided about. Safe to run twice and at once.
    """
    with transaction.atomic():
        # add_tasks takes it too, but then runs are locked already.
        keep_quarantine(campaign.pool_id)
        mix = Mix.objects.select_for_update().select_related("campaign").get(campaign=campaign)
        _notice_opened(mix)
        decided = _judge(mix, now)
        if (parts := stock.resolved(mix)) is not None:
            if mix.renew:
                _replace_stale(mix, parts, now)
            _feed(mix, parts, now)
    return decided


def _notice_opened(mix: Mix) -> None:
    """Mark the slates that somebody has opened since, and want no newer one in their place."""
    opened = stock.opened_tasks(mix.campaign)
    slates = Slate.objects.filter(campaign=mix.campaign)
    slates.filter(Exists(opened.filter(id=OuterRef("task"))), state=SlateState.READY).update(state=SlateState.USED)
    slates.filter(Exists(opened.filter(prompt=OuterRef("prompt"))), state=SlateState.SAMPLING).delete()


def _judge(mix: Mix, now: datetime) -> int:
    slates = list(stock.sampled_slates(mix)[:BATCH])
    if not slates:
        return 0
    found = stock.Found.of(slates)
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


def _stopped(found: stock.Found, slate: Slate, runs: Iterable[SampleRun]) -> Why | None:
    """A slate has all of its parts or is none: it would compare something else than its manager asked for."""
    states = {found.states.get((run.id, slate.prompt_id)) for run in runs}
    if RequestState.CANCELLED in states:
        return Why.CANCELLED
    return Why.FAILED if states != {RequestState.DONE} else None


def _min_candidates(campaign: Campaign, runs: Iterable[SampleRun]) -> int:
    return max(MIN_CANDIDATES, min(campaign.rankingsettings.slate_min, sum(run.k for run in runs)))


def _give_up(slate: Slate, why: Why) -> None:
    Slate.objects.filter(id=slate.id).update(state=SlateState.NONE, why=why)


def _open(campaign: Campaign, slates: dict[int, Slate], chosen: dict[int, list[int]], now: datetime) -> int:
    """Open the tasks of these prompts, and return how many. An older task of a prompt is retired; one that somebody has
    opened, or claims at this moment, stays in its place."""
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


def _replace_stale(mix: Mix, parts: list[dict[str, Any]], now: datetime) -> None:
    """Have those slates sampled anew that nobody has opened and that another version of the mix made.

    They stay open until the new ones are there, so nobody waits for these.
    """
    slates = Slate.objects.filter(campaign=mix.campaign)
    if not slates.filter(state__in=[SlateState.READY, SlateState.SAMPLING], version__isnull=False).exists():
        return
    version = _version(mix, parts, now)
    stale = slates.exclude(version=version).filter(version__isnull=False)
    asked = Slate.objects.filter(version=version, prompt=OuterRef("prompt"))
    replaced = stale.filter(~Exists(asked), state=SlateState.READY).values_list("prompt", flat=True)
    unfinished = stale.filter(state=SlateState.SAMPLING)
    prompts = {*replaced, *unfinished.values_list("prompt", flat=True)}
    unfinished.delete()
    if not prompts:
        return
    _ask(mix, version, sorted(prompts), now)
    kept = SampleRun.objects.filter(portions__version=version)
    for run in SampleRun.objects.filter(portions__version__mix=mix, state=RunState.RUNNING).exclude(id__in=kept):
        sampling.cancel(run=run, now=now)


def _feed(mix: Mix, parts: list[dict[str, Any]], now: datetime) -> None:
    ahead = stock.ahead(mix)
    if ahead >= mix.low or stock.stall(mix, parts):
        return
    version = _version(mix, parts, now)
    wanted = mix.high - ahead
    again = list(stock.to_ask_again(mix, version)[:wanted])
    fresh = list(stock.next_prompts(mix)[: wanted - len(again)])
    if mix.campaign.order in stock.BY_ID and fresh:
        mix.reached = fresh[-1]
    elif len(again) + len(fresh) < wanted:
        # There are no more: nobody looks through the pool again until a prompt comes.
        newest = Prompt.objects.filter(pool=mix.campaign.pool_id).aggregate(newest=Max("id"))["newest"]
        mix.reached = newest or 0
    mix.save(update_fields=["reached"])
    Slate.objects.filter(campaign=mix.campaign, prompt__in=again, state=SlateState.NONE, version__isnull=False).delete()
    _ask(mix, version, again + fresh, now)


def _version(mix: Mix, parts: list[dict[str, Any]], now: datetime) -> MixVersion:
    """The mix as it is at this time: the last version, if nothing has changed since."""
    latest = stock.latest_version(mix)
    if latest and latest.parts == parts:
        return latest
    return MixVersion.objects.create(mix=mix, parts=parts, made_at=now)


def _ask(mix: Mix, version: MixVersion, prompts: Sequence[int], now: datetime) -> None:
    """Have the completions of these prompts sampled, part by part."""
    if not prompts:
        return
    Slate.objects.bulk_create(
        (Slate(campaign=mix.campaign, version=version, prompt_id=prompt) for prompt in prompts), ignore_conflicts=True
    )
    chosen = Prompt.objects.filter(id__in=prompts)
    for place, part in enumerate(version.parts):
        run = stock.run_of_part(mix, version, place, part)
        if run:
            sampling.add_prompts(run=run, prompts=chosen)
        else:
            run = sampling.start(
                pool=mix.campaign.pool,
                policy=stock.policy(part["policy"]),
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
