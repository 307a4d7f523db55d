"""Sampling requests: a worker leases prompts of a run and stores their completions.

To avoid deadlocks, lock the run first, then its requests by id.
"""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.db import transaction
from django.db.models import Q
from django.utils.translation import gettext_lazy as _

from annotate.lib.jobs import Jobs
from annotate.lib.text import mended, text_hash
from annotate.samples.models import Completion, SampleRequest, SampleRun
from annotate.samples.states import RequestState, RunState

MAX_ATTEMPTS = 3
REQUESTS = Jobs(
    model=SampleRequest,
    waiting=RequestState.WAITING,
    running=RequestState.LEASED,
    done=RequestState.DONE,
    failed=RequestState.FAILED,
    claim_columns=("worker", "attempts"),
    max_attempts=MAX_ATTEMPTS,
)
WORKER_STOPPED = _("The worker stopped three times while it sampled this prompt.")
WORKER_NEVER_WROTE = _(
    "The worker stopped three times before it wrote any completion of this run. The policy may need more memory than "
    "the worker has."
)


def claim(*, run: SampleRun, worker: str, limit: int, lease: timedelta, now: datetime) -> list[SampleRequest]:
    """Lease up to `limit` waiting prompts, oldest first. Cancels those in quarantine.

    A prompt on its last attempt is leased alone: if it stops the worker, no other prompt loses an attempt.
    """
    with transaction.atomic():
        waiting = (
            run.requests.filter(state=RequestState.WAITING)
            .order_by("id")
            .select_for_update(skip_locked=True, no_key=True)
            .values_list("id", "attempts")[:limit]
        )
        found = list(waiting)
        quarantined = _cancel_quarantined([request_id for request_id, _attempts in found], now)
        found = [(request_id, attempts) for request_id, attempts in found if request_id not in quarantined]
        if found and found[0][1] >= MAX_ATTEMPTS - 1:
            chosen = [found[0][0]]
        else:
            chosen = [request_id for request_id, attempts in found if attempts < MAX_ATTEMPTS - 1]
        REQUESTS.claim_all(rows=SampleRequest.objects.filter(id__in=chosen), until=now + lease, worker=worker)
    if quarantined:
        with transaction.atomic():
            close_if_over(run=lock_run(run.id), now=now)
        if not chosen:
            return claim(run=run, worker=worker, limit=limit, lease=lease, now=now)
    claimed = SampleRequest.objects.filter(id__in=chosen, state=RequestState.LEASED, worker=worker)
    return list(claimed.select_related("prompt").order_by("id"))


def _cancel_quarantined(requests: Collection[int], now: datetime) -> set[int]:
    """Those put into quarantine while a worker held them. The requests are locked."""
    found = SampleRequest.objects.filter(id__in=requests, prompt__quarantined_at__isnull=False)
    quarantined = set(found.values_list("id", flat=True))
    if quarantined:
        rows = SampleRequest.objects.filter(id__in=quarantined)
        REQUESTS.end(rows=rows, state=RequestState.CANCELLED, finished_at=now)
    return quarantined


def renew(*, run: SampleRun, worker: str, lease: timedelta, now: datetime) -> int:
    with transaction.atomic():
        return REQUESTS.renew(rows=REQUESTS.in_order(rows=run.requests.filter(_leased_by(worker))), until=now + lease)


def release(*, run: SampleRun, worker: str) -> int:
    with transaction.atomic():
        return REQUESTS.release(rows=REQUESTS.in_order(rows=run.requests.filter(_leased_by(worker))))


@dataclass(frozen=True)
class Written:
    k: int
    text: str
    token_count: int | None
    finish_reason: str
    seed: int
    attempt: int
    parameters: dict[str, object]
    checkpoint_hash: str
    provenance: dict[str, object]


def storable(text: str) -> str:
    """A policy's text without what PostgreSQL refuses: NUL from a byte-level policy, a server's half surrogates."""
    return mended(text)


def store(*, run: SampleRun, prompt_id: int, written: Written, now: datetime) -> None:
    """Does nothing if the completion is stored already."""
    text = storable(written.text)
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


def finish(*, request: SampleRequest, now: datetime) -> bool:
    """False if completions are missing or the worker lost the lease."""
    with transaction.atomic():
        run = lock_run(request.run_id)
        if Completion.objects.filter(run=run, prompt_id=request.prompt_id).count() < run.k + request.extra:
            return False
        finished = REQUESTS.finish(rows=REQUESTS.held(job=request), error="", finished_at=now)
        close_if_over(run=run, now=now)
        return bool(finished)


def fail(*, request: SampleRequest, error: str, now: datetime, final: bool = False) -> bool:
    """The prompt waits for another attempt unless this was the last or `final`."""
    with transaction.atomic():
        run = lock_run(request.run_id)
        held = REQUESTS.held(job=request)
        if final or request.attempts >= MAX_ATTEMPTS:
            changed = REQUESTS.fail(rows=held, error=error, finished_at=now)
        else:
            changed = REQUESTS.retry(rows=held, error=error)
        close_if_over(run=run, now=now)
        return bool(changed)


def fail_rest(*, run: SampleRun, worker: str, error: str, now: datetime) -> int:
    """The prompts that wait and those that the worker holds."""
    with transaction.atomic():
        run = lock_run(run.id)
        mine = REQUESTS.in_order(rows=run.requests.filter(_leased_by(worker)))
        rest = Q(state=RequestState.WAITING) | Q(id__in=mine.values("id"))
        failed = REQUESTS.fail(rows=run.requests.filter(rest), error=error, finished_at=now)
        close_if_over(run=run, now=now)
        return failed


def free_expired(*, now: datetime) -> int:
    """Free the prompts of dead workers. Returns how many. A prompt on its last attempt fails.

    If the run has no completion by then, its waiting prompts fail too: they would stop more workers.
    """
    run_ids = set(REQUESTS.expired(now=now).values_list("run_id", flat=True))
    return sum(_free_expired(run_id, now) for run_id in sorted(run_ids))


def _free_expired(run_id: int, now: datetime) -> int:
    with transaction.atomic():
        run = lock_run(run_id)
        freed, failed = REQUESTS.free_expired(
            rows=run.requests.all(), error=str(WORKER_STOPPED), now=now, finished_at=now
        )
        if failed and not Completion.objects.filter(run=run).exists():
            waiting = run.requests.filter(state=RequestState.WAITING)
            REQUESTS.fail(rows=waiting, error=str(WORKER_NEVER_WROTE), finished_at=now)
        close_if_over(run=run, now=now)
    return freed


def _leased_by(worker: str) -> Q:
    return Q(state=RequestState.LEASED, worker=worker)


def lock_run(run_id: int) -> SampleRun:
    # NO KEY: workers insert completions that refer to the run.
    return SampleRun.objects.select_for_update(no_key=True).get(id=run_id)


def close_if_over(*, run: SampleRun, now: datetime) -> None:
    """End a run in which no prompt waits or is leased.

    The caller has locked the run, so when two workers finish the last two prompts, the second sees both finished.
    """
    # Two queries, because each state has its own partial index.
    for state in (RequestState.WAITING, RequestState.LEASED):
        if run.requests.filter(state=state).exists():
            return
    failed = run.requests.filter(state=RequestState.FAILED).exists() and not Completion.objects.filter(run=run).exists()
    ended = RunState.FAILED if failed else RunState.DONE
    SampleRun.objects.filter(id=run.id, state=RunState.RUNNING).update(state=ended, finished_at=now)
