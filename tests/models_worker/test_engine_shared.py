"""Samples that share their prompt's keys and values are those of samples with copies of their own."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch

from models_worker.engine import cpu, decoding, shared
from models_worker.engine.arena import Arena, KvShape
from models_worker.engine.loader import LoadedPolicy
from models_worker.engine.shared import PromptStore
from models_worker.engine.transformers_engine import TransformersSampler
from models_worker.engine.types import SampleRequest, SampleResult
from tests.models_worker.tiny import requests_for, sample_all

PolicyOf = Callable[[str], LoadedPolicy]
# Those of mistral and phi3 look back 16 tokens, which some of the prompts below are longer than.
SHARING = ("llama", "mixtral", "qwen2", "qwen3", "olmo2", "phi", "phi3", "mistral", "gpt2", "gpt_neox")


def many(policy: LoadedPolicy, prompts: int, k: int) -> list[SampleRequest]:
    """Prompts of very different lengths, and samples that end at different times."""
    first = requests_for(policy)[0]
    return [
        replace(
            first,
            prompt_id=str(number),
            k=place,
            prompt_ids=tuple(5 + (number * 7 + at * 3) % 200 for at in range(1 + 9 * number % 61)),
            params=replace(first.params, max_new_tokens=4 + (5 * number + 3 * place) % 23),
            seed=100 * number + place,
        )
        for number in range(prompts)
        for place in range(k)
    ]


def both(
    policy: LoadedPolicy, requests: list[SampleRequest], monkeypatch: pytest.MonkeyPatch, **limits: int
) -> list[dict[tuple[str, int], SampleResult]]:
    """Sampled with shared prompts, and with a copy for each row."""
    sampler, stores = TransformersSampler(policy, **limits), list[object]()
    room_for = decoding._room_for

    def watched(*given: object, **named: object) -> object:
        arena, store = room_for(*given, **named)  # type: ignore[arg-type]
        stores.append(store)
        return arena, store

    monkeypatch.setattr(decoding, "_room_for", watched)
    results = [sample_all(sampler, requests)]
    sampler.share_prompts = False
    results.append(sample_all(sampler, requests))
    assert [store is not None for store in stores] == [True, False]
    return results


@pytest.mark.parametrize("architecture", SHARING)
def test_the_texts_are_those_of_rows_with_copies(
    policy_of: PolicyOf, architecture: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    policy = policy_of(architecture)
    shared_, copied = both(policy, many(policy, 9, 4), monkeypatch, max_rows=10)
    for key, result in shared_.items():
        assert result.token_ids == copied[key].token_ids
        assert result.logprobs == pytest.approx(copied[key].logprobs, abs=1e-4)


@pytest.mark.parametrize(("k", "rows"), [(1, 5), (2, 64), (9, 5), (9, 20), (4, 1)])
def test_however_many_there_are_of_a_prompt_and_places_for_them(
    llama: LoadedPolicy, monkeypatch: pytest.MonkeyPatch, k: int, rows: int
) -> None:
    shared_, copied = both(llama, many(llama, 7, k), monkeypatch, max_rows=rows)
    assert {key: each.token_ids for key, each in shared_.items()} == {
        key: each.token_ids for key, each in copied.items()
    }


# Softened scores; keys that are not kept as they are attended to; a window that is written down and not looked through.
@pytest.mark.parametrize("architecture", ["gemma2", "deepseek_v3", "jetmoe", "moshi"])
def test_other_attention_keeps_copies(policy_of: PolicyOf, architecture: str) -> None:
    policy = policy_of(architecture)
    sampler = TransformersSampler(policy)
    assert sampler.shapes
    assert not sampler.share_prompts
    assert policy.model.config._attn_implementation != shared.NAME


@pytest.mark.parametrize(
    ("given", "window"),
    [
        ({"attention_mask": torch.zeros(1, 1, 1, 1)}, None),
        ({"softcap": 30.0}, None),
        ({}, 16),
        ({"sliding_window": 8}, 16),
    ],
    ids=["scores added to", "scores softened", "a window unsaid", "another window"],
)
def test_what_this_attention_does_not_do_is_refused(given: dict[str, Any], window: int | None) -> None:
    shapes, module = [KvShape(1, 4, 1, 4)], torch.nn.Identity()
    module.layer_idx = 0  # type: ignore[assignment]
    arena = Arena(shapes, rows=1, columns=1, dtype=torch.float32, device=torch.device("cpu"))
    store = PromptStore(shapes, slots=1, columns=1, dtype=torch.float32)
    one = torch.zeros(1, 1, 1, 4)
    with (
        shared.sharing(shared.Shared(store, arena, torch.zeros(1, dtype=torch.int64), [window])),
        pytest.raises(NotImplementedError),
    ):
        shared.attention_forward(module, one, one, one, **{"attention_mask": None} | given)


def test_a_second_sampler_of_a_policy_shares_too(llama: LoadedPolicy) -> None:
    assert [TransformersSampler(llama).share_prompts for _ in range(2)] == [True, True]


def nothing(query: torch.Tensor, *_given: object, **_named: object) -> torch.Tensor:
    return torch.zeros_like(query)


def broken(*_given: object, **_named: object) -> torch.Tensor:
    raise IndexError("a layer too many")


@pytest.mark.parametrize("otherwise", [nothing, broken])
def test_a_model_whose_attention_comes_out_otherwise_keeps_copies(
    policy_of: PolicyOf, monkeypatch: pytest.MonkeyPatch, otherwise: Callable[..., torch.Tensor]
) -> None:
    policy = policy_of("qwen2")
    policy.model.set_attn_implementation("sdpa")
    monkeypatch.setattr(cpu, "attend", otherwise)
    assert not TransformersSampler(policy).share_prompts
    assert policy.model.config._attn_implementation == "sdpa"


def test_prompts_and_rows_together_stay_within_the_budget(llama: LoadedPolicy) -> None:
    sampler, requests = TransformersSampler(llama), many(llama, 30, 4)
    rows = [decoding.Row(index, request, sampler.ending) for index, request in enumerate(requests)]
    whole = {}
    for budget in (200_000, 400_000):
        limits = replace(sampler.limits, rows=1000, cache_bytes=budget)
        arena, store = decoding._room_for(llama.model, sampler.shapes, rows, limits, prompts=30)
        assert store is not None
        buffers = [buffer for layer in arena.layers for buffer in (layer.keys, layer.values)]
        buffers += [*store.keys, *store.values]
        whole[budget] = sum(buffer.numel() * buffer.itemsize for buffer in buffers)
        assert 0.9 * budget < whole[budget] <= budget
        assert store.slots < arena.rows


def test_a_freed_slot_is_filled_by_the_last_prompt() -> None:
    store = PromptStore([KvShape(1, 2, 1, 2)], slots=3, columns=4, dtype=torch.float32)
    store.live = 3
    for slot in range(3):
        store.keys[0][slot] = store.values[0][slot] = slot
        store.begins[slot] = slot + 1
    assert store.drop(0) == 2
    assert store.live == 2
    assert store.keys[0][0].unique().tolist() == store.values[0][0].unique().tolist() == [2]
    assert store.begins[:2].tolist() == [3, 2]
    assert store.drop(1) == 1
