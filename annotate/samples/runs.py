"""Managers and campaigns start and change sampling runs; workers carry them out (see requests.py)."""

from collections.abc import Collection, Mapping
from datetime import datetime

from django.db import connection, transaction
from django.db.models import F, QuerySet
from django.utils.translation import gettext_lazy as _

from annotate.accounts.models import User
from annotate.lib.refusals import Refusal
from annotate.lib.wake import wake
from annotate.pools.models import Pool, Prompt
from annotate.samples.models import Origin, Policy, SampleRequest, SampleRun
from annotate.samples.policies import NotSampledHere
from annotate.samples.requests import REQUESTS, close_if_over, lock_run
from annotate.samples.states import RequestState, RunState
from annotate.samples.tasks import SAMPLE

# Of a request to sample once more.
AGAIN: dict[str, object] = {"state": RequestState.WAITING, "attempts": 0, "error": "", "finished_at": None}


class NoPrompts(Refusal):
    message = _("There are no prompts to sample. Import or choose prompts first.")


class AllEqual(Refusal):
    message = _(
        "At temperature 0 all completions of a prompt are equal. Request one completion per prompt, or raise the "
        "temperature."
    )


class TokensOfServer(Refusal):
    message = _("A server does not return token ids and logprobs. Keep them only for a policy that a worker loads.")


class RunEnded(Refusal):
    message = _("This run has already ended.")


class RunCancelled(Refusal):
    message = _("This run was cancelled. Start a new one.")


class NothingFailed(Refusal):
    message = _("No prompt of this run has failed.")


def start(
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
    """Sample the pool's prompts, or only `prompts`, without those in quarantine.

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
        if not _insert_requests(run, prompts):
            raise NoPrompts
        wake(SAMPLE, run.id)
    return run


def add_prompts(*, run: SampleRun, prompts: QuerySet[Prompt]) -> None:
    """Also continues a run that has ended, and retries failed prompts. Raises RunCancelled."""
    with transaction.atomic():
        run = lock_run(run.id)
        if run.state == RunState.CANCELLED:
            raise RunCancelled
        failed = run.requests.filter(state=RequestState.FAILED, prompt__in=prompts.values("id"))
        if failed.update(**AGAIN) + _insert_requests(run, prompts):
            _reopen(run)


def sample_more(*, run: SampleRun, extra: Mapping[int, int]) -> None:
    """`extra`: numbers by the id of a finished prompt. Skips a cancelled run."""
    with transaction.atomic():
        run = lock_run(run.id)
        done = run.requests.filter(state=RequestState.DONE)
        if run.state == RunState.CANCELLED:
            return
        again = [done.filter(prompt=prompt).update(**AGAIN, extra=F("extra") + more) for prompt, more in extra.items()]
        if any(again):
            _reopen(run)


def retry_failed(*, run: SampleRun) -> int:
    """Returns how many. Raises RunCancelled or NothingFailed."""
    with transaction.atomic():
        run = lock_run(run.id)
        if run.state == RunState.CANCELLED:
            raise RunCancelled
        count = run.requests.filter(state=RequestState.FAILED).update(**AGAIN)
        if not count:
            raise NothingFailed
        _reopen(run)
    return count


def cancel(*, run: SampleRun, now: datetime) -> SampleRun:
    """Workers stop within seconds. Stored completions stay. Raises RunEnded."""
    with transaction.atomic():
        run = lock_run(run.id)
        if run.state != RunState.RUNNING:
            raise RunEnded
        waiting = run.requests.filter(state=RequestState.WAITING)
        REQUESTS.end(rows=waiting, state=RequestState.CANCELLED, finished_at=now)
        leased = REQUESTS.in_order(rows=run.requests.filter(state=RequestState.LEASED))
        REQUESTS.end(rows=leased, state=RequestState.CANCELLED, finished_at=now)
        run.state, run.finished_at = RunState.CANCELLED, now
        run.save(update_fields=["state", "finished_at"])
    return run


def withdraw_prompts(*, prompts: Collection[int], now: datetime) -> None:
    """Workers finish those that they have leased."""
    waiting = SampleRequest.objects.filter(prompt__in=prompts, state=RequestState.WAITING)
    with transaction.atomic():
        for run_id in sorted(set(waiting.values_list("run", flat=True))):
            run = lock_run(run_id)
            locked = REQUESTS.in_order(rows=waiting.filter(run=run))
            REQUESTS.end(rows=locked.filter(state=RequestState.WAITING), state=RequestState.CANCELLED, finished_at=now)
            close_if_over(run=run, now=now)


def resume_prompts(*, prompts: Collection[int]) -> None:
    """In runs that are not cancelled."""
    cancelled = SampleRequest.objects.filter(prompt__in=prompts, state=RequestState.CANCELLED)
    with transaction.atomic():
        for run_id in sorted(set(cancelled.values_list("run", flat=True))):
            run = lock_run(run_id)
            if run.state != RunState.CANCELLED and cancelled.filter(run=run).update(**AGAIN):
                _reopen(run)


def _reopen(run: SampleRun) -> None:
    """The run is locked."""
    run.state, run.finished_at = RunState.RUNNING, None
    run.save(update_fields=["state", "finished_at"])
    wake(SAMPLE, run.id)


def _insert_requests(run: SampleRun, prompts: QuerySet[Prompt] | None) -> int:
    """One statement, however large the pool is. Returns the number of new requests."""
    wanted = Prompt.objects.filter(pool=run.pool, quarantined_at=None)
    if prompts is not None:
        wanted = wanted.filter(id__in=prompts.values("id"))
    chosen, params = wanted.order_by("id").values("id").query.sql_with_params()
    with connection.cursor() as cursor:
        cursor.execute(
            f"""
            INSERT INTO samples_samplerequest (run_id, prompt_id)
            SELECT %s, id FROM ({chosen}) AS chosen ON CONFLICT DO NOTHING
            """,  # noqa: S608  # Django wrote the SQL in `chosen`; its values are parameters.
            [run.id, *params],
        )
        return int(cursor.rowcount)
