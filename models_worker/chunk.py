import logging
import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict
from typing import TYPE_CHECKING

import django.db
from django.utils import timezone
from django.utils.translation import gettext

from annotate.lib.wake import wake
from annotate.samples import gate, queries, requests
from annotate.samples.gate import RESAMPLINGS
from annotate.samples.models import SampleRequest as Asked
from annotate.samples.models import SampleRun
from annotate.samples.tasks import FILL
from models_worker import provenance
from models_worker.engine.params import derive_seed
from models_worker.engine.templates import Interrupted
from models_worker.engine.types import Sampler, SampleRequest, SampleResult, SamplerUnusable, SamplingParams
from models_worker.loading import Unusable

if TYPE_CHECKING:
    from models_worker.engine.chat import Overruns, RenderedPrompt

log = logging.getLogger(__name__)

# Seconds between announcements of finished prompts.
TELL = 5.0


class Breakdown(Exception):
    """The message is for the manager."""


class Chunk:
    """Samples K completions for each prompt of a claim.

    Samples pass the gate in the order of k, so that the result does not depend on timing.
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
        # By the engine's name for the prompt.
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
        """Raises Breakdown, Unusable or Interrupted."""
        try:
            self._sample(cancelled)
        except django.db.Error:
            # The leases expire, and another worker continues.
            raise
        except Interrupted:
            raise
        except SamplerUnusable as error:
            raise Unusable(str(error)) from error
        except Exception as error:
            log.exception("Sampling for run %d broke off", self.run.id)
            reason = gettext("The sampler stopped with an error: %(error)s") % {
                "error": f"{type(error).__name__}: {error}"
            }
            self._fail_unfinished(reason)
            raise Breakdown(reason) from error
        if not cancelled():
            self._fail_unfinished(gettext("The sampler returned no completion."))

    def _sample(self, cancelled: Callable[[], bool]) -> None:
        wanted = {}
        for prompt in self.asked:
            if cancelled():
                return
            if not (missing := self._missing(prompt)):
                # A worker was killed after it stored all of them.
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
            requests.fail(request=request, error=str(error), now=timezone.now(), final=True)
            self.overruns.note(error)
            return False
        self.overruns.note(None)
        return True

    def _fill(self, wanted: Mapping[str, list[int]], cancelled: Callable[[], bool]) -> None:
        # (k, attempt) in the order of the gate. Further attempts come last.
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
        """Returns False if the completion must be sampled again."""
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
        """Announce finished prompts: labelers wait for tasks."""
        if self._untold:
            wake(FILL, self.run.pool_id)
        self._untold, self._told_at = 0, time.monotonic()

    def _fail_unfinished(self, reason: str) -> None:
        for prompt, request in self.asked.items():
            if self._missing(prompt):
                error = self.errors.get(prompt, reason)
                final = prompt in self.hopeless
                requests.fail(request=request, error=error, now=timezone.now(), final=final)
