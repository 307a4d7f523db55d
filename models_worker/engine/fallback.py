"""Sampling with `generate` of transformers, for models that the arena cannot hold.

These are linear attention, state-space and hybrid models. Tokens are drawn as in the arena, by the seed.
"""

from collections.abc import Callable, Sequence
from typing import Any, cast

import torch
from torch import Tensor
from transformers import (
    GenerationConfig,
    LogitsProcessor,
    LogitsProcessorList,
    PreTrainedModel,
    StoppingCriteria,
    StoppingCriteriaList,
)

from models_worker.engine.batching import Limits
from models_worker.engine.noise import Draws, draw
from models_worker.engine.rows import Row


@torch.inference_mode()
def decode_by_generate(
    model: PreTrainedModel,
    rows: Sequence[Row],
    limits: Limits,
    *,
    finished: Callable[[Row], object],
    cancelled: Callable[[], bool],
) -> None:
    """As decode_in_arena. All prompts of a batch have one length: no mask keeps padding out of a recurrent state."""
    by_length = sorted(rows, key=lambda row: len(row.request.prompt_ids), reverse=True)
    while by_length and not cancelled():
        length = len(by_length[0].request.prompt_ids)
        most = max(1, min(limits.rows, limits.prompt_tokens // length))
        batch = [row for row in by_length[:most] if len(row.request.prompt_ids) == length]
        del by_length[: len(batch)]
        _generate(model, batch, cancelled)
        for row in batch:
            if row.finish_reason:
                finished(row)


def _generate(model: PreTrainedModel, rows: Sequence[Row], cancelled: Callable[[], bool]) -> None:
    prompts = torch.tensor([row.request.prompt_ids for row in rows], device=model.device)
    # Greedy, because SeededDraws leaves only the drawn token with a finite score.
    config = GenerationConfig(
        do_sample=False,
        num_beams=1,
        max_new_tokens=max(row.request.params.max_new_tokens for row in rows),
        pad_token_id=0,
    )
    cast(Any, model).generate(
        prompts,
        attention_mask=torch.ones_like(prompts),
        generation_config=config,
        logits_processor=LogitsProcessorList([SeededDraws(rows, model.device)]),
        stopping_criteria=StoppingCriteriaList([RowsFinished(rows, cancelled)]),
    )


class SeededDraws(LogitsProcessor):
    def __init__(self, rows: Sequence[Row], device: torch.device) -> None:
        params = [row.request.params for row in rows]
        self.rows = rows
        self.draws = Draws(
            seed=torch.tensor([row.request.seed for row in rows], device=device),
            step=torch.zeros(len(rows), dtype=torch.int64, device=device),
            temperature=torch.tensor([float(each.temperature) for each in params], device=device),
            top_p=torch.tensor([each.top_p for each in params], dtype=torch.float64, device=device),
        )

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        drawn = draw(scores, self.draws)
        values = zip(drawn.tokens.tolist(), drawn.logprobs.tolist(), drawn.broken.tolist(), strict=True)
        for row, (token_id, logprob, broken) in zip(self.rows, values, strict=True):
            if not row.finish_reason:
                row.take(token_id, logprob, broken)
        return torch.full_like(scores, -torch.inf).scatter_(1, drawn.tokens[:, None], 0.0)


class RowsFinished(StoppingCriteria):
    def __init__(self, rows: Sequence[Row], cancelled: Callable[[], bool]) -> None:
        self.rows, self.cancelled = rows, cancelled

    def __call__(self, input_ids: Tensor, scores: object, **kwargs: object) -> Tensor:
        over = self.cancelled()
        return torch.tensor([over or bool(row.finish_reason) for row in self.rows], device=input_ids.device)
