"""Claim requests of a run, sample them, store the completions.

The result depends neither on the number of workers nor on where one is killed: a seed gives a text.
"""

import logging
import os
import platform
import secrets
import threading
import time
from datetime import datetime, timedelta

import django.db
from django.db.models import QuerySet
from django.utils import timezone
from kombu.exceptions import ChannelError, KombuError

from annotate.celery import app
from annotate.lib.wake import wake
from annotate.samples import probes, queries, requests
from annotate.samples.models import SampleRun
from annotate.samples.states import RunState
from annotate.samples.tasks import PROBE, SAMPLE
from models_worker import checkpoints, probing
from models_worker.chunk import Breakdown, Chunk
from models_worker.engine.templates import Interrupted, interruptible
from models_worker.engine.types import InvalidParams, SamplingParams
from models_worker.loading import Unusable, load_sampler

log = logging.getLogger(__name__)

LEASE = timedelta(seconds=60)
RENEWALS = 4
# Prompts per claim. A killed worker loses up to a claim, but one of 256 takes a seventh less time than four of 64.
CHUNK, LONGEST_CHUNK = 64, 256
# Share of the waiting prompts per claim (guided self-scheduling, Polychronopoulos and Kuck 1987).
SHARE = 1 / 4
# Consecutive errors after which a run fails.
BREAKDOWNS = 5
# Seconds between looks at the run.
LOOK = 1.0

stopping = threading.Event()
# One policy in memory at a time.
_sampling = threading.Lock()


def sample(run_id: int) -> None:
    """Sample this run, then the other waiting runs, oldest first; nothing if the process samples already.

    Probes go first, because managers wait for them.
    """
    if not _sampling.acquire(blocking=False):
        return
    try:
        probing.probe_waiting(stopping)
        seen: set[int] = set()
        run = _waiting_here().filter(id=run_id).first() or _waiting_here().first()
        while run and not stopping.is_set():
            seen.add(run.id)
            _sample_run(run)
            run = _waiting_here().exclude(id__in=seen).first()
    finally:
        _sampling.release()


def _waiting_here() -> QuerySet[SampleRun]:
    # has_gpu loads torch.
    runs = queries.waiting_runs()
    if runs.filter(policy__needs_gpu=True).exists() and not checkpoints.has_gpu():
        return queries.waiting_runs(gpu=False)
    return runs


def probe() -> None:
    """Returns immediately if the process samples already: it then probes too."""
    if not _sampling.acquire(blocking=False):
        return
    try:
        probing.probe_waiting(stopping)
    finally:
        _sampling.release()


def sweep(*, now: datetime) -> None:
    """Free the requests of dead workers, and wake a worker for waiting work. Idempotent."""
    if freed := requests.free_expired(now=now):
        log.info("%d prompts of workers that stopped are available again", freed)
    run = queries.waiting_runs().first()
    task, row = (SAMPLE, run) if run else (PROBE, probes.waiting(now=now).first())
    if row and not _announced():
        wake(task, row.id)


def _announced() -> bool:
    """Whether a message waits. More would pile up while no worker is free."""
    queue = app.amqp.router.route({}, SAMPLE)["queue"]
    try:
        with app.connection_for_write() as connection:
            return bool(queue(connection.default_channel).queue_declare(passive=True).message_count)
    except (KombuError, ChannelError, OSError):
        return False


def _sample_run(run: SampleRun) -> None:
    worker = f"{platform.node()[:60]}:{os.getpid()}:{secrets.token_hex(4)}"
    with Watch(run, worker) as watch, interruptible(watch.over):
        try:
            _sample_chunks(run, worker, watch)
        except Interrupted:
            log.info("Run %d ended while a chat template was rendered", run.id)
        except Unusable as reason:
            log.warning("Run %d cannot be sampled; its page says why", run.id)
            requests.fail_rest(run=run, worker=worker, error=str(reason), now=timezone.now())
        except (KeyboardInterrupt, SystemExit):
            stopping.set()
            raise
        finally:
            if stopping.is_set():
                given_back = requests.release(run=run, worker=worker)
                log.info("Stopping: %d prompts of run %d are given back", given_back, run.id)


def _sample_chunks(run: SampleRun, worker: str, watch: "Watch") -> None:
    # It loads transformers.
    from models_worker.engine.chat import Overruns

    params, sampler, breakdowns, overruns = _params(run), None, 0, Overruns()
    while not watch.over():
        probing.probe_waiting(stopping)
        claimed = requests.claim(run=run, worker=worker, limit=_share(run), lease=LEASE, now=timezone.now())
        if not claimed:
            return
        # After the claim: a policy that is too large kills the process, and that must count as an attempt.
        sampler = sampler or load_sampler(run.policy)
        chunk = Chunk(run, sampler, params, claimed, overruns)
        try:
            chunk.sample(cancelled=watch.over)
            breakdowns = 0
        except Breakdown as error:
            breakdowns += 1
            if breakdowns == BREAKDOWNS:
                raise Unusable(str(error)) from error
        chunk.tell()


def _share(run: SampleRun) -> int:
    waiting = queries.waiting_prompts(run, up_to=int(LONGEST_CHUNK / SHARE))
    return min(LONGEST_CHUNK, max(CHUNK, int(waiting * SHARE)))


def _params(run: SampleRun) -> SamplingParams:
    """Raises Unusable."""
    try:
        return SamplingParams(
            temperature=run.temperature, top_p=run.top_p, max_new_tokens=run.max_new_tokens, stop=tuple(run.stop)
        )
    except InvalidParams as error:
        raise Unusable(str(error)) from error


class Watch:
    """Renews leases and notices a cancelled run while the engine samples."""

    def __init__(self, run: SampleRun, worker: str) -> None:
        self._run, self._worker = run, worker
        self._ended, self._closing = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._look_on, name=f"watch {worker}", daemon=True)

    def __enter__(self) -> "Watch":
        self._thread.start()
        return self

    def __exit__(self, *_error: object) -> None:
        self._closing.set()
        self._thread.join()

    def over(self) -> bool:
        """Cheap: the engine calls it before every token."""
        return self._ended.is_set() or stopping.is_set()

    def _look_on(self) -> None:
        renew_at = time.monotonic()
        while not self._closing.wait(LOOK):
            try:
                if not SampleRun.objects.filter(id=self._run.id, state=RunState.RUNNING).exists():
                    self._ended.set()
                if time.monotonic() >= renew_at:
                    requests.renew(run=self._run, worker=self._worker, lease=LEASE, now=timezone.now())
                    renew_at = time.monotonic() + LEASE.total_seconds() / RENEWALS
            except django.db.Error as error:
                log.warning("Leases of %s were not renewed: %s", self._worker, error)
                django.db.connection.close()
        django.db.connection.close()
