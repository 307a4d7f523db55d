"""Prompts read end to end are what each is by itself, and of the last layer no more is computed than is looked at."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest
import torch
from torch import Tensor
from transformers import DynamicCache

from models_worker.engine import reading
from models_worker.engine.loader import LoadedPolicy
from models_worker.engine.reading import Reading, read
from models_worker.engine.shared import windows_of
from models_worker.engine.transformers_engine import TransformersSampler
from tests.models_worker.test_engine_shared import SHARING
from tests.models_worker.tiny import requests_for, sample_all

PolicyOf = Callable[[str], LoadedPolicy]
# Some of them longer than the window of mistral and phi3, and one of a single token.
LENGTHS = (40, 1, 17, 16, 33, 2, 5, 8, 21)
# As many tokens in all as are computed where one for each prompt is asked for.
AS_MANY = (8, *(1,) * 8)


def prompts_of(lengths: tuple[int, ...]) -> list[list[int]]:
    return [[5 + (7 * number + 3 * at) % 200 for at in range(length)] for number, length in enumerate(lengths)]


@pytest.mark.parametrize("lengths", [LENGTHS, AS_MANY])
@pytest.mark.parametrize("architecture", SHARING)
@torch.inference_mode()
def test_each_prompt_is_read_as_if_it_were_alone(
    policy_of: PolicyOf, architecture: str, lengths: tuple[int, ...]
) -> None:
    policy, prompts = policy_of(architecture), prompts_of(lengths)
    assert TransformersSampler(policy).share_prompts
    logits, together, edges = read(policy.model, prompts, windows_of(policy.model))
    for prompt, found, (begin, end) in zip(prompts, logits, edges, strict=True):
        alone = DynamicCache()
        given = torch.tensor([prompt])
        expected = policy.model(input_ids=given, past_key_values=alone, use_cache=True).logits[0, -1]
        torch.testing.assert_close(found, expected, atol=1e-4, rtol=1e-4)
        for (keys, values, _), (own_keys, own_values, _) in zip(together, alone, strict=True):
            torch.testing.assert_close(keys[:, :, begin:end], own_keys, atol=1e-4, rtol=1e-4)
            torch.testing.assert_close(values[:, :, begin:end], own_values, atol=1e-4, rtol=1e-4)


@contextmanager
def counted(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[int]]:
    """How many tokens each product of a linear layer was computed for."""
    counts, product = list[int](), torch.ops.mkldnn._linear_pointwise

    def watched(numbers: Tensor, *given: object) -> Tensor:
        counts.append(numbers.numel() // numbers.shape[-1])
        found: Tensor = product(numbers, *given)
        return found

    with monkeypatch.context() as watching:
        watching.setattr(torch.ops.mkldnn, "_linear_pointwise", watched)
        yield counts


@torch.inference_mode()
def test_after_the_last_attention_only_last_tokens_are_computed(
    llama: LoadedPolicy, monkeypatch: pytest.MonkeyPatch
) -> None:
    TransformersSampler(llama)
    with counted(monkeypatch) as counts:
        read(llama.model, prompts_of(LENGTHS), windows_of(llama.model))
    # Queries, keys, values, output, and a gate's three, of two layers; then the logits.
    width, asked = 144, 16
    assert counts == [width] * (7 + 3) + [asked] * (4 + 1)


def test_a_model_that_fails_leaves_nothing_being_read(llama: LoadedPolicy, monkeypatch: pytest.MonkeyPatch) -> None:
    TransformersSampler(llama)
    seen = list[object]()

    def fail(*_given: object) -> Tensor:
        seen.append(reading.now())
        raise ValueError("no product today")

    with monkeypatch.context() as failing:
        failing.setattr(torch.ops.mkldnn, "_linear_pointwise", fail)
        with pytest.raises(ValueError, match="no product today"):
            read(llama.model, prompts_of(LENGTHS), windows_of(llama.model))
    assert isinstance(seen[0], Reading)
    assert reading.now() is None


def test_what_a_prompt_is_read_with_does_not_change_its_texts(llama: LoadedPolicy) -> None:
    requests = requests_for(llama)
    one_by_one = TransformersSampler(llama, prefill_tokens=1)
    texts = [
        {key: each.token_ids for key, each in sample_all(sampler, requests).items()}
        for sampler in (TransformersSampler(llama, prefill_tokens=4096), one_by_one)
    ]
    assert texts[0] == texts[1]
