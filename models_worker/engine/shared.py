"""Attention of samples that share their prompt.

The keys and values of a prompt are stored and read once for its K samples, which saves memory and memory bandwidth
(Juravsky et al. 2024, "Hydragen"). Each row has columns of its own for the tokens that it has written.
"""

import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor
from transformers import AttentionInterface, AttentionMaskInterface, DynamicCache, PreTrainedModel
from transformers.cache_utils import get_layer_types_and_kwargs
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import sdpa_mask

from models_worker.engine import cpu, reading
from models_worker.engine.arena import Arena, KvShape, vocabulary

log = logging.getLogger(__name__)

# In transformers.
NAME = "shared_prompts"
# Arguments of some models' attention that this one does not support.
UNKNOWN = ("softcap", "s_aux", "sinks", "position_bias", "indices", "block_indices")


class PromptStore:
    """Keys and values of prompts in slots [0, live). A prompt ends at the last column.

    Keys are [slots, heads, dim, columns], as the kernel reads them; values [slots, heads, columns, dim].
    """

    def __init__(self, shapes: Sequence[KvShape], *, slots: int, columns: int, dtype: torch.dtype) -> None:
        self.slots, self.columns, self.live = slots, columns, 0
        self.keys = [torch.empty(slots, shape.key_heads, shape.key_dim, columns, dtype=dtype) for shape in shapes]
        self.values = [torch.empty(slots, shape.value_heads, columns, shape.value_dim, dtype=dtype) for shape in shapes]
        self.begins = torch.zeros(slots, dtype=torch.int64)
        self.seats = cpu.Seats(np.empty(0, np.int64), np.empty(0, np.int64))

    def admit(self, prefilled: DynamicCache, edges: Sequence[tuple[int, int]]) -> list[int]:
        """For prompts that were read end to end. Returns their slots."""
        new = list(range(self.live, self.live + len(edges)))
        columns = [self.columns - (end - begin) for begin, end in edges]
        for own_keys, own_values, (keys, values, _window) in zip(self.keys, self.values, prefilled, strict=True):
            for slot, column, (begin, end) in zip(new, columns, edges, strict=True):
                own_keys[slot, :, :, column:] = keys[0, :, begin:end].transpose(-1, -2)
                own_values[slot, :, column:] = values[0, :, begin:end]
        self.begins[new] = torch.tensor(columns)
        self.live += len(new)
        return new

    def drop(self, slot: int) -> int:
        """Free a slot by moving the last one there. Returns the slot that moved."""
        self.live -= 1
        if slot != self.live:
            for buffer in (*self.keys, *self.values, self.begins):
                buffer[slot] = buffer[self.live]
        return self.live

    def seat(self, slot_of: Sequence[int]) -> None:
        slots = np.array(slot_of)
        order = np.argsort(slots, kind="stable")
        self.seats = cpu.Seats(order, slots[order])


class Shared(NamedTuple):
    """windows: number of last tokens that each layer sees, None for all."""

    store: PromptStore
    arena: Arena
    starts: Tensor
    windows: Sequence[int | None]


_shared: ContextVar[Shared | None] = ContextVar("shared", default=None)


@contextmanager
def sharing(shared: Shared | None) -> Iterator[None]:
    """Inside, single queries attend to the store and to their own columns, without a mask."""
    token = _shared.set(shared)
    try:
        yield
    finally:
        _shared.reset(token)


def attention_forward(
    module: torch.nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    dropout: float = 0.0,
    scaling: float | None = None,
    **kwargs: Any,
) -> tuple[Tensor, None]:
    """Shared attention, query [rows, heads, 1, dim]; that of reading.py while reading; else that of transformers.

    Raises NotImplementedError or ValueError for kinds of attention that it does not support.
    """
    if asked := [name for name in UNKNOWN if kwargs.get(name) is not None]:
        raise NotImplementedError(f"This attention knows no {', '.join(asked)}.")
    if prompts := reading.now():
        _check(module, attention_mask, prompts.windows, kwargs)
        found = reading.attend(prompts, module, query, key, value, dropout=dropout, scaling=scaling, **kwargs)
    elif shared := _shared.get():
        _check(module, attention_mask, shared.windows, kwargs)
        found = _attend(shared, int(module.layer_idx), query, key, scaling)  # type: ignore[arg-type]
    else:
        return sdpa_attention_forward(
            module, query, key, value, attention_mask, dropout=dropout, scaling=scaling, **kwargs
        )
    return found, None


def _check(
    module: torch.nn.Module, mask: Tensor | None, windows: Sequence[int | None], settings: dict[str, object]
) -> None:
    # `_mask` returns None, so the model made this mask itself.
    if mask is not None:
        raise NotImplementedError("This attention adds nothing to the scores.")
    # Some models do not use the window in their configuration.
    window = windows[int(module.layer_idx)]  # type: ignore[arg-type]
    if window is not None and settings.get("sliding_window") != window:
        raise NotImplementedError("The model does not say that this layer's attention slides.")


def _attend(shared: Shared, layer: int, query: Tensor, key: Tensor, scaling: float | None) -> Tensor:
    store, arena, starts, windows = shared
    rows, heads, _one, dim = query.shape
    found = cpu.attend(
        query.reshape(rows, key.shape[1], heads // key.shape[1], dim),
        cpu.Keep(store.keys[layer], store.values[layer], store.begins),
        cpu.Keep(arena.layers[layer].keys, arena.layers[layer].values, starts),
        store.seats,
        # `end` does not count the column of this step yet.
        end=arena.end + 1,
        scale=dim**-0.5 if scaling is None else scaling,
        window=windows[layer],
    )
    return found.reshape(rows, 1, heads, -1)


def _mask(*given: Any, **settings: Any) -> Tensor | None:
    return None if reading.now() or _shared.get() else sdpa_mask(*given, **settings)


AttentionInterface.register(NAME, attention_forward)
AttentionMaskInterface.register(NAME, _mask)


def windows_of(model: PreTrainedModel) -> list[int | None]:
    """By the settings from which transformers makes masks."""
    _types, settings = get_layer_types_and_kwargs(model.config.get_text_config(decoder=True))
    return [each.get("sliding_window") for each in settings]


def supports(model: PreTrainedModel, shapes: Sequence[KvShape]) -> bool:
    """Whether samples of this model can share prompts (on a CPU only). If so, switches its attention to this module's.

    This is tested: a token after a prompt in the store must give the logits that it gives without the store.
    """
    text = model.config.get_text_config(decoder=True)
    fitting = all(shape.key_heads == shape.value_heads and shape.key_dim % 4 == 0 for shape in shapes)
    if not shapes or not fitting or not cpu.covers(model):
        return False
    if text._attn_implementation == NAME:
        return True
    if text._attn_implementation != "sdpa":
        return False
    agrees = False
    try:
        model.set_attn_implementation(NAME)
        agrees = text._attn_implementation == NAME and _agrees(model, shapes)
    except Exception as error:
        # A model's code may fail in any way with another attention.
        log.info("Samples of this model keep a copy of their prompt each: %s", error)
    finally:
        if not agrees:
            model.set_attn_implementation("sdpa")
    return agrees


@torch.inference_mode()
def _agrees(model: PreTrainedModel, shapes: Sequence[KvShape]) -> bool:
    tokens = torch.tensor([[5, 6, 7, 8]]) % vocabulary(model)
    alone = model(input_ids=tokens, use_cache=False).logits[0, 2:].float()
    prompt, windows = tokens[0, :3].tolist(), windows_of(model)
    read, prefilled, edges = reading.read(model, [prompt[:1], prompt], windows)
    store = PromptStore(shapes, slots=2, columns=4, dtype=model.dtype)
    store.admit(prefilled, edges)
    store.seat([1, 1])
    arena = Arena(list(shapes), rows=3, columns=1, dtype=model.dtype, device=model.device)
    arena.open(2)
    with sharing(Shared(store, arena, torch.zeros(2, dtype=torch.int64), windows)):
        written = model(
            input_ids=tokens[:, 3:].expand(3, 1),
            position_ids=torch.full((3, 1), 3),
            past_key_values=arena.cache,
            use_cache=True,
        ).logits[:2, -1]
    found = torch.stack([read[1], *written]).float()
    return bool((found - alone[[0, 1, 1]]).abs().mean() <= 0.1 * alone.std())
