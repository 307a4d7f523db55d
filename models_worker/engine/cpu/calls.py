"""Attention and drawing on a CPU: numpy's views of the tensors, and threads, around kernels.py.

torch's kernels multiply blocks. A step of decoding has no blocks: each row has one query a head, its own length, and
keys in two places. Padded to blocks it costs twice as much, most of it for what is masked. The noise of a draw takes
torch a dozen passes over all logits, here it takes one.
"""

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from models_worker.engine.cpu import kernels

Array = np.ndarray[Any, Any]


class Seats(NamedTuple):
    """Which prompt each row reads. order: the rows, those of a prompt together. slots: the prompt of each of these."""

    order: Array
    slots: Array


class Keep(NamedTuple):
    """Keys and values of one layer, and where each prompt or row begins.

    Of prompts keys are [slots, heads, dim, columns] and end at the last column; of rows, as all values, [..., columns,
    dim].
    """

    keys: Tensor
    values: Tensor
    begins: Tensor


def attend(
    query: Tensor, prompts: Keep, own: Keep, seats: Seats, *, end: int, scale: float, window: int | None
) -> Tensor:
    """What queries [rows, heads, queries a head, dim] find in their prompts and in their own columns up to `end`.

    float32 or bfloat16; dim a multiple of four. window: the last tokens that are seen, None for all. Rows above those
    that have seats find zeros. Computed in float32 whatever the type, and each row the same whatever the others are.
    Raises ValueError for shapes that do not fit: what is compiled would read beyond them.
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
    """The token with the largest logit / temperature + noise, [rows] int64; without noise where temperature is 0.

    logits: [rows, vocabulary] float32 or bfloat16. stream: [rows] int64, the noise's of this step. A row of which no
    logit is a number or above -inf gives token 0.
    """
    tokens = torch.empty(len(logits), dtype=torch.int64)
    lines, temperatures = _array_of(logits), temperature.numpy()
    streams, found = stream.numpy().view(np.uint64), tokens.numpy()
    _in_parts(len(lines), lambda rows: kernels.pick(lines[rows], temperatures[rows], streams[rows], found[rows]))
    return tokens


def log_sum_exp(logits: Tensor) -> Tensor:
    """The natural log of each row's sum of exponentials, [rows] float32; not finite if the row is no distribution."""
    found = torch.empty(len(logits))
    lines, sums = _array_of(logits), found.numpy()
    _in_parts(len(lines), lambda rows: kernels.log_sum_exp(lines[rows], sums[rows]))
    return found


def keep_freed_memory() -> None:
    """Let the process keep the blocks that a step has freed for the next step.

    glibc gives a block back to the system at once until it has seen one of that size freed (mallopt(3),
    M_MMAP_THRESHOLD), and fetching it anew took a tenth of the time of a policy's first prompts.
    """
    torch.empty(16 << 20, dtype=torch.uint8)


def _array_of(tensor: Tensor) -> Array:
    """The same memory where it is contiguous, as what is compiled takes it."""
    tensor = tensor.contiguous()
    array: Array = (tensor.view(torch.uint16) if tensor.dtype == torch.bfloat16 else tensor).numpy()
    return array


def _in_parts(count: int, work: Callable[[slice], object]) -> None:
    """Do work(rows) for all `count` rows, in as many parts as torch may use threads. work must let go of the GIL."""
    parts = min(torch.get_num_threads(), count)
    if parts <= 1:
        work(slice(0, count))
        return
    edges = [count * number // parts for number in range(parts + 1)]
    # Exhausted, so that an error of a part is raised.
    list(_threads(os.getpid(), parts).map(work, map(slice, edges[:-1], edges[1:])))


@cache
def _threads(_process: int, count: int) -> ThreadPoolExecutor:
    # By process, because a fork does not take threads along.
    return ThreadPoolExecutor(count, thread_name_prefix="sampling")
