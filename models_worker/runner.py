"""From the requests of a run to stored completions, killed at any line and started again.

What is stored does not depend on where a worker was killed, on how many shared the run or in which order samples ended:
a seed gives a text, and of texts of a prompt that are alike the one with the lowest k stays (see Chunk).
"""

import logging
import os
import platform
import secrets
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

import django.db
from django.db.models import QuerySet
from django.utils import timezone
from django.utils.translation import gettext
from kombu.exceptions import ChannelError, KombuError

from annotate.celery import app
from annotate.lib.wake import wake
from annotate.samples import gate, probes, queries, requests
from annotate.samples.gate import RESAMPLINGS
from annotate.samples.models import Origin, Policy, SampleRun
from annotate.samples.models import SampleRequest as Asked
from annotate.samples.states import RunState
from annotate.samples.tasks import FILL, PROBE, SAMPLE
from models_worker import checkpoints, probing, provenance
from models_worker.engine.params import derive_seed
from models_worker.engine.templates import Interrupted, interruptible
from models_worker.engine.types import (
    InvalidParams,
    Sampler,
    SampleRequest,
    SampleResult,
    SamplerUnusable,
    SamplingParams,
)

# Torch is loaded by the first run and not by this module: every Celery process imports it, also one that never samples.
if TYPE_CHECKING:
    from models_worker.engine.chat import Overruns, RenderedPrompt

log = logging.getLogger(__name__)

# A dead worker's prompts are free again after this long; a living one renews four times in it.
LEASE = timedelta(seconds=60)
RENEWALS = 4
# Prompts claimed at a time, at least and at most: what a killed worker may have to sample again, and what it keeps from
# a second worker. At a chunk's end the batch, or the server, runs empty with nothing else to do, and a longer chunk has
# fewer ends: 256 prompts are sampled a seventh faster than four times 64.
CHUNK, LONGEST_CHUNK = 64, 256
# Of what waits, how much is claimed: enough is left for other workers, and all end at about the same time (guided
# self-scheduling, Polychronopoulos and Kuck 1987).
SHARE = 1 / 4
# An engine that raises so often without one sample in between will not get better: its run fails, others go on.
BREAKDOWNS = 5
# How soon a cancelled run is noticed.
LOOK = 1.0
# How often those who make ranking tasks hear of finished prompts while a claim is being sampled.
TELL = 5.0

# Set when this process is told to stop: what is leased is given back at once.
stopping = threading.Event()
# One policy at a time in a process, or two would need twice the memory.
_sampling = threading.Lock()


class Unusable(Exception):
    """Nothing of a run can be sampled; the message is for the manager who started it."""


class Breakdown(Exception):
    """The engine raised; the message says what."""


def sample(run_id: int) -> None:
    """Sample what waits of this run and then of the other runs, oldest first, until nothing waits.

    Servers that are to be probed come first and between: somebody waits for them, and each takes but seconds.

    In a process that samples already this returns at once: the other call takes this run too.
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
    """The runs that this worker can sample. Whether it has a GPU is asked of torch, and only where that matters."""
    runs = queries.waiting_runs()
    if runs.filter(policy__needs_gpu=True).exists() and not checkpoints.has_gpu():
        return queries.waiting_runs(gpu=False)
    return runs


def probe() -> None:
    """Probe the servers that wait for it. In a process that samples this returns at once: sampling sees to them too."""
    if not _sampling.acquire(blocking=False):
        return
    try:
        probing.probe_waiting(stopping)
    finally:
        _sampling.release()


def sweep(*, now: datetime) -> None:
    """Free what dead workers held, and see that a worker hears of the oldest waiting run, or of a server to be probed.

    Safe to run at any time.

    One message waits at most: where no worker samples, or the only one is busy for hours, they would pile up.
    """
    if freed := requests.free_expired(now=now):
        log.info("%d prompts of workers that stopped are free again", freed)
    run = queries.waiting_runs().first()
    # A worker that is woken for the one sees to the other.
    task, row = (SAMPLE, run) if run else (PROBE, probes.waiting(now=now).first())
    if row and not _announced():
        wake(task, row.id)


def _announced() -> bool:
    """Is there a message that no worker has taken yet?"""
    queue = app.amqp.router.route({}, SAMPLE)["queue"]
    try:
        with app.connection_for_write() as connection:
            return bool(queue(connection.default_channel).queue_declare(passive=True).message_count)
    except (KombuError, ChannelError, OSError):
        # Not declared before the first message.
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
    # With the first run, and not with this module: it is for those that sample.
    from models_worker.engine.chat import Overruns

    params, sampler, breakdowns, overruns = _params(run), None, 0, Overruns()
    while not watch.over():
        probing.probe_waiting(stopping)
        claimed = requests.claim(run=run, worker=worker, limit=_share(run), lease=LEASE, now=timezone.now())
        if not claimed:
            return
        # After the claim: a policy too large for the machine takes the process down, and that must count as an attempt.
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
    """How many prompts of a run to claim next."""
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


def load_sampler(policy: Policy) -> Sampler:
    """Load a policy, or take the loaded one. Raises Unusable."""
    if policy.origin == Origin.SERVER:
        return _sampler_of_server(policy)
    try:
        sampler = checkpoints.sampler(policy)
    except checkpoints.NotLoaded as error:
        raise Unusable(str(error)) from error
    known = queries.sampled_weights(policy)
    if known and known != (sampler.checkpoint_sha256, sampler.policy.adapter_sha256):
        raise Unusable(
            gettext("The files of %(policy)s have changed since it was first sampled. Register them as a new revision.")
            % {"policy": policy}
        )
    return sampler


def _sampler_of_server(policy: Policy) -> Sampler:
    # The HTTP client, too, is loaded by whoever needs it.
    from models_worker import servers

    try:
        return servers.sampler(policy)
    except servers.NotAllowed as error:
        raise Unusable(str(error)) from error


def _words(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"


class Watch:
    """Renews the leases of a worker and sees whether its run goes on, while the engine is busy.

    The engine asks before every token; it gets its answer from memory.
    """

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
        """Is the run cancelled, or this process told to stop?"""
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
                # The database may be back before the leases end.
                log.warning("Leases of %s were not renewed: %s", self._worker, error)
                django.db.connection.close()
        django.db.connection.close()


class Chunk:
    """The prompts of one claim, on their way to K completions each.

    A completion that does not pass the gate is sampled anew before it is stored, a few times, then stored as it is.
    Samples end in any order, but they are judged in the order of k, so that it is always the same one that gives way.
    """

    def __init__(
        self,
        run: SampleRun,
        sampler: Sampler,
        params: SamplingParams,
        claimed: Iterable[Asked],
        overruns: "Overruns",
    ) -> None:
        self.run, self.sampler, self.params, self.overruns = run, sampler, params, overruns
        # What follows goes by prompt, named as the engine names it.
        self.asked = {str(request.prompt_id): request for request in claimed}
        stored = queries.stored(run, [request.prompt_id for request in self.asked.values()])
        self.texts = {
            prompt: {k: gate.read(text) for k, text in stored.get(request.prompt_id, {}).items()}
            for prompt, request in self.asked.items()
        }
        self.rendered: dict[str, RenderedPrompt] = {}
        self.errors: dict[str, str] = {}
        self.hopeless: set[str] = set()
        self._untold, self._told_at = 0, time.monotonic()

    def sample(self, *, cancelled: Callable[[], bool]) -> None:
        """Store and finish what can be; note for each other prompt why not, unless `cancelled()`.

        Raises Breakdown, Unusable or Interrupted.
        """
        try:
            self._sample(cancelled)
        except django.db.Error:
            # Nothing can be noted now. The leases end, and the sweep goes on from what is stored.
            raise
        except Interrupted:
            raise
        except SamplerUnusable as error:
            raise Unusable(str(error)) from error
        except Exception as error:
            log.exception("Sampling for run %d broke off", self.run.id)
            reason = gettext("The sampler broke off: %(error)s") % {"error": _words(error)}
            self._fail_unfinished(reason)
            raise Breakdown(reason) from error
        if not cancelled():
            self._fail_unfinished(gettext("The sampler gave no answer."))

    def _sample(self, cancelled: Callable[[], bool]) -> None:
        wanted = {}
        for prompt in self.asked:
            if cancelled():
                return
            if not (missing := self._missing(prompt)):
                # All was stored by a worker that was killed before it could say so.
                self._finish(prompt)
            elif self._render(prompt):
                wanted[prompt] = missing
        if wanted:
            self._fill(wanted, cancelled)

    def _missing(self, prompt: str) -> list[int]:
        return [k for k in range(self.run.k + self.asked[prompt].extra) if k not in self.texts[prompt]]

    def _render(self, prompt: str) -> bool:
        from models_worker.engine.chat import ChatError

        request = self.asked[prompt]
        try:
            self.rendered[prompt] = self.sampler.render(
                request.prompt.messages, max_new_tokens=self.params.max_new_tokens
            )
        except ChatError as error:
            # No attempt would change that.
            requests.fail(request=request, error=str(error), now=timezone.now(), final=True)
            self.overruns.note(error)
            return False
        self.overruns.note(None)
        return True

    def _fill(self, wanted: Mapping[str, list[int]], cancelled: Callable[[], bool]) -> None:
        """Sample these k of these prompts, and what does not pass the gate once more."""
        # What of a prompt is judged next, as k and attempt; a further attempt is judged after all others.
        lines = {prompt: deque((k, 0) for k in ks) for prompt, ks in wanted.items()}
        early: dict[tuple[str, int, int], SampleResult] = {}

        def hear(result: SampleResult) -> list[SampleRequest]:
            prompt, again = result.prompt_id, []
            early[prompt, result.k, result.attempt] = result
            line = lines[prompt]
            while line and (next_up := early.pop((prompt, *line[0]), None)):
                k, attempt = line.popleft()
                if not self._keep(next_up):
                    line.append((k, attempt + 1))
                    again.append(self._request(prompt, k, attempt + 1))
            return again

        requests = [self._request(prompt, k, 0) for prompt, ks in wanted.items() for k in ks]
        self.sampler.sample(requests, on_result=hear, cancelled=cancelled)

    def _request(self, prompt: str, k: int, attempt: int) -> SampleRequest:
        rendered = self.rendered[prompt]
        return SampleRequest(
            prompt_id=prompt,
            k=k,
            prompt_ids=rendered.ids,
            params=self.params,
            seed=derive_seed(self.run.seed, self.run.policy.revision, prompt, k, attempt),
            attempt=attempt,
            truncated_prompt=rendered.truncated,
            prompt_text=rendered.text,
        )

    def _keep(self, result: SampleResult) -> bool:
        """Store a completion. False if it does not pass the gate and a further attempt may help."""
        prompt, texts = result.prompt_id, self.texts[result.prompt_id]
        if result.finish_reason == "error":
            self.errors[prompt] = result.error
            if result.final:
                self.hopeless.add(prompt)
            return True
        text = gate.read(requests.storable(result.text))
        cut_off = self.run.resample_cut_off and result.finish_reason == "length"
        if self._may_change(result) and gate.flaw(text, cut_off=cut_off, others=texts.values()):
            return False
        written = requests.Written(
            k=result.k,
            text=result.text,
            token_count=result.token_count,
            finish_reason=result.finish_reason,
            seed=result.seed,
            attempt=result.attempt,
            parameters=asdict(result.params),
            checkpoint_hash=self.sampler.checkpoint_sha256,
            provenance=provenance.told(
                self.sampler,
                result,
                prompt_sha256=self.rendered[prompt].sha256,
                keep_tokens=self.run.keep_tokens,
            ),
        )
        requests.store(run=self.run, prompt_id=self.asked[prompt].prompt_id, written=written, now=timezone.now())
        texts[result.k] = text
        if not self._missing(prompt):
            self._finish(prompt)
        return True

    def _may_change(self, result: SampleResult) -> bool:
        # At temperature 0 every seed gives the same text.
        return result.attempt < RESAMPLINGS and self.params.temperature > 0

    def _finish(self, prompt: str) -> None:
        self._untold += requests.finish(request=self.asked[prompt], now=timezone.now())
        if time.monotonic() - self._told_at >= TELL:
            self.tell()

    def tell(self) -> None:
        """Whoever makes ranking tasks hears of what was finished since the last time: labelers may wait for it."""
        if self._untold:
            wake(FILL, self.run.pool_id)
        self._untold, self._told_at = 0, time.monotonic()

    def _fail_unfinished(self, reason: str) -> None:
        for prompt, request in self.asked.items():
            if self._missing(prompt):
                error = self.errors.get(prompt, reason)
                final = prompt in self.hopeless
                requests.fail(request=request, error=error, now=timezone.now(), final=final)
