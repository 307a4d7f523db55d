from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from models_worker.engine.rows import Row


@dataclass(frozen=True)
class Limits:
    """rows: samples in the batch. prompt_tokens: read in one step. cache_bytes: for keys and values."""

    rows: int
    prompt_tokens: int
    cache_bytes: int

    def halved(self) -> "Limits":
        return replace(
            self,
            rows=max(1, self.rows // 2),
            prompt_tokens=max(1, self.prompt_tokens // 2),
            cache_bytes=max(1, self.cache_bytes // 2),
        )

    def grown(self, most: "Limits") -> "Limits":

        return Limits(
            rows=min(most.rows, self.rows + self.rows // 4 + 1),
            prompt_tokens=min(most.prompt_tokens, self.prompt_tokens + self.prompt_tokens // 4 + 1),
            cache_bytes=min(most.cache_bytes, self.cache_bytes + self.cache_bytes // 4 + 1),
        )


@dataclass(frozen=True)
class Group:
    """Samples of one prompt, which is read once for all of them."""

    prompt_ids: tuple[int, ...]
    rows: tuple[Row, ...]


def width_of(length: int) -> int:
    """The padded length: at most 15 tokens or a thirty-second more. See count_of."""
    return _next(length, max(16, 1 << max(0, length.bit_length() - 6)))


def count_of(rows: int) -> int:
    """The padded number of rows. oneDNN compiles code for each shape, and many shapes take as much memory as a small
    model."""
    return _next(rows, 8)


def _next(number: int, step: int) -> int:
    return -(-number // step) * step


def groups_longest_first(rows: Iterable[Row]) -> deque[Group]:
    """A prompt that joins a batch must not be longer than those in it."""
    by_prompt: dict[tuple[int, ...], list[Row]] = {}
    for row in rows:
        by_prompt.setdefault(row.request.prompt_ids, []).append(row)
    longest_first = sorted(by_prompt.items(), key=lambda item: len(item[0]), reverse=True)
    return deque(Group(prompt_ids, tuple(same)) for prompt_ids, same in longest_first)


def take_batch(
    queue: deque[Group], *, free_rows: int, free_prompts: int, prompt_tokens: int, padded: bool
) -> list[Group]:
    """Take groups from the front of the queue, up to these limits, but always at least one row.

    padded: prompts are read side by side, each as wide as the first, instead of end to end.
    """
    first = queue.popleft()
    if len(first.rows) > free_rows:
        # Reading the prompt again for the rest is cheaper than empty rows.
        queue.appendleft(Group(first.prompt_ids, first.rows[free_rows:]))
        return [Group(first.prompt_ids, first.rows[:free_rows])]
    batch = [first]
    free_rows -= len(first.rows)
    while queue and len(queue[0].rows) <= free_rows and len(batch) < free_prompts:
        if _tokens([*batch, queue[0]], padded=padded) > prompt_tokens:
            break
        batch.append(queue.popleft())
        free_rows -= len(batch[-1].rows)
    return batch


def _tokens(batch: Sequence[Group], *, padded: bool) -> int:
    """Including padding. batch: longest first."""
    lengths = [len(group.prompt_ids) for group in batch]
    return len(lengths) * width_of(lengths[0]) if padded else width_of(sum(lengths))
