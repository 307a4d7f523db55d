"""Read prompts end to end in one row.

Side by side, they would be padded to the longest. After the attention of the last layer only the last token of each
prompt is needed, so the rest of this layer skips the other tokens.
"""

from collections.abc import Callable, Sequence
from contextvars import ContextVar
from dataclasses import dataclass
from itertools import accumulate, pairwise
from typing import Any

import torch
from torch import Tensor
from transformers import DynamicCache, PreTrainedModel
from transformers.integrations.sdpa_attention import sdpa_attention_forward

from models_worker.engine.batching import count_of, width_of


@dataclass
class Reading:
    """One pass over prompts. edges: begin and end of each prompt. windows: as in shared.Shared. asked: each prompt's
    last token, padded to one of few counts. attended: the attention of the last layer is done."""

    edges: Sequence[tuple[int, int]]
    windows: Sequence[int | None]
    width: int
    asked: Tensor
    attended: bool = False

    @staticmethod
    def of(lengths: Sequence[int], windows: Sequence[int | None]) -> "Reading":
        ends = list(accumulate(lengths))
        asked = torch.tensor([end - 1 for end in ends])
        asked = torch.cat([asked, asked[-1:].expand(count_of(len(ends)) - len(ends))])
        width = width_of(ends[-1])
        if width == len(asked):
            # of_asked tells all tokens from the last ones by their number.
            width = width_of(width + 1)
        return Reading(list(pairwise([0, *ends])), windows, width, asked)


_reading: ContextVar[Reading | None] = ContextVar("reading", default=None)


def now() -> Reading | None:
    return _reading.get()


def read(
    model: PreTrainedModel, prompts: Sequence[Sequence[int]], windows: Sequence[int | None]
) -> tuple[Tensor, DynamicCache, Sequence[tuple[int, int]]]:
    """The model must use the attention of shared.py. Returns the logits [prompts, vocabulary] after each prompt, keys
    and values in one row, and the prompts' edges in it."""
    these = Reading.of([len(prompt) for prompt in prompts], windows)
    token_ids, positions = (torch.zeros(1, these.width, dtype=torch.int64) for _ in range(2))
    for (begin, end), prompt in zip(these.edges, prompts, strict=True):
        token_ids[0, begin:end] = torch.tensor(prompt)
        positions[0, begin:end] = torch.arange(end - begin)
    # Without the model's config, so that layers with a window keep all columns.
    kept = DynamicCache()
    token = _reading.set(these)
    try:
        logits: Tensor = model(
            input_ids=token_ids,
            position_ids=positions,
            past_key_values=kept,
            use_cache=True,
            logits_to_keep=these.asked,
        ).logits
    finally:
        _reading.reset(token)
    return logits[0, : len(prompts)], kept, these.edges


def attend(
    prompts: Reading, module: torch.nn.Module, query: Tensor, key: Tensor, value: Tensor, **settings: Any
) -> Tensor:
    """Attention of each prompt to itself. query: [1, heads, width, dim]. Returns [1, width, heads, dim], with zeros for
    results that are not used."""
    layer = int(module.layer_idx)  # type: ignore[arg-type]
    last, window = layer == len(prompts.windows) - 1, prompts.windows[layer]
    found = query.new_zeros(1, prompts.width, query.shape[1], value.shape[3])
    for begin, end in prompts.edges:
        asking, seen = slice(end - 1 if last else begin, end), slice(begin, end)
        found[:, asking] = sdpa_attention_forward(
            module,
            query[:, :, asking],
            key[:, :, seen],
            value[:, :, seen],
            _window(asking, seen, window),
            **settings,
        )[0]
    prompts.attended = last
    return found


def _window(asking: slice, seen: slice, window: int | None) -> Tensor | None:
    """[asking, seen]; None if the window covers all, because torch is faster without a mask."""
    if window is None or seen.stop - seen.start <= window:
        return None
    distance = torch.arange(asking.start, asking.stop)[:, None] - torch.arange(seen.start, seen.stop)
    return ((distance >= 0) & (distance < window))[None, None]


def of_asked(compute: Callable[[Tensor], Tensor], numbers: Tensor) -> Tensor:
    """With zeros for tokens whose results are not needed."""
    prompts = now()
    if prompts is None or not prompts.attended or numbers.shape[:-1] != (1, prompts.width):
        return compute(numbers)
    some = compute(numbers[:, prompts.asked])
    found = some.new_zeros(1, prompts.width, some.shape[2])
    found[:, prompts.asked] = some
    return found
