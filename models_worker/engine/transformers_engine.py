"""Runs a transformers model in this process."""

from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from itertools import count
from threading import Lock

import torch
from transformers import PreTrainedModel

from models_worker.engine import cpu, placement
from models_worker.engine.arena import kv_shapes, vocabulary
from models_worker.engine.batching import Limits
from models_worker.engine.chat import Message, RenderedPrompt
from models_worker.engine.decoding import decode_in_arena
from models_worker.engine.fallback import decode_by_generate
from models_worker.engine.loader import LoadedPolicy
from models_worker.engine.rows import Ending, Row
from models_worker.engine.shared import supports
from models_worker.engine.types import OnResult, SampleRequest, failed, never

# Messages of errors on a CPU, where torch has no class for them. The last is of oneDNN, when it cannot compile.
OUT_OF_MEMORY = ("out of memory", "can't allocate memory", "not enough memory", "could not create a primitive")
NO_MEMORY = "There is not enough memory for even this one sample."

BY_GENERATE = "transformers-generate"

_preparing = Lock()


class TransformersSampler:
    """Samples a loaded policy; see types.Sampler.

    max_rows: samples side by side; fewer if keys and values do not fit into kv_budget_bytes. prefill_tokens: prompt
    tokens read in one step. plain_generate: always use the loop of transformers.

    If memory runs out, unfinished samples start again with half of each limit, which grows back. A sample that runs out
    of memory alone fails.
    """

    def __init__(
        self,
        policy: LoadedPolicy,
        *,
        max_rows: int = 256,
        kv_budget_bytes: int = 1 << 30,
        prefill_tokens: int = 512,
        plain_generate: bool = False,
    ) -> None:
        self.policy = policy
        # One at a time, because these functions test changes of the model.
        with _preparing:
            cpu.prepare(policy.model)
            # Only `generate` supports models that are spread over devices.
            self.shapes = [] if plain_generate or placement.devices(policy.model) else kv_shapes(policy.model)
            self.share_prompts = supports(policy.model, self.shapes)
        self.most = self.limits = Limits(max_rows, prefill_tokens, kv_budget_bytes)
        self.vocabulary = vocabulary(policy.model)
        self.switch = _switch(policy.model)
        tokenizer = policy.tokenizer
        self.ending = Ending(
            token_ids=policy.end_ids,
            stop=policy.template.stop,
            lead=policy.template.lead,
            # Cleaning up would change the text: it joins "do" and " n't".
            decode=lambda ids: str(tokenizer.decode(ids, skip_special_tokens=True, clean_up_tokenization_spaces=False)),
        )

    @property
    def checkpoint_sha256(self) -> str:
        return self.policy.checkpoint_sha256

    def render(self, messages: Sequence[Message], *, max_new_tokens: int) -> RenderedPrompt:
        return self.policy.render(messages, max_new_tokens=max_new_tokens)

    @property
    def provenance(self) -> dict[str, str]:
        engine = "transformers-arena" if self.shapes else BY_GENERATE
        return {"engine": engine, **self.policy.provenance}

    def sample(
        self,
        requests: Sequence[SampleRequest],
        *,
        on_result: OnResult,
        cancelled: Callable[[], bool] = never,
    ) -> None:
        pending, numbers = dict[int, SampleRequest](), count()

        def accept(requests: Iterable[SampleRequest] | None) -> list[int]:
            """Returns their numbers."""
            accepted, asked = [], deque(requests or ())
            while asked:
                request = asked.popleft()
                if refusal := self._refusal(request):
                    asked.extend(on_result(failed(request, refusal)) or ())
                else:
                    accepted.append(next(numbers))
                    pending[accepted[-1]] = request
            return accepted

        def finished(row: Row) -> list[Row]:
            del pending[row.index]
            result = row.result()
            if self.shapes and self._is_alone(row):
                result = replace(result, provenance={"engine": BY_GENERATE})
            late = self._rows({index: pending[index] for index in accept(on_result(result))})
            return [row for row in late if not self._is_alone(row)]

        accept(requests)
        while pending and not cancelled():
            if self._attempt(pending, finished, cancelled):
                self.limits = self.limits.grown(self.most)
                continue
            # In the except clause the traceback would still reference tensors.
            if self.policy.device.startswith("cuda"):
                torch.cuda.empty_cache()
            if self.limits.rows == 1:
                accept(on_result(failed(pending.pop(_longest(pending)), NO_MEMORY)))
            self.limits = self.limits.halved()

    def _rows(self, requests: Mapping[int, SampleRequest]) -> list[Row]:
        return [Row(index, request, self.ending) for index, request in requests.items()]

    def _refusal(self, request: SampleRequest) -> str:
        """Why a request cannot be sampled, or "". On a GPU a bad token id would kill the process."""
        if not request.prompt_ids:
            return "The prompt is empty."
        if not 0 <= min(request.prompt_ids) <= max(request.prompt_ids) < self.vocabulary:
            return f"The prompt has token ids outside the policy's vocabulary of {self.vocabulary}."
        most = self.policy.max_model_len
        if most is not None and len(request.prompt_ids) + request.params.max_new_tokens > most:
            return (
                f"The prompt has {len(request.prompt_ids)} tokens and {request.params.max_new_tokens} are asked for, "
                f"but the policy reads at most {most} together."
            )
        return ""

    def _is_alone(self, row: Row) -> bool:
        """Whether this sample may reach the switch of frequencies, and so must not share a batch."""
        request = row.request
        return self.switch is not None and len(request.prompt_ids) + request.params.max_new_tokens > self.switch

    def _attempt(
        self,
        pending: Mapping[int, SampleRequest],
        finished: Callable[[Row], list[Row]],
        cancelled: Callable[[], bool],
    ) -> bool:
        """Returns False if memory ran out. Requests added meanwhile may stay pending."""
        model, rows = self.policy.model, self._rows(pending)
        together = [row for row in rows if not self._is_alone(row)]
        alone = [row for row in rows if self._is_alone(row)]
        try:
            if self.shapes and together:
                decode_in_arena(
                    model,
                    self.shapes,
                    together,
                    self.limits,
                    share_prompts=self.share_prompts,
                    finished=finished,
                    cancelled=cancelled,
                )
            else:
                decode_by_generate(model, together, self.limits, finished=finished, cancelled=cancelled)
            one = replace(self.limits, rows=1)
            decode_by_generate(model, alone, one, finished=finished, cancelled=cancelled)
        except (RuntimeError, MemoryError) as error:
            if not _is_out_of_memory(error):
                raise
            return False
        return True


def _switch(model: PreTrainedModel) -> int | None:
    """The number of tokens from which the model uses other frequencies (LongRoPE), or None.

    It then uses them for the whole batch, also for keys that were computed with the first ones.
    """
    rope = getattr(model.config.get_text_config(decoder=True), "rope_parameters", None) or {}
    # Some models have one entry per type of layer.
    several = [each for each in (rope, *rope.values()) if isinstance(each, dict)]
    lengths = [each["original_max_position_embeddings"] for each in several if each.get("rope_type") == "longrope"]
    return min(lengths, default=None)


def _is_out_of_memory(error: RuntimeError | MemoryError) -> bool:
    known = isinstance(error, MemoryError | torch.OutOfMemoryError)
    return known or any(words in str(error) for words in OUT_OF_MEMORY)


def _longest(pending: Mapping[int, SampleRequest]) -> int:
    return max(pending, key=lambda at: len(pending[at].prompt_ids) + pending[at].params.max_new_tokens)
