from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from transformers import DynamicCache, PreTrainedModel

from models_worker.engine.arena import SLACK, Arena, KvShape, bytes_per_column
from models_worker.engine.batching import Group, Limits, count_of, groups_longest_first, take_batch, width_of
from models_worker.engine.noise import Drawn, Draws, draw
from models_worker.engine.reading import read
from models_worker.engine.rows import Row
from models_worker.engine.shared import PromptStore, Shared, sharing, windows_of

# Prompts in memory per prompt of a full batch: samples of a prompt end at different times.
SLOTS = 1.5
# New samples join when less than this share of the rows is live. A step costs nearly the same with fewer rows.
REFILL_BELOW = 0.95


@torch.inference_mode()
def decode_in_arena(
    model: PreTrainedModel,
    shapes: list[KvShape],
    rows: Sequence[Row],
    limits: Limits,
    *,
    share_prompts: bool,
    finished: Callable[[Row], Sequence[Row]],
    cancelled: Callable[[], bool],
) -> None:
    """Write all rows and call `finished` with each that ends. Returns early once `cancelled()`.

    Rows that `finished` returns join if the buffers are wide enough. share_prompts: the model uses the attention of
    shared.py.
    """
    queue = groups_longest_first(rows)
    batch = Batch(model, *_room_for(model, shapes, rows, limits, prompts=len(queue) if share_prompts else 0))
    while (queue or batch.live) and not cancelled():
        if queue and batch.has_room:
            batch.join(
                take_batch(
                    queue,
                    free_rows=batch.free,
                    free_prompts=batch.free_prompts,
                    prompt_tokens=limits.prompt_tokens,
                    padded=not share_prompts,
                )
            )
        else:
            batch.step()
        late = [new for row in batch.remove_finished() for new in finished(row)]
        queue.extend(groups_longest_first(new for new in late if batch.takes(new)))


def _room_for(
    model: PreTrainedModel, shapes: list[KvShape], rows: Sequence[Row], limits: Limits, *, prompts: int
) -> tuple[Arena, PromptStore | None]:
    """prompts: the number of distinct prompts if rows share them, else 0."""
    longest_prompt = width_of(max(len(row.request.prompt_ids) for row in rows))
    columns = max(row.request.params.max_new_tokens for row in rows) + SLACK
    # Prompts per row, which grows while the samples of a prompt end one after another.
    share = min(1.0, SLOTS * prompts / len(rows) + 1 / 8) if prompts else 1.0
    per_row = bytes_per_column(shapes, model.dtype) * (columns + share * longest_prompt)
    count = max(1, min(limits.rows, int(limits.cache_bytes // per_row), len(rows)))
    if not prompts:
        columns += longest_prompt
    arena = Arena(shapes, rows=count, columns=columns, dtype=model.dtype, device=model.device)
    if not prompts:
        return arena, None
    # At least two, so that a prompt can join before all samples of the first have ended.
    slots = min(count, max(2, int(share * count)))
    return arena, PromptStore(shapes, slots=slots, columns=longest_prompt, dtype=model.dtype)


@dataclass(frozen=True)
class Prompts:
    """Padded on the left; all tensors are [prompts, width]."""

    token_ids: Tensor
    mask: Tensor
    positions: Tensor

    @staticmethod
    def of(groups: Sequence[Group], device: torch.device) -> "Prompts":
        width = width_of(max(len(group.prompt_ids) for group in groups))
        token_ids = torch.zeros(len(groups), width, dtype=torch.int64)
        mask = torch.zeros(len(groups), width, dtype=torch.bool)
        for number, group in enumerate(groups):
            length = len(group.prompt_ids)
            token_ids[number, width - length :] = torch.tensor(group.prompt_ids)
            mask[number, width - length :] = True
        positions = (mask.cumsum(-1) - 1).clamp(min=0)
        return Prompts(token_ids.to(device), mask.to(device), positions.to(device))


class Batch:
    """The first dimension of all tensors is the arena row."""

    def __init__(self, model: PreTrainedModel, arena: Arena, store: PromptStore | None) -> None:
        self.model, self.arena, self.device = model, arena, model.device
        self.live: list[Row] = []
        # With shared prompts: the slot of each row's prompt.
        self.store, self.slot_of, self.windows = store, list[int](), windows_of(model) if store else []
        # mask[row, column]: the column holds a token of the row. starts: the first such column.
        self.mask = torch.zeros(arena.rows, arena.columns, dtype=torch.bool, device=self.device)
        self.starts = torch.zeros(arena.rows, dtype=torch.int64, device=self.device)
        # The last token of each row, not yet in the arena, and its position.
        self.last = torch.zeros(arena.rows, dtype=torch.int64, device=self.device)
        self.positions = torch.zeros(arena.rows, dtype=torch.int64, device=self.device)
        self.draws = Draws.empty(arena.rows, self.device)

    @property
    def free(self) -> int:
        return self.arena.rows - len(self.live)

    @property
    def free_prompts(self) -> int:
        return self.store.slots - self.store.live if self.store else self.free

    def takes(self, row: Row) -> bool:
        # Without shared prompts rows must join longest first, so later rows never do.
        prompts = self.store.columns if self.store else 0
        request = row.request
        return len(request.prompt_ids) <= prompts and request.params.max_new_tokens + SLACK <= self.arena.columns

    @property
    def has_room(self) -> bool:
        return not self.live or (len(self.live) <= REFILL_BELOW * self.arena.rows and self.free_prompts > 0)

    def join(self, groups: Sequence[Group]) -> None:
        joining = [row for group in groups for row in group.rows]
        origin = [number for number, group in enumerate(groups) for _row in group.rows]
        if self.store:
            new, logits = self._admit(self.store, groups, origin)
        else:
            new, logits = self._admit_copies(groups, torch.tensor(origin, device=self.device))
        self.live += joining
        self.positions[new] = torch.tensor([len(row.request.prompt_ids) for row in joining], device=self.device)
        self._set_draws(new, joining)
        self._take(new, draw(logits[origin], self.draws.view(new)))

    def _admit(self, store: PromptStore, groups: Sequence[Group], origin: Sequence[int]) -> tuple[slice, Tensor]:
        """Returns the new rows and each prompt's logits."""
        logits, prefilled, edges = read(self.model, [group.prompt_ids for group in groups], self.windows)
        new = self.arena.open(len(origin))
        slots = store.admit(prefilled, edges)
        self.slot_of += [slots[number] for number in origin]
        store.seat(self.slot_of)
        self.starts[new] = self.arena.end
        return new, logits

    def _admit_copies(self, groups: Sequence[Group], origin: Tensor) -> tuple[slice, Tensor]:
        prompts = Prompts.of(groups, self.device)
        # Without the model's config, so that layers with a window keep all columns.
        prefilled = DynamicCache()
        logits: Tensor = self.model(
            input_ids=prompts.token_ids,
            attention_mask=prompts.mask,
            position_ids=prompts.positions,
            past_key_values=prefilled,
            use_cache=True,
            logits_to_keep=1,
        ).logits[:, -1]
        new = self.arena.admit(prefilled, origin)
        end, width = self.arena.end, prompts.mask.shape[1]
        self.mask[new] = False
        self.mask[new, end - width : end] = prompts.mask[origin]
        self.starts[new] = end - prompts.mask.sum(-1)[origin]
        return new, logits

    def _set_draws(self, new: slice, rows: Sequence[Row]) -> None:
        params = [row.request.params for row in rows]
        self.draws.seed[new] = torch.tensor([row.request.seed for row in rows], device=self.device)
        self.draws.temperature[new] = torch.tensor([each.temperature for each in params], device=self.device)
        self.draws.top_p[new] = torch.tensor([each.top_p for each in params], dtype=torch.float64, device=self.device)
        self.draws.step[new] = 0

    def step(self) -> None:
        arena, live = self.arena, slice(0, len(self.live))
        # Rows above the live ones do not matter.
        fed = slice(0, min(arena.rows, count_of(len(self.live)))) if self.store else live
        if arena.end == arena.columns:
            self._shift_left()
        self.mask[live, arena.end] = True
        shared = Shared(self.store, arena, self.starts, self.windows) if self.store else None
        with sharing(shared):
            logits = self.model(
                input_ids=self.last[fed, None],
                attention_mask=None if shared else self.mask[live, arena.start : arena.end + 1],
                position_ids=self.positions[fed, None],
                past_key_values=arena.cache,
                use_cache=True,
            ).logits[live, -1]
        arena.end += 1
        self.positions[live] += 1
        self._take(live, draw(logits, self.draws.view(live)))

    def _take(self, rows: slice, drawn: Drawn) -> None:
        self.last[rows] = drawn.tokens
        # One transfer, because each waits for the device. Doubles hold every token id exactly.
        together = torch.stack((drawn.tokens.double(), drawn.logprobs.double(), drawn.broken.double()), -1)
        for row, (token_id, logprob, broken) in zip(self.live[rows], together.tolist(), strict=True):
            row.take(int(token_id), logprob, bool(broken))

    def _shift_left(self) -> None:
        # This frees columns: no row is as wide as the arena.
        live = slice(0, len(self.live))
        offset = self.arena.shift_left()
        width = self.arena.end
        self.mask[live, :width] = self.mask[live, offset : offset + width].clone()
        self.starts[live] -= offset

    def remove_finished(self) -> list[Row]:
        """The last live rows take their places."""
        finished = [row for row in self.live if row.finish_reason]
        if not finished:
            return []
        kept = len(self.live) - len(finished)
        holes = [at for at in range(kept) if self.live[at].finish_reason]
        movers = [at for at in range(kept, len(self.live)) if not self.live[at].finish_reason]
        self._move(movers, holes)
        del self.live[kept:]
        self.arena.live = kept
        if self.store:
            self._drop_prompts(self.store, kept)
        if kept:
            self.arena.start = int(self.starts[:kept].min())
        return finished

    def _drop_prompts(self, store: PromptStore, kept: int) -> None:
        del self.slot_of[kept:]
        # From the last one down, so that only prompts with rows move into free slots.
        for slot in sorted(set(range(store.live)) - set(self.slot_of), reverse=True):
            moved = store.drop(slot)
            self.slot_of = [slot if each == moved else each for each in self.slot_of]
        if kept:
            store.seat(self.slot_of)

    def _move(self, source: list[int], target: list[int]) -> None:
        if not source:
            return
        origin, place = (torch.tensor(rows, device=self.device) for rows in (source, target))
        self.arena.move(origin, place)
        self.draws.move(origin, place)
        for tensor in (self.mask, self.starts, self.last, self.positions):
            tensor[place] = tensor[origin]
        for at, into in zip(source, target, strict=True):
            self.live[into] = self.live[at]
            if self.store:
                self.slot_of[into] = self.slot_of[at]
