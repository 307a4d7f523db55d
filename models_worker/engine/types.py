"""What is asked of a sampler and what comes back. A request is one sample, never "K of them"."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, Protocol

if TYPE_CHECKING:
    from models_worker.engine.chat import Message, RenderedPrompt

FinishReason = Literal["stop", "length", "error"]


class SamplerUnusable(Exception):
    """No request of this policy would be answered; the message is for the person who started the run."""


class InvalidParams(ValueError):
    """Sampling parameters no policy can be asked for; the message is for the person who chose them."""


@dataclass(frozen=True)
class SamplingParams:
    """How one completion is drawn.

    temperature: 0 always takes the likeliest token; 1 is the policy's own distribution.
    top_p: draw only from the likeliest tokens that together hold this share (0 < top_p <= 1), after temperature.
    max_new_tokens: where a completion is cut off.
    stop: strings that end a completion; they are not part of its text.

    Raises InvalidParams.
    """

    temperature: float = 1.0
    top_p: float = 1.0
    max_new_tokens: int = 128
    stop: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        # Written so that NaN fails too.
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
    """The k-th completion of a prompt. `seed` decides it alone: not its neighbours, the batch or the order.

    prompt_ids: the rendered prompt as the policy's token ids. prompt_text: the same as text, for a server that has the
    tokenizer to itself. truncated_prompt: how many tokens were left out of it, which the result repeats.
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
    """What a policy wrote.

    text: without end-of-turn tokens and without the stop string. token_ids: everything that was drawn, the tokens that
    ended it included. logprobs: of each of them the natural log of its probability under the policy itself, at
    temperature 1 and before top_p, whatever it was drawn with. sum_logprob: their sum. finish_reason: "length" means
    cut off at max_new_tokens; with "error", `error` is a sentence, the text is empty, and `final` says that no further
    try would help.

    A server may keep tokens and probabilities to itself: token_ids is then empty, counted is their number, and what it
    did not tell is None. provenance: what else is to be known of this one sample.
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
    provenance: Mapping[str, Any] = field(default_factory=dict)

    @property
    def token_count(self) -> int | None:
        return len(self.token_ids) or self.counted


def failed(request: SampleRequest, error: str, *, final: bool = False) -> SampleResult:
    """The result of a request that could not be answered, and why."""
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


# Told of a result; may ask for further samples.
OnResult = Callable[[SampleResult], Iterable[SampleRequest] | None]


class Sampler(Protocol):
    """A policy that answers sample requests, in this process or on a server."""

    @property
    def checkpoint_sha256(self) -> str:
        """Of the weights and all that decides what they write; empty where a server does not show them."""

    @property
    def provenance(self) -> Mapping[str, Any]:
        """What is to be known of every sample, beside its own provenance."""

    def render(self, messages: Sequence["Message"], *, max_new_tokens: int) -> "RenderedPrompt":
        """The prompt as the policy reads it. Raises chat.ChatError."""

    def sample(
        self,
        requests: Sequence[SampleRequest],
        *,
        on_result: OnResult,
        cancelled: Callable[[], bool] = never,
    ) -> None:
        """Call on_result exactly once for each request, as soon as it is finished and in no particular order, and for
        each that on_result returns: such a one joins those that are under way.

        `cancelled` is asked before every step and must be cheap; once it answers True the call returns within a step,
        and what was not finished gets no result. What fails for one request (a prompt too long, numbers that
        overflow) is that request's result; what fails for all of them is raised: SamplerUnusable if it always will.
        """
