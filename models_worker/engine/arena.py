"""The keys and values of all rows, in one buffer of fixed size.

The cache of transformers copies itself at every step to add a column. Here each layer has one buffer
[rows, heads, columns, dim]. All live rows write their next column at `end`, where the prompts of new rows end too.
Columns before a row's start are masked. The last live row replaces a finished one.
"""

import inspect
from typing import Any, NamedTuple

import torch
from torch import Tensor
from transformers import DynamicCache, PreTrainedModel
from transformers.cache_utils import Cache, CacheLayerMixin, DynamicLayer, get_layer_types_and_kwargs

# Extra columns: the buffer shifts left once in this many steps.
SLACK = 64


class KvShape(NamedTuple):
    key_heads: int
    key_dim: int
    value_heads: int
    value_dim: int


class ArenaLayer(CacheLayerMixin):
    # The model's mask hides columns outside the window.
    is_sliding = False
    is_compileable = False

    def __init__(self, arena: "Arena", shape: KvShape, dtype: torch.dtype, device: torch.device) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.arena = arena
        # Not zeros: columns are written before they are read, and untouched pages take no memory.
        self.keys: Tensor = torch.empty(
            arena.rows, shape.key_heads, arena.columns, shape.key_dim, dtype=dtype, device=device
        )
        self.values: Tensor = torch.empty(
            arena.rows, shape.value_heads, arena.columns, shape.value_dim, dtype=dtype, device=device
        )
        self.is_initialized = True

    def lazy_initialization(self, key_states: Tensor, value_states: Tensor) -> None:
        pass

    def update(
        self, key_states: Tensor, value_states: Tensor, *args: object, **kwargs: object
    ) -> tuple[Tensor, Tensor]:
        """Returns views."""
        rows, start, end = len(key_states), self.arena.start, self.arena.end
        self.keys[:rows, :, end : end + 1] = key_states
        self.values[:rows, :, end : end + 1] = value_states
        return self.keys[:rows, :, start : end + 1], self.values[:rows, :, start : end + 1]

    def get_mask_sizes(self, query_length: int) -> tuple[int, int]:
        return self.get_seq_length() + query_length, 0

    def get_seq_length(self) -> int:
        return self.arena.end - self.arena.start

    def get_max_length(self) -> int:
        return -1


class Arena:
    """In use are rows [0, live) and columns [start, end)."""

    def __init__(
        self, shapes: list[KvShape], *, rows: int, columns: int, dtype: torch.dtype, device: torch.device
    ) -> None:
        self.rows, self.columns = rows, columns
        self.live = self.start = self.end = 0
        self.layers = [ArenaLayer(self, shape, dtype, device) for shape in shapes]
        self.cache = Cache(layers=list(self.layers))

    def open(self, rows: int) -> slice:
        if not self.live:
            self.start = self.end = 0
        new = slice(self.live, self.live + rows)
        self.live = new.stop
        return new

    def admit(self, prefilled: DynamicCache, origin: Tensor) -> slice:
        """Add a row for each number in `origin`, with that prompt of the batch. Returns the new rows.

        If rows are live, the padded prompts must not be wider than the columns in use.
        """
        width = prefilled.get_seq_length()
        if not self.live:
            self.start, self.end = 0, width
        new = slice(self.live, self.live + len(origin))
        # Columns of an earlier row are masked, but a NaN would pass the mask: 0 * NaN is NaN.
        stale, read = slice(self.start, self.end - width), slice(self.end - width, self.end)
        for layer, (keys, values, _window) in zip(self.layers, prefilled, strict=True):
            for buffer, prompts in ((layer.keys, keys), (layer.values, values)):
                buffer[new, :, stale] = 0
                buffer[new, :, read] = prompts[origin]
        self.live = new.stop
        return new

    def move(self, source: Tensor, target: Tensor) -> None:
        used = slice(self.start, self.end)
        for layer in self.layers:
            layer.keys[target, :, used] = layer.keys[source, :, used]
            layer.values[target, :, used] = layer.values[source, :, used]

    def shift_left(self) -> int:
        """Returns the distance."""
        offset, width = self.start, self.end - self.start
        for layer in self.layers:
            for buffer in (layer.keys, layer.values):
                buffer[: self.live, :, :width] = buffer[: self.live, :, offset : self.end].clone()
        self.start, self.end = 0, width
        return offset


def bytes_per_column(shapes: list[KvShape], dtype: torch.dtype) -> int:
    numbers = sum(s.key_heads * s.key_dim + s.value_heads * s.value_dim for s in shapes)
    return numbers * dtype.itemsize


@torch.inference_mode()
def kv_shapes(model: PreTrainedModel) -> list[KvShape]:
    """The shapes of the model's layers; empty if its cache is not plain keys and values that a mask can hide.

    This is tested: three tokens after two masked ones, then a fourth with the cache, must give the logits of the four
    tokens alone.
    """
    if not _has_plain_attention(model):
        return []
    tokens = torch.tensor([[5, 6, 7, 8]], device=model.device) % vocabulary(model)
    alone = model(input_ids=tokens, use_cache=False, logits_to_keep=1).logits[0, -1].float()
    cache = DynamicCache()
    ones = torch.ones_like(tokens)
    mask = torch.cat([torch.zeros_like(tokens[:, :2]), ones], -1)
    positions = (mask.cumsum(-1) - 1).clamp(min=0)
    padded = torch.cat([tokens[:, :2], tokens], -1)
    for part, seen in ((slice(0, 5), 5), (slice(5, 6), 6)):
        logits = model(
            input_ids=padded[:, part],
            attention_mask=mask[:, :seen],
            position_ids=positions[:, part],
            past_key_values=cache,
            use_cache=True,
            logits_to_keep=1,
        ).logits[0, -1]
    # bf16 differs by a few per cent of the standard deviation; an ignored mask differs by all of it.
    if (logits.float() - alone).abs().mean() > 0.1 * alone.std():
        return []
    if not all(type(layer) is DynamicLayer and layer.is_initialized for layer in cache.layers):
        return []
    return [KvShape(keys.shape[1], keys.shape[3], values.shape[1], values.shape[3]) for keys, values, _window in cache]


def vocabulary(model: PreTrainedModel) -> int:
    embeddings: Any = model.get_input_embeddings()
    # An adapter may wrap them.
    return int(getattr(embeddings, "base_layer", embeddings).num_embeddings)


def _has_plain_attention(model: PreTrainedModel) -> bool:
    accepted = inspect.signature(model.forward).parameters
    if model._is_stateful or not {"position_ids", "past_key_values", "logits_to_keep"} <= accepted.keys():
        return False
    layer_types, _kwargs = get_layer_types_and_kwargs(model.config.get_text_config(decoder=True))
    # Chunked attention counts columns, but rows of the arena do not begin at column 0.
    return set(layer_types) <= {"full_attention", "sliding_attention"}
