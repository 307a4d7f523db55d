"""Attention of samples that share their prompt.

The K samples of a prompt attend to the same keys and values there. Kept once and read once for all of them, they take
less memory, and the K rows of queries together are the work that a processor is good at. Each row has its own columns
for what it has written itself; the two parts are joined by their sums of exponentials, as flash attention joins blocks
(Dao et al. 2022; for shared prefixes Juravsky et al. 2024, "Hydragen").
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import torch
from torch import Tensor
from transformers import AttentionInterface, AttentionMaskInterface, DynamicCache, PreTrainedModel
from transformers.cache_utils import get_layer_types_and_kwargs
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import sdpa_mask

from models_worker.engine.arena import Arena, KvShape, vocabulary

# What transformers knows our attention by.
NAME = "shared_prompts"


class PromptStore:
    """Keys and values of prompts, once each: buffers [slots, heads, columns, dim], slots [0, live) in use.

    A prompt ends at the last column. Which rows of the batch belong to which slot says `seat`.
    """

    def __init__(self, shapes: Sequence[KvShape], *, slots: int, columns: int, dtype: torch.dtype) -> None:
        self.slots, self.columns, self.live = slots, columns, 0
        self.keys = [torch.empty(slots, shape.key_heads, columns, shape.key_dim, dtype=dtype) for shape in shapes]
        self.values = [torch.empty_like(keys) for keys in self.keys]
        self.lengths = torch.zeros(slots, dtype=torch.int64)
        # Set by `seat`.
        self.rows = self.places = self.hidden = torch.empty(0)
        self.width = 0

    def admit(self, prefilled: DynamicCache, lengths: Tensor) -> list[int]:
        """Take prompts in that were read padded on the left to one width. Returns their slots."""
        width, new = prefilled.get_seq_length(), slice(self.live, self.live + len(lengths))
        for own_keys, own_values, (keys, values, _window) in zip(self.keys, self.values, prefilled, strict=True):
            own_keys[new, :, self.columns - width :] = keys
            own_values[new, :, self.columns - width :] = values
            # Masked, but a NaN would pass any mask.
            own_keys[new, :, : self.columns - width] = 0
            own_values[new, :, : self.columns - width] = 0
        self.lengths[new] = lengths
        self.live = new.stop
        return list(range(new.start, new.stop))

    def drop(self, slot: int) -> int:
        """Free a slot by moving the last one there. Returns which one moved: the slot itself if it was the last."""
        self.live -= 1
        if slot != self.live:
            for buffer in (*self.keys, *self.values, self.lengths):
                buffer[slot] = buffer[self.live]
        return self.live

    def seat(self, slot_of: Sequence[int]) -> None:
        """Say which slot each row of the batch attends to."""
        members: list[list[int]] = [[] for _ in range(self.live)]
        places = []
        for row, slot in enumerate(slot_of):
            places.append((slot, len(members[slot])))
            members[slot].append(row)
        most = max(map(len, members))
        self.rows = torch.tensor([rows + rows[:1] * (most - len(rows)) for rows in members])
        self.places = torch.tensor([slot * most + place for slot, place in places])
        self.width = int(self.lengths[: self.live].max())
        column = torch.arange(self.columns - self.width, self.columns)
        outside = column < (self.columns - self.lengths[: self.live, None])
        self.hidden = torch.zeros(outside.shape, dtype=self.keys[0].dtype).masked_fill_(outside, -torch.inf)
        self.hidden = self.hidden[:, None, None, :]

    def attend(self, layer: int, query: Tensor, scale: float | None) -> tuple[Tensor, Tensor]:
        """What queries [rows, heads, queries a head, dim] find in their prompts, and its log sum of exponentials."""
        _rows, heads, queries, dim = query.shape
        slots, most = self.rows.shape
        together = query[self.rows].transpose(1, 2).reshape(slots, heads, most * queries, dim)
        seen = slice(self.columns - self.width, self.columns)
        found, weight = _attention(
            together, self.keys[layer][:slots, :, seen], self.values[layer][:slots, :, seen], self.hidden, scale
        )
        found = found.view(slots, heads, most, queries, dim).transpose(1, 2).reshape(slots * most, heads, queries, dim)
        weight = weight.reshape(slots, heads, most, queries).transpose(1, 2).reshape(slots * most, heads, queries)
        return found[self.places], weight[self.places]


def _attention(
    query: Tensor, key: Tensor, value: Tensor, hidden: Tensor | None, scale: float | None
) -> tuple[Tensor, Tensor]:
    found, weight = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu(
        query, key, value, 0.0, False, attn_mask=hidden, scale=scale
    )
    return found, weight


_store: ContextVar[PromptStore | None] = ContextVar("store", default=None)


@contextmanager
def sharing(store: PromptStore | None) -> Iterator[None]:
    """Within, single queries attend to the store's prompts too."""
    token = _store.set(store)
    try:
        yield
    finally:
        _store.reset(token)


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
    """transformers' own attention, or with a store the joined one. query: [rows, heads, 1, dim]."""
    store = _store.get()
    if store is None:
        return sdpa_attention_forward(
            module, query, key, value, attention_mask, dropout=dropout, scaling=scaling, **kwargs
        )
    rows, heads, _one, dim = query.shape
    query = query.reshape(rows, key.shape[1], heads // key.shape[1], dim)
    hidden = None
    if attention_mask is not None:
        hidden = torch.zeros(attention_mask.shape, dtype=query.dtype).masked_fill_(~attention_mask, -torch.inf)
    own, own_weight = _attention(query, key, value, hidden, scaling)
    shared, weight = store.attend(int(module.layer_idx), query, scaling)  # type: ignore[arg-type]
    # The share of the prompt in the sum of exponentials of both.
    part = torch.sigmoid(weight - own_weight)[..., None].to(own.dtype)
    joined = torch.lerp(own, shared, part)
    return joined.reshape(rows, 1, heads, dim), None


AttentionInterface.register(NAME, attention_forward)
AttentionMaskInterface.register(NAME, sdpa_mask)


def supports(model: PreTrainedModel, shapes: Sequence[KvShape]) -> bool:
    """Can this model's samples share their prompts? Then its attention is ours from now on.

    On a GPU rows are cheaper than the gathering, and the kernel that tells its sums is the CPU's. As with kv_shapes it
    is tried: a token by itself behind a prompt in the store must give what it gives behind it.
    """
    text = model.config.get_text_config(decoder=True)
    plain = all(shape[:2] == shape[2:] for shape in shapes) and set(get_layer_types_and_kwargs(text)[0]) == {
        "full_attention"
    }
    if not shapes or not plain or model.device.type != "cpu":
        return False
    if text._attn_implementation == NAME:
        # Another sampler of this model has asked before.
        return True
    if text._attn_implementation != "sdpa":
        return False
    model.set_attn_implementation(NAME)
    if text._attn_implementation == NAME and _agrees(model, shapes):
        return True
    model.set_attn_implementation("sdpa")
    return False


@torch.inference_mode()
def _agrees(model: PreTrainedModel, shapes: Sequence[KvShape]) -> bool:
    tokens = torch.tensor([[5, 6, 7, 8]]) % vocabulary(model)
    alone = model(input_ids=tokens, use_cache=False, logits_to_keep=1).logits[0, -1].float()
    prefilled = DynamicCache()
    model(input_ids=tokens[:, :3], past_key_values=prefilled, use_cache=True, logits_to_keep=1)
    store = PromptStore(shapes, slots=1, columns=4, dtype=model.dtype)
    store.admit(prefilled, torch.tensor([3]))
    store.seat([0, 0])
    arena = Arena(list(shapes), rows=2, columns=1, dtype=model.dtype, device=model.device)
    arena.open(2)
    try:
        with sharing(store):
            logits = model(
                input_ids=tokens[:, 3:].expand(2, 1),
                attention_mask=torch.ones(2, 1, dtype=torch.bool),
                position_ids=torch.full((2, 1), 3),
                past_key_values=arena.cache,
                use_cache=True,
            ).logits[:, -1]
    except (AttributeError, NotImplementedError, TypeError, ValueError, RuntimeError):
        return False
    return bool((logits.float() - alone).abs().mean() <= 0.1 * alone.std())
