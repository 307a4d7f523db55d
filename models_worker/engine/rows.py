from collections.abc import Callable
from dataclasses import dataclass, field

from models_worker.engine.types import FinishReason, SampleRequest, SampleResult, failed

# Further tokens: the one that completes a stop string may continue after it.
STOP_MARGIN = 8

NOT_FINITE = "The policy's numbers overflowed (NaN or infinite logits) while this completion was sampled."


@dataclass(frozen=True)
class Ending:
    """token_ids: end of text, end of turn. stop: strings that begin the next turn. lead: what the policy writes before
    its answer; not part of the text."""

    token_ids: frozenset[int]
    stop: tuple[str, ...]
    lead: str
    decode: Callable[[list[int]], str]


@dataclass(eq=False)
class Row:
    """`index` identifies the request."""

    index: int
    request: SampleRequest
    ending: Ending
    token_ids: list[int] = field(default_factory=list)
    logprobs: list[float] = field(default_factory=list)
    finish_reason: FinishReason | None = None

    def take(self, token_id: int, logprob: float, broken: bool) -> None:
        """Sets finish_reason if the sample ends."""
        if broken:
            self.finish_reason = "error"
            return
        self.token_ids.append(token_id)
        self.logprobs.append(logprob)
        if token_id in self.ending.token_ids or self._stop_string_seen():
            self.finish_reason = "stop"
        elif len(self.token_ids) >= self.request.params.max_new_tokens:
            self.finish_reason = "length"

    def result(self) -> SampleResult:
        if self.finish_reason is None:
            raise ValueError("This sample is not finished.")
        if self.finish_reason == "error":
            return failed(self.request, NOT_FINITE)
        return SampleResult(
            prompt_id=self.request.prompt_id,
            k=self.request.k,
            text=self._text()[: self._stop_at()].removeprefix(self.ending.lead),
            token_ids=tuple(self.token_ids),
            finish_reason=self.finish_reason,
            seed=self.request.seed,
            params=self.request.params,
            prompt_tokens=len(self.request.prompt_ids),
            sum_logprob=sum(self.logprobs),
            logprobs=tuple(self.logprobs),
            attempt=self.request.attempt,
            error="",
            truncated_prompt=self.request.truncated_prompt,
        )

    @property
    def _stops(self) -> tuple[str, ...]:
        return self.request.params.stop + self.ending.stop

    def _stop_string_seen(self) -> bool:
        if not self._stops:
            return False
        # Decoding the whole text at each step would have quadratic cost. A token has at least one byte.
        reach = max(len(stop.encode()) for stop in self._stops) + STOP_MARGIN
        tail = self.ending.decode(self.token_ids[-reach:])
        # The tail may begin inside a character, so the whole text decides.
        return any(stop in tail for stop in self._stops) and self._stop_at() is not None

    def _stop_at(self) -> int | None:
        text = self._text()
        return min((at for at in map(text.find, self._stops) if at >= 0), default=None)

    def _text(self) -> str:
        return self.ending.decode([each for each in self.token_ids if each not in self.ending.token_ids])
