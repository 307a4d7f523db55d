"""Attention and drawing on a CPU: threads and numpy views of tensors around kernels.py.

In a decoding step each row has one query per head, its own length, and keys in two places: padding them to blocks for
torch doubles the cost. To draw with noise, torch passes a dozen times over all logits; this code, once.
"""

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from models_worker.engine.cpu import kernels

Array = npt.NDArray[Any]


class Seats(NamedTuple):
    """Rows sorted by prompt, and their prompts."""

    order: Array
    slots: Array


class Keep(NamedTuple):
    """Keys and values of one layer, and first columns. Keys of prompts are [slots, heads, dim, columns] and end at the
    last column; keys of rows, and all values, are [..., columns, dim]."""

    keys: Tensor
    values: Tensor
    begins: Tensor


def attend(
    query: Tensor, prompts: Keep, own: Keep, seats: Seats, *, end: int, scale: float, window: int | None
) -> Tensor:
    """Attention of queries [rows, heads, queries per head, dim] to their prompts and to own columns up to `end`.

    float32 or bfloat16, computed in float32; dim is a multiple of four. window: last tokens to see, None for all. Rows
    without a seat get zeros. Raises ValueError for shapes with which compiled code would read out of bounds.
    """
    rows, heads, _queries, dim = query.shape
    heads_kept = {tensor.shape[1] for tensor in (*prompts[:2], *own[:2])}
    fitting = heads_kept == {heads} and prompts.values.shape[3] == own.values.shape[3]
    fitting &= prompts.keys.shape[2] == own.keys.shape[3] == dim and dim % 4 == 0
    if not fitting or not len(seats.order) <= rows <= len(own.keys):
        raise ValueError("What is attended to has other heads, sizes or rows than what is kept.")
    found = torch.empty(*query.shape[:3], own.values.shape[3])
    found[len(seats.order) :] = 0
    queries, into = _array_of(query), found.numpy()
    of_prompts, of_rows = map(_array_of, prompts), map(_array_of, own)
    places = (queries, *of_prompts, *of_rows)
    settings = (end, np.float32(scale), window or 1 << 62)
    _in_parts(
        len(seats.order), lambda rows: kernels.attend(places, seats.order[rows], seats.slots[rows], settings, into)
    )
    return found.to(query.dtype)


def pick(logits: Tensor, temperature: Tensor, stream: Tensor) -> Tensor:
    """The token with the largest logit / temperature + noise, [rows] int64; without noise at temperature 0.

    logits: [rows, vocabulary] float32 or bfloat16. stream: [rows] int64, from noise.stream_of. Token 0 if all logits
    are NaN or -inf.
    """
    tokens = torch.empty(len(logits), dtype=torch.int64)
    lines, temperatures = _array_of(logits), temperature.numpy()
    streams, found = stream.numpy().view(np.uint64), tokens.numpy()
    _in_parts(len(lines), lambda rows: kernels.pick(lines[rows], temperatures[rows], streams[rows], found[rows]))
    return tokens


def log_sum_exp(logits: Tensor) -> Tensor:
    """[rows] float32; not finite if the row is not a distribution."""
    found = torch.empty(len(logits))
    lines, sums = _array_of(logits), found.numpy()
    _in_parts(len(lines), lambda rows: kernels.log_sum_exp(lines[rows], sums[rows]))
    return found


def keep_freed_memory() -> None:
    """glibc returns large blocks to the system (mallopt(3), M_MMAP_THRESHOLD). To allocate them again took a tenth of
    the time of a policy's first prompts.
    """
    torch.empty(16 << 20, dtype=torch.uint8)


def _array_of(tensor: Tensor) -> Array:
    """bfloat16 as uint16, which numpy has."""
    tensor = tensor.contiguous()
    array: Array = (tensor.view(torch.uint16) if tensor.dtype == torch.bfloat16 else tensor).numpy()
    return array


def _in_parts(count: int, work: Callable[[slice], object]) -> None:
    """On as many threads as torch uses. `work` must release the GIL."""
    parts = min(torch.get_num_threads(), count)
    if parts <= 1:
        work(slice(0, count))
        return
    edges = [count * number // parts for number in range(parts + 1)]
    # list() raises errors.
    list(_threads(os.getpid(), parts).map(work, map(slice, edges[:-1], edges[1:])))


@cache
def _threads(_process: int, count: int) -> ThreadPoolExecutor:
    # Per process, because threads do not survive a fork.
    return ThreadPoolExecutor(count, thread_name_prefix="sampling")
