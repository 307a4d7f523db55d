from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django.db.models import Count, Exists, F, Max, Min, OuterRef, Q, QuerySet, Subquery, Sum
from django.db.models.functions import Extract, JSONObject

from annotate.pools.models import Prompt
from annotate.samples.models import Completion, CurrentPolicy, Origin, Policy, SampleRequest, SampleRun
from annotate.samples.states import RequestState, RunState

# The pace is measured over this time.
PACE = timedelta(minutes=1)


def current_policy(stage: str) -> Policy | None:
    pointer = CurrentPolicy.objects.filter(stage=stage).select_related("policy").first()
    return pointer.policy if pointer else None


def policies_to_sample() -> QuerySet[Policy]:
    return Policy.objects.exclude(origin=Origin.IMPORTED).order_by("-created_at", "-id")


def sampled_weights(policy: Policy) -> tuple[str, str] | None:
    """Hashes of checkpoint and adapter when last sampled, or None."""
    sampled = Completion.objects.filter(policy=policy, run__isnull=False).order_by("-id")
    last = sampled.values_list("checkpoint_hash", "provenance__adapter_sha256").first()
    return (last[0], last[1] or "") if last else None


def previous_policy(stage: str) -> Policy | None:
    pointer = CurrentPolicy.objects.filter(stage=stage).select_related("previous").first()
    return pointer.previous if pointer else None


def waiting_runs(*, gpu: bool = True) -> QuerySet[SampleRun]:
    """Running runs with a waiting prompt, oldest first."""
    waiting = SampleRequest.objects.filter(run=OuterRef("id"), state=RequestState.WAITING)
    runs = SampleRun.objects.filter(Exists(waiting), state=RunState.RUNNING)
    if not gpu:
        runs = runs.filter(policy__needs_gpu=False)
    return runs.select_related("policy__probe").order_by("created_at", "id")


def waiting_prompts(run: SampleRun, *, up_to: int) -> int:
    """Stops counting at `up_to`."""
    return run.requests.filter(state=RequestState.WAITING)[:up_to].count()


def being_sampled(instead_of: SampleRun) -> SampleRun | None:
    leased = SampleRequest.objects.filter(state=RequestState.LEASED).exclude(run=instead_of)
    first = leased.select_related("run").order_by("leased_until").first()
    return first.run if first else None


def stored(run: SampleRun, prompt_ids: Collection[int]) -> dict[int, dict[int, str]]:
    """prompt id -> k -> text."""
    found: dict[int, dict[int, str]] = defaultdict(dict)
    rows = Completion.objects.filter(run=run, prompt_id__in=prompt_ids)
    for prompt_id, k, text in rows.values_list("prompt_id", "k", "text"):
        if k is not None:
            found[prompt_id][k] = text
    return found


def completions_of(prompt: Prompt) -> QuerySet[Completion]:
    return (
        Completion.objects.filter(prompt=prompt)
        .select_related("policy", "run")
        .order_by(F("run").asc(nulls_first=True), "k", "id")
    )


@dataclass(frozen=True)
class Progress:
    waiting: int
    leased: int
    done: int
    failed: int
    cancelled: int
    completions_wanted: int
    completions: int = 0
    # Replaced one that did not pass the gate.
    resampled: int = 0
    tokens: int = 0
    # None before the first completion.
    tokens_per_second: float | None = None
    # None if no worker has sampled the run in the last minute.
    seconds_left: float | None = None

    @property
    def prompts(self) -> int:
        return self.waiting + self.leased + self.done + self.failed + self.cancelled

    @property
    def percent(self) -> int:
        """Rounded down: 100 means that none is missing."""
        return 100 * self.completions // self.completions_wanted if self.completions_wanted else 0


def progress(runs: Iterable[SampleRun], *, now: datetime) -> dict[int, Progress]:
    """Progress by run id, in one query."""
    by_id = {run.id: run for run in runs}
    recent = Q(created_at__gt=now - PACE)
    states = {state.value: Count("id", filter=Q(state=state)) for state in RequestState}
    asked = JSONObject(**states, extra=Sum("extra", default=0))
    written = JSONObject(
        completions=Count("id"),
        tokens=Sum("token_count", default=0),
        resampled=Count("id", filter=Q(attempt__gt=0)),
        recent=Count("id", filter=recent),
        recent_tokens=Sum("token_count", filter=recent, default=0),
        first_at=Min(Extract("created_at", "epoch")),
        last_at=Max(Extract("created_at", "epoch")),
    )
    # Subqueries of the run: PostgreSQL runs each once per run.
    rows = SampleRun.objects.filter(id__in=by_id).values_list(
        "id", Subquery(_of_run(SampleRequest, asked)), Subquery(_of_run(Completion, written))
    )
    return {run_id: _progress(by_id[run_id], counts, sums, now) for run_id, counts, sums in rows}


def _of_run(
    model: type[SampleRequest] | type[Completion], sums: JSONObject
) -> QuerySet[SampleRequest, object] | QuerySet[Completion, object]:
    return model._default_manager.filter(run=OuterRef("id")).order_by().values("run").values_list(sums)


def _progress(run: SampleRun, counts: Mapping[str, int], written: Mapping[str, Any] | None, now: datetime) -> Progress:
    prompts = {state.value: counts[state] for state in RequestState}
    wanted = run.k * sum(prompts.values()) + counts["extra"]
    if not written:
        return Progress(**prompts, completions_wanted=wanted)
    pace = left = None
    if run.state == RunState.RUNNING:
        seconds = min(PACE.total_seconds(), now.timestamp() - written["first_at"])
        tokens, missing = written["recent_tokens"], run.k * (counts["waiting"] + counts["leased"])
        if seconds > 0 and written["recent"]:
            pace = tokens / seconds
            left = missing * seconds / written["recent"]
    elif written["last_at"] > written["first_at"]:
        pace = written["tokens"] / (written["last_at"] - written["first_at"])
    return Progress(
        **prompts,
        completions_wanted=wanted,
        completions=written["completions"],
        resampled=written["resampled"],
        tokens=written["tokens"],
        tokens_per_second=pace,
        seconds_left=left,
    )


def failures(run: SampleRun) -> QuerySet[SampleRequest, tuple[str, int]]:
    """Most frequent errors first, with the number of prompts."""
    failed = SampleRequest.objects.filter(run=run, state=RequestState.FAILED)
    return failed.values("error").annotate(n=Count("id")).order_by("-n", "error").values_list("error", "n")
