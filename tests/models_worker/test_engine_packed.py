"""Weights laid out for the products: nothing changes but the time, and models that this would break are left alone."""

from pathlib import Path
from types import MethodType
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional
from transformers import PreTrainedModel

from models_worker.engine.batching import count_of, width_of
from models_worker.engine.cpu import pack
from models_worker.engine.loader import LoadedPolicy, forget_policies, load_policy
from models_worker.engine.transformers_engine import TransformersSampler
from tests.models_worker.tiny import ARCHITECTURES, requests_for, sample_all, save_tiny


def loaded(folder: Path, architecture: str = "llama", *, dtype: str = "float32", **changes: Any) -> LoadedPolicy:
    policy = load_policy(str(save_tiny(folder, architecture, **changes)), device="cpu", dtype=dtype)
    forget_policies()
    return policy


@torch.inference_mode()
def logits(model: PreTrainedModel) -> Tensor:
    found: Tensor = model(input_ids=torch.arange(5, 35).view(2, 15)).logits
    return found


def packed(model: PreTrainedModel) -> list[nn.Linear]:
    return [layer for layer in model.modules() if isinstance(layer, nn.Linear) and layer.weight.is_mkldnn]


def plain(model: PreTrainedModel) -> list[nn.Linear]:
    return [layer for layer in model.modules() if isinstance(layer, nn.Linear) and not layer.weight.is_mkldnn]


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_the_logits_stay_as_they_are(tmp_path: Path, architecture: str) -> None:
    model = loaded(tmp_path, architecture).model
    before = logits(model)
    pack(model)
    torch.testing.assert_close(logits(model), before, atol=1e-4, rtol=1e-4)


def test_all_of_a_llama_is_packed_but_what_is_looked_up_too(tmp_path: Path) -> None:
    model = loaded(tmp_path / "own").model
    pack(model)
    assert packed(model)
    assert not plain(model)
    tied = loaded(tmp_path / "tied", tie_word_embeddings=True).model
    before = logits(tied)
    pack(tied)
    assert len(packed(tied)) == len(packed(model)) - 1
    assert plain(tied) == [tied.get_output_embeddings()]
    assert tied.get_output_embeddings().weight is tied.get_input_embeddings().weight
    torch.testing.assert_close(logits(tied), before, atol=1e-4, rtol=1e-4)


def test_asked_again_nothing_changes(tmp_path: Path) -> None:
    model = loaded(tmp_path).model
    pack(model)
    weights = [layer.weight for layer in packed(model)]
    pack(model)
    assert all(layer.weight is weight for layer, weight in zip(packed(model), weights, strict=True))


def test_a_sampler_packs_and_writes_the_same_texts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    policy = loaded(tmp_path)
    requests = requests_for(policy)
    with monkeypatch.context() as without:
        without.setattr("models_worker.engine.cpu.pack", lambda _model: None)
        before = sample_all(TransformersSampler(policy), requests)
    assert not packed(policy.model)
    after = sample_all(TransformersSampler(policy), requests)
    assert packed(policy.model)
    assert {key: each.token_ids for key, each in before.items()} == {key: each.token_ids for key, each in after.items()}


def test_a_model_that_reads_its_weights_itself_keeps_them(tmp_path: Path) -> None:
    model = loaded(tmp_path).model
    gate: Any = next(each for name, each in model.named_modules() if name.endswith("mlp"))

    def forward(self: Any, states: Tensor) -> Tensor:
        gated = functional.silu(functional.linear(states, self.gate_proj.weight)) * self.up_proj(states)
        down: Tensor = self.down_proj(gated)
        return down

    gate.forward = MethodType(forward, gate)
    before = logits(model)
    pack(model)
    assert not packed(model)
    assert not any("forward" in vars(layer) for layer in plain(model))
    assert torch.equal(logits(model), before)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_other_types_are_packed_where_the_processor_multiplies_them(tmp_path: Path, dtype: str) -> None:
    model = loaded(tmp_path, dtype=dtype).model
    before = logits(model).float()
    pack(model)
    assert bool(packed(model)) == (dtype == "bfloat16" and torch.ops.mkldnn._is_mkldnn_bf16_supported())
    assert (logits(model).float() - before).abs().mean() < 0.05 * before.std()


def test_a_refused_product_is_computed_plainly(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = loaded(tmp_path).model
    before = logits(model)
    pack(model)

    def refuse(*_given: object) -> Tensor:
        raise RuntimeError("could not create a primitive")

    with monkeypatch.context() as starved:
        starved.setattr(torch.ops.mkldnn, "_linear_pointwise", refuse)
        assert torch.equal(logits(model), before)
    assert not packed(model)
    assert torch.equal(logits(model), before)


def test_few_sizes_are_computed_however_many_there_are() -> None:
    lengths = range(1, 8193)
    assert all(length <= width_of(length) <= length + max(15, length // 32) for length in lengths)
    assert len({width_of(length) for length in lengths}) == 32 + 4 * 32
    assert [count_of(rows) for rows in (1, 8, 9, 128)] == [8, 8, 16, 128]
