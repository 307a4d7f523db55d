"""The interface of a sampler. One request is one sample."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal, Protocol

if TYPE_CHECKING:
    from models_worker.engine.chat import Message, RenderedPrompt

FinishReason = Literal["stop", "length", "error"]


class SamplerUnusable(Exception):
    """The message is for the person who started the run."""


class InvalidParams(ValueError):
    """The message is for the person who chose the parameters."""


@dataclass(frozen=True)
class SamplingParams:
    """temperature: 0 always takes the likeliest token, 1 is the policy's distribution. top_p: after temperature.
    stop: strings that end a completion; its text does not include them. Raises InvalidParams."""

    temperature: float = 1.0
    top_p: float = 1.0
    max_new_tokens: int = 128
    stop: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        # NaN fails too.
        if not 0 <= self.temperature <= 5:
            raise InvalidParams(f"The temperature must be between 0 and 5, not {self.temperature}.")
        if not 0 < self.top_p <= 1:
            raise InvalidParams(f"top_p must be above 0 and at most 1, not {self.top_p}.")
        if self.max_new_tokens < 1:
            raise InvalidParams(f"Ask for at least one new token, not {self.max_new_tokens}.")
        if not isinstance(self.stop, tuple) or not all(isinstance(each, str) and each for each in self.stop):
            raise InvalidParams("Stop strings are a tuple of texts, none of them empty.")


@dataclass(frozen=True)
class SampleRequest:
    """The k-th completion of a prompt. Its text depends on `seed`, not on the batch or the order of requests.

    prompt_ids: for samplers in this process. prompt_text: for servers. truncated_prompt: tokens that were left out.
    """

    prompt_id: str
    k: int
    prompt_ids: tuple[int, ...]
    params: SamplingParams
    seed: int
    attempt: int = 0
    truncated_prompt: int = 0
    prompt_text: str = ""


@dataclass(frozen=True)
class SampleResult:
    """One completion, or why there is none.

    text: without end-of-turn tokens and stop string. token_ids: all drawn tokens; servers report only their number,
    `counted`, or nothing. logprobs: natural logs for each token under the policy, at temperature 1 and before top_p.
    error: a sentence if finish_reason is "error"; `final` means that another try would fail too. provenance: facts
    about this sample alone.
    """

    prompt_id: str
    k: int
    text: str
    token_ids: tuple[int, ...]
    finish_reason: FinishReason
    seed: int
    params: SamplingParams
    prompt_tokens: int | None
    sum_logprob: float | None
    attempt: int
    error: str
    truncated_prompt: int
    final: bool = False
    logprobs: tuple[float, ...] = ()
    counted: int | None = None
    provenance: Mapping[str, object] = field(default_factory=dict)

    @property
    def token_count(self) -> int | None:
        return len(self.token_ids) or self.counted


def failed(request: SampleRequest, error: str, *, final: bool = False) -> SampleResult:
    return SampleResult(
        prompt_id=request.prompt_id,
        k=request.k,
        text="",
        token_ids=(),
        finish_reason="error",
        seed=request.seed,
        params=request.params,
        prompt_tokens=len(request.prompt_ids),
        sum_logprob=0.0,
        attempt=request.attempt,
        error=error,
        truncated_prompt=request.truncated_prompt,
        final=final,
    )


def never() -> bool:
    return False


# Receives each result. May return further requests.
OnResult = Callable[[SampleResult], Iterable[SampleRequest] | None]


class Sampler(Protocol):
    @property
    def checkpoint_sha256(self) -> str:
        """Of weights, configuration and tokenizer; empty for servers."""

    @property
    def provenance(self) -> Mapping[str, object]:
        """Facts that hold for every sample."""

    def render(self, messages: Sequence["Message"], *, max_new_tokens: int) -> "RenderedPrompt":
        """Raises chat.ChatError."""

    def sample(
        self,
        requests: Sequence[SampleRequest],
        *,
        on_result: OnResult,
        cancelled: Callable[[], bool] = never,
    ) -> None:
        """Sample all requests, and those that on_result returns. Calls on_result once for each, in any order.

        Returns within one step once `cancelled()`, without results for unfinished requests. A failure of one request is
        its result; a permanent failure of all raises SamplerUnusable.
        """
