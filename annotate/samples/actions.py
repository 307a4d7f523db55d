"""What managers ask of policies, and how workers bring it back.

A run's row is always locked before its requests' rows, and the rows of several requests in order of their id,
so that no two of these functions wait for each other in a circle.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django.db import IntegrityError, connection, transaction
from django.db.models import F, Q, QuerySet
from django.utils.translation import gettext_lazy as _

from annotate.accounts.models import User
from annotate.lib.refusals import Refusal
from annotate.lib.text import mended, text_hash
from annotate.lib.wake import wake
from annotate.pools.models import Pool, Prompt
from annotate.samples.models import (
    CHECKPOINTS,
    Completion,
    CurrentPolicy,
    Origin,
    Policy,
    Quantisation,
    SampleRequest,
    SampleRun,
    ServerProbe,
)
from annotate.samples.rules import BadServer, check_server, server_address
from annotate.samples.states import RequestState, RunState

# How often a prompt is tried, and how often it may take its worker down, before it waits for a person.
MAX_ATTEMPTS = 3
WORKER_STOPPED = _("The worker stopped three times while it sampled this prompt.")
WORKER_NEVER_WROTE = _(
    "The worker stopped three times before it wrote anything for this run. The policy may need more memory than it has."
)
SAMPLE = "models_worker.sample_run"
PROBE = "models_worker.probe_server"
# Whoever makes slates of what is sampled.
FILL = "workflows.fill_campaigns"


class PolicyExists(Refusal):
    message = _("There is already a policy of this name and revision. A new checkpoint needs a new revision.")


class LocationMismatch(Refusal):
    message = _(
        "A policy that is sampled here needs its folder or hub id, or the address of its server; one whose completions "
        "are imported has none."
    )


class NotACheckpoint(Refusal):
    message = _(
        "An adapter, quantisation, a GPU and weights that are not safetensors are for a checkpoint that a worker "
        "loads, in a folder or from a hub."
    )


class NotTheServer(Refusal):
    """What was said about a server cannot be; raised with its message."""


class NotAServer(Refusal):
    message = _("A model on the server, how it is asked and a key are for a policy behind a server.")


class WrongStage(Refusal):
    message = _("This policy belongs to another stage.")


class NotSampledHere(Refusal):
    message = _("This policy is known only by its imported completions. Choose one that a worker can load.")


class NoPrompts(Refusal):
    message = _("There are no prompts to sample. Import or choose prompts first.")


class AllEqual(Refusal):
    message = _("At temperature 0 all completions of a prompt are equal. Ask for one each, or raise the temperature.")


class TokensOfServer(Refusal):
    message = _("A server keeps token ids and logprobs to itself. They are kept only of a policy that a worker loads.")


class RunEnded(Refusal):
    message = _("This run has already ended.")


class RunCancelled(Refusal):
    message = _("This run was cancelled. Start a new one.")


class NothingFailed(Refusal):
    message = _("No prompt of this run has failed.")


def create_policy(
    *,
    name: str,
    revision: str,
    stage: str,
    origin: str,
    location: str = "",
    adapter: str = "",
    chat_template: str = "",
    examples: Sequence[Mapping[str, str]] = (),
    dtype: str = "auto",
    quantisation: str = Quantisation.NONE,
    unsafe_weights: bool = False,
    needs_gpu: bool = False,
    served_model: str = "",
    endpoint: str = "",
    key_name: str = "",
    now: datetime,
) -> Policy:
    """Of a server a worker finds out at once what it can do.

    Raises PolicyExists, LocationMismatch, NotACheckpoint, NotTheServer or NotAServer.
    """
    if (origin == Origin.IMPORTED) == bool(location):
        raise LocationMismatch
    loading = adapter or quantisation != Quantisation.NONE or unsafe_weights or needs_gpu
    if loading and origin not in CHECKPOINTS:
        raise NotACheckpoint
    if origin == Origin.SERVER:
        try:
            location = server_address(location)
            check_server(served_model=served_model, endpoint=endpoint, key_name=key_name, chat_template=chat_template)
        except BadServer as bad:
            raise NotTheServer(str(bad)) from bad
    elif served_model or endpoint or key_name:
        raise NotAServer
    policy = Policy(
        name=name,
        revision=revision,
        stage=stage,
        origin=origin,
        location=location,
        adapter=adapter,
        chat_template=chat_template,
        examples=list(examples),
        dtype=dtype,
        quantisation=quantisation,
        unsafe_weights=unsafe_weights,
        needs_gpu=needs_gpu,
        served_model=served_model,
        endpoint=endpoint,
        key_name=key_name,
        created_at=now,
    )
    try:
        with transaction.atomic():
            policy.save()
            if origin == Origin.SERVER:
                probe = ServerProbe.objects.create(policy=policy, asked_at=now)
                wake(PROBE, probe.id)
    except IntegrityError as taken:
        raise PolicyExists from taken
    return policy


def move_current(*, stage: str, policy: Policy, by: User | None, now: datetime) -> CurrentPolicy:
    """From now on new runs of this stage start from this policy. Raises WrongStage or NotSampledHere."""
    if policy.stage != stage:
        raise WrongStage
    if policy.origin == Origin.IMPORTED:
        raise NotSampledHere
    moved = {"policy": policy, "moved_by": by, "moved_at": now}
    with transaction.atomic():
        pointer, created = CurrentPolicy.objects.select_for_update().get_or_create(stage=stage, defaults=moved)
        if not created and pointer.policy_id != policy.id:
            pointer.previous_id, pointer.policy = pointer.policy_id, policy
            pointer.moved_by, pointer.moved_at = by, now
            pointer.save()
            wake(FILL)
    return pointer


def start_run(
    *,
    pool: Pool,
    policy: Policy,
    k: int,
    temperature: float,
    top_p: float,
    max_new_tokens: int,
    stop: list[str],
    seed: int,
    keep_tokens: bool = False,
    resample_cut_off: bool = False,
    by: User | None,
    now: datetime,
    prompts: QuerySet[Prompt] | None = None,
) -> SampleRun:
    """Ask the policy for K completions of every prompt of the pool, or of those prompts of the pool that are given, but
    of none that is in quarantine.

    Raises NotSampledHere, AllEqual, TokensOfServer or NoPrompts.
    """
    if policy.origin == Origin.IMPORTED:
        raise NotSampledHere
    if temperature == 0 and k > 1:
        raise AllEqual
    if keep_tokens and policy.origin == Origin.SERVER:
        raise TokensOfServer
    with transaction.atomic():
        run = SampleRun.objects.create(
            pool=pool,
            policy=policy,
            k=k,
            temperature=temperature,
            top_p=top_p,
            max_new_tokens=max_new_tokens,
            stop=stop,
            seed=seed,
            keep_tokens=keep_tokens,
            resample_cut_off=resample_cut_off,
            created_by=by,
            created_at=now,
        )
        if not _request(run, prompts):
            raise NoPrompts
        wake(SAMPLE, run.id)
    return run


def add_prompts(*, run: SampleRun, prompts: QuerySet[Prompt]) -> None:
    """Ask further prompts of a run, ended or not. Those it has are left alone; if they failed, they are tried again.

    Raises RunCancelled.
    """
    with transaction.atomic():
        run = _locked(run.id)
        if run.state == RunState.CANCELLED:
            raise RunCancelled
        failed = run.requests.filter(state=RequestState.FAILED, prompt__in=prompts.values("id"))
        if failed.update(**AGAIN) + _request(run, prompts):
            _go_on(run)


def ask_more(*, run: SampleRun, extra: Mapping[int, int]) -> None:
    """Want so many further completions of prompts that a run has done, in place of some that were not worth showing.

    A run that was cancelled meanwhile, or a prompt that is not done, is left alone.
    """
    with transaction.atomic():
        run = _locked(run.id)
        done = run.requests.filter(state=RequestState.DONE)
        if run.state == RunState.CANCELLED:
            return
        asked = [done.filter(prompt=prompt).update(**AGAIN, extra=F("extra") + more) for prompt, more in extra.items()]
        if any(asked):
            _go_on(run)


# The columns of a request that is to be sampled once more.
AGAIN: dict[str, Any] = {"state": RequestState.WAITING, "attempts": 0, "error": "", "finished_at": None}


def _go_on(run: SampleRun) -> None:
    """Called with the run locked: something of it waits again."""
    run.state, run.finished_at = RunState.RUNNING, None
    run.save(update_fields=["state", "finished_at"])
    wake(SAMPLE, run.id)


def _request(run: SampleRun, prompts: QuerySet[Prompt] | None) -> int:
    """One request a prompt, in one statement however large the pool is. Returns how many are new."""
    wanted = Prompt.objects.filter(pool=run.pool, quarantined_at=None)
    if prompts is not None:
        wanted = wanted.filter(id__in=prompts.values("id"))
    chosen, params = wanted.order_by("id").values("id").query.sql_with_params()
    with connection.cursor() as cursor:
        cursor.execute(
            f"""
            INSERT INTO samples_samplerequest (run_id, prompt_id)
            SELECT %s, id FROM ({chosen}) AS chosen ON CONFLICT DO NOTHING
            """,  # noqa: S608  # `chosen` is SQL that Django wrote, its values are parameters
            [run.id, *params],
        )
        return int(cursor.rowcount)


def cancel_run(*, run: SampleRun, now: datetime) -> SampleRun:
    """Stop a run: what waits is cancelled, what is being sampled stops within seconds, what is stored stays.

    Raises RunEnded.
    """
    with transaction.atomic():
        run = _locked(run.id)
        if run.state != RunState.RUNNING:
            raise RunEnded
        ended = {"state": RequestState.CANCELLED, "leased_until": None, "finished_at": now}
        run.requests.filter(state=RequestState.WAITING).update(**ended)
        leased = run.requests.filter(state=RequestState.LEASED).select_for_update().order_by("id")
        SampleRequest.objects.filter(id__in=list(leased.values_list("id", flat=True))).update(**ended)
        run.state, run.finished_at = RunState.CANCELLED, now
        run.save(update_fields=["state", "finished_at"])
    return run


def put_away(*, prompts: Collection[int], now: datetime) -> None:
    """Sample prompts that are in quarantine no further. What is being sampled at this moment is stored."""
    waiting = SampleRequest.objects.filter(prompt__in=prompts, state=RequestState.WAITING)
    with transaction.atomic():
        for run_id in sorted(set(waiting.values_list("run", flat=True))):
            run = _locked(run_id)
            # Only of this run: another's row is not locked.
            mine = waiting.filter(run=run).order_by("id").select_for_update().values_list("id", flat=True)
            SampleRequest.objects.filter(id__in=list(mine), state=RequestState.WAITING).update(
                state=RequestState.CANCELLED, finished_at=now
            )
            _close_if_over(run, now)


def take_up(*, prompts: Collection[int]) -> None:
    """Go on sampling prompts that were released from quarantine, in the runs that nobody has cancelled."""
    away = SampleRequest.objects.filter(prompt__in=prompts, state=RequestState.CANCELLED)
    with transaction.atomic():
        for run_id in sorted(set(away.values_list("run", flat=True))):
            run = _locked(run_id)
            if run.state != RunState.CANCELLED and away.filter(run=run).update(**AGAIN):
                _go_on(run)


def retry_failed(*, run: SampleRun) -> int:
    """Let the prompts of a run that failed be tried again. Returns how many; raises RunCancelled or NothingFailed."""
    with transaction.atomic():
        run = _locked(run.id)
        if run.state == RunState.CANCELLED:
            raise RunCancelled
        count = run.requests.filter(state=RequestState.FAILED).update(**AGAIN)
        if not count:
            raise NothingFailed
        _go_on(run)
    return count


def claim_requests(*, run: SampleRun, worker: str, limit: int, lease: timedelta, now: datetime) -> list[SampleRequest]:
    """Lease up to `limit` waiting prompts of a run, oldest first; none when nothing waits that nobody else is taking.

    A prompt on its last attempt is leased alone: if it takes its worker down, it takes no other prompt along. Waiting
    requests of prompts in quarantine are cancelled.
    """
    with transaction.atomic():
        waiting = (
            run.requests.filter(state=RequestState.WAITING)
            .order_by("id")
            .select_for_update(skip_locked=True)
            .values_list("id", "attempts")[:limit]
        )
        found = list(waiting)
        away = _cancel_quarantined([request_id for request_id, _attempts in found], now)
        found = [(request_id, attempts) for request_id, attempts in found if request_id not in away]
        if found and found[0][1] >= MAX_ATTEMPTS - 1:
            chosen = [found[0][0]]
        else:
            chosen = [request_id for request_id, attempts in found if attempts < MAX_ATTEMPTS - 1]
        SampleRequest.objects.filter(id__in=chosen, state=RequestState.WAITING).update(
            state=RequestState.LEASED, leased_until=now + lease, worker=worker, attempts=F("attempts") + 1
        )
    if away:
        with transaction.atomic():
            _close_if_over(_locked(run.id), now)
        if not chosen:
            return claim_requests(run=run, worker=worker, limit=limit, lease=lease, now=now)
    claimed = SampleRequest.objects.filter(id__in=chosen, state=RequestState.LEASED, worker=worker)
    return list(claimed.select_related("prompt").order_by("id"))


def _cancel_quarantined(requests: Collection[int], now: datetime) -> set[int]:
    """Of these waiting requests, locked by the caller, cancel those whose prompts are in quarantine; return which.

    They were being sampled when their prompt was put there, or failed and were to be tried again.
    """
    found = SampleRequest.objects.filter(id__in=requests, prompt__quarantined_at__isnull=False)
    away = set(found.values_list("id", flat=True))
    if away:
        SampleRequest.objects.filter(id__in=away).update(state=RequestState.CANCELLED, finished_at=now)
    return away


def renew(*, run: SampleRun, worker: str, lease: timedelta, now: datetime) -> int:
    """Hold on to what this worker has leased of a run. Returns how many prompts that is."""
    with transaction.atomic():
        mine = run.requests.filter(state=RequestState.LEASED, worker=worker).order_by("id").select_for_update()
        return SampleRequest.objects.filter(id__in=list(mine.values_list("id", flat=True))).update(
            leased_until=now + lease
        )


def release(*, run: SampleRun, worker: str) -> int:
    """Give back what this worker has leased, because it is stopping and not because anything failed."""
    with transaction.atomic():
        mine = run.requests.filter(state=RequestState.LEASED, worker=worker).order_by("id").select_for_update()
        return SampleRequest.objects.filter(id__in=list(mine.values_list("id", flat=True))).update(
            state=RequestState.WAITING, leased_until=None, attempts=F("attempts") - 1
        )


@dataclass(frozen=True)
class Written:
    """One completion as a sampler brings it, with all that is needed to write it again."""

    k: int
    text: str
    token_count: int | None
    finish_reason: str
    seed: int
    attempt: int
    parameters: dict[str, Any]
    checkpoint_hash: str
    provenance: dict[str, Any]


def kept(text: str) -> str:
    """A policy's text as it is stored: exactly as written, but for what PostgreSQL refuses (see `mended`).

    A byte-level policy may write NUL, and a server may send half of a surrogate pair.
    """
    return mended(text)


def store(*, run: SampleRun, prompt_id: int, written: Written, now: datetime) -> None:
    """Keep a completion. The k-th of this prompt in this run is stored once; a second one changes nothing."""
    text = kept(written.text)
    completion = Completion(
        prompt_id=prompt_id,
        policy_id=run.policy_id,
        run=run,
        k=written.k,
        text=text,
        text_hash=text_hash(text),
        token_count=written.token_count,
        finish_reason=written.finish_reason,
        seed=written.seed,
        attempt=written.attempt,
        parameters=written.parameters,
        policy_revision=run.policy.revision,
        checkpoint_hash=written.checkpoint_hash,
        provenance=written.provenance,
        created_at=now,
    )
    Completion.objects.bulk_create([completion], ignore_conflicts=True)


def finish_request(*, request: SampleRequest, now: datetime) -> bool:
    """The prompt is done, once all its K completions are stored and as long as the lease is still this worker's."""
    with transaction.atomic():
        run = _locked(request.run_id)
        if Completion.objects.filter(run=run, prompt_id=request.prompt_id).count() < run.k + request.extra:
            return False
        moved = _held(request).update(state=RequestState.DONE, leased_until=None, error="", finished_at=now)
        _close_if_over(run, now)
        return bool(moved)


def fail_request(*, request: SampleRequest, error: str, now: datetime, final: bool = False) -> bool:
    """Note why the prompt was not sampled. It waits for another attempt, unless it has had all or none can help."""
    with transaction.atomic():
        run = _locked(request.run_id)
        if final or request.attempts >= MAX_ATTEMPTS:
            moved = _fail(_held(request), error, now)
        else:
            moved = _held(request).update(state=RequestState.WAITING, leased_until=None, error=error)
        _close_if_over(run, now)
        return bool(moved)


def fail_rest(*, run: SampleRun, worker: str, error: str, now: datetime) -> int:
    """Fail what waits and what this worker has leased: no other prompt would fare better. Returns how many."""
    with transaction.atomic():
        run = _locked(run.id)
        mine = run.requests.filter(state=RequestState.LEASED, worker=worker).order_by("id").select_for_update()
        rest = Q(state=RequestState.WAITING) | Q(id__in=list(mine.values_list("id", flat=True)))
        failed = _fail(run.requests.filter(rest), error, now)
        _close_if_over(run, now)
        return failed


def free_expired(*, now: datetime) -> int:
    """Give the prompts of workers that died to others. Returns how many; a prompt that had all its attempts fails.

    Where workers died so often before they wrote a single completion, all that waits fails, or they would go on dying.
    """
    expired = SampleRequest.objects.filter(state=RequestState.LEASED, leased_until__lte=now)
    return sum(_free_expired(run_id, now) for run_id in sorted(set(expired.values_list("run_id", flat=True))))


def _free_expired(run_id: int, now: datetime) -> int:
    with transaction.atomic():
        run = _locked(run_id)
        expired = run.requests.filter(state=RequestState.LEASED, leased_until__lte=now).order_by("id")
        found = list(expired.select_for_update(skip_locked=True).values_list("id", "attempts"))
        tired = {request_id for request_id, attempts in found if attempts >= MAX_ATTEMPTS}
        freed = SampleRequest.objects.filter(id__in={request_id for request_id, _n in found} - tired)
        count = freed.update(state=RequestState.WAITING, leased_until=None)
        if tired:
            _fail(SampleRequest.objects.filter(id__in=tired), str(WORKER_STOPPED), now)
            if not Completion.objects.filter(run=run).exists():
                _fail(run.requests.filter(state=RequestState.WAITING), str(WORKER_NEVER_WROTE), now)
        _close_if_over(run, now)
    return count


def _fail(requests: QuerySet[SampleRequest], error: str, now: datetime) -> int:
    return requests.update(state=RequestState.FAILED, leased_until=None, error=error, finished_at=now)


def _locked(run_id: int) -> SampleRun:
    # NO KEY: completions that refer to the run are inserted meanwhile.
    return SampleRun.objects.select_for_update(no_key=True).get(id=run_id)


def _held(request: SampleRequest) -> QuerySet[SampleRequest]:
    """The row, if its lease is still the one under which `request` was claimed."""
    return SampleRequest.objects.filter(
        id=request.id, state=RequestState.LEASED, worker=request.worker, attempts=request.attempts
    )


def _close_if_over(run: SampleRun, now: datetime) -> None:
    """Called with the run locked, so that of two workers finishing the last two prompts one sees both finished."""
    # Two questions, because each has its own partial index.
    for state in (RequestState.WAITING, RequestState.LEASED):
        if run.requests.filter(state=state).exists():
            return
    failed = run.requests.filter(state=RequestState.FAILED).exists() and not Completion.objects.filter(run=run).exists()
    ended = RunState.FAILED if failed else RunState.DONE
    SampleRun.objects.filter(id=run.id, state=RunState.RUNNING).update(state=ended, finished_at=now)
