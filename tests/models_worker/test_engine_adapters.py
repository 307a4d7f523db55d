"""Adapters on top of a checkpoint: what they write is what peft itself would write, and their files are known."""

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import peft
import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM

from models_worker.engine.checkpoint import LoadError, checkpoint_sha256
from models_worker.engine.loader import LoadedPolicy, forget_policies, load_policy
from models_worker.engine.transformers_engine import TransformersSampler
from tests.models_worker.tiny import (
    MAX_MODEL_LEN,
    VOCABULARY,
    WIDE,
    requests_for,
    sample_all,
    save_lora,
    save_tiny,
    tiny_tokenizer,
)

VIRTUAL = 4
KINDS: dict[str, peft.PeftConfig] = {
    "LORA": peft.LoraConfig(task_type="CAUSAL_LM", r=4, target_modules=["q_proj", "v_proj"], init_lora_weights=False),
    "IA3": peft.IA3Config(
        task_type="CAUSAL_LM",
        target_modules=["k_proj", "v_proj", "down_proj"],
        feedforward_modules=["down_proj"],
        init_ia3_weights=False,
    ),
    "PROMPT_TUNING": peft.PromptTuningConfig(task_type="CAUSAL_LM", num_virtual_tokens=VIRTUAL),
    "P_TUNING": peft.PromptEncoderConfig(task_type="CAUSAL_LM", num_virtual_tokens=VIRTUAL, encoder_hidden_size=16),
    "PREFIX_TUNING": peft.PrefixTuningConfig(task_type="CAUSAL_LM", num_virtual_tokens=VIRTUAL),
}
MERGED = ("LORA", "IA3")
UNSEEN = ("PROMPT_TUNING", "P_TUNING", "PREFIX_TUNING")


@pytest.fixture(scope="module")
def adapter_of(llama: LoadedPolicy, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """An adapter to the tiny llama with random weights, made once."""
    made: dict[str, Path] = {}

    def of(kind: str) -> Path:
        if kind not in made:
            made[kind] = tmp_path_factory.mktemp(kind)
            torch.manual_seed(1)
            adapted = peft.get_peft_model(plain(llama), KINDS[kind])
            # Virtual tokens begin at a size that hardly shows beside such weights.
            for parameter in adapted.prompt_encoder.parameters() if kind in UNSEEN else ():
                parameter.data.mul_(3)
            adapted.save_pretrained(made[kind])
        return made[kind]

    return of


@pytest.fixture(autouse=True)
def _nothing_kept() -> Any:
    yield
    forget_policies()


def plain(policy: LoadedPolicy) -> Any:
    return AutoModelForCausalLM.from_pretrained(policy.location, dtype=torch.float32)


@torch.inference_mode()
def by_peft(model: Any, prompt_ids: tuple[int, ...], token_ids: tuple[int, ...]) -> list[float]:
    """The logprob of each token by peft's own forward, without a cache."""
    whole = torch.tensor([[*prompt_ids, *token_ids]])
    # What stands before the prompt unseen has logits too.
    logits = model(input_ids=whole).logits[0, -whole.shape[1] :]
    answer = logits.log_softmax(-1)[len(prompt_ids) - 1 : -1]
    return [float(each) for each in answer.gather(1, torch.tensor(token_ids)[:, None])[:, 0]]


@pytest.mark.parametrize("kind", KINDS)
def test_an_adapted_policy_writes_what_peft_would(
    llama: LoadedPolicy, adapter_of: Callable[[str], Path], kind: str
) -> None:
    folder = adapter_of(kind)
    policy = load_policy(llama.location, adapter=str(folder), device="cpu")
    sampler = TransformersSampler(policy)
    assert sampler.provenance["engine"] == ("transformers-arena" if kind in MERGED else "transformers-generate")
    asked = requests_for(policy, k=2, max_new_tokens=12)
    results = sample_all(sampler, asked)
    reference = peft.PeftModel.from_pretrained(plain(llama), str(folder)).eval()
    for request in asked:
        result = results[request.prompt_id, request.k]
        assert result.logprobs == pytest.approx(by_peft(reference, request.prompt_ids, result.token_ids), abs=1e-4)
    bare = sample_all(TransformersSampler(llama), asked)
    assert any(bare[key].token_ids != result.token_ids for key, result in results.items())
    narrow = sample_all(TransformersSampler(policy, max_rows=2), asked)
    assert {key: result.token_ids for key, result in narrow.items()} == {
        key: result.token_ids for key, result in results.items()
    }


def test_an_adapter_is_known_by_the_hash_of_its_files(llama: LoadedPolicy, adapter_of: Callable[[str], Path]) -> None:
    folder = adapter_of("LORA")
    policy = load_policy(llama.location, adapter=str(folder), device="cpu")
    assert policy.checkpoint_sha256 == llama.checkpoint_sha256
    known = policy.provenance
    assert known["adapter_sha256"] == policy.adapter_sha256 == checkpoint_sha256(folder)
    assert (known["adapter_kind"], known["peft"]) == ("LORA", peft.__version__)
    assert "adapter_sha256" not in llama.provenance


@pytest.mark.parametrize(("kind", "room"), [("LORA", MAX_MODEL_LEN), ("PREFIX_TUNING", MAX_MODEL_LEN - VIRTUAL)])
def test_what_stands_before_the_prompt_unseen_takes_its_room(
    llama: LoadedPolicy, adapter_of: Callable[[str], Path], kind: str, room: int
) -> None:
    assert load_policy(llama.location, adapter=str(adapter_of(kind)), device="cpu").max_model_len == room


def test_an_adapter_to_a_quantised_checkpoint_is_not_rounded_into_it(
    tmp_path: Path,
) -> None:
    checkpoint = save_tiny(tmp_path / "checkpoint", **WIDE)
    adapter = save_lora(checkpoint, tmp_path / "adapter")
    policy = load_policy(str(checkpoint), adapter=str(adapter), quantisation="nf4", device="cpu")
    assert any("lora_A" in name for name, _parameter in policy.model.named_parameters())
    sampler = TransformersSampler(policy)
    assert sampler.provenance["engine"] == "transformers-arena"
    results = sample_all(sampler, requests_for(policy, k=1, max_new_tokens=8))
    assert all(not result.error for result in results.values())


def test_the_tokenizer_beside_an_adapter_is_its_own(
    llama: LoadedPolicy, adapter_of: Callable[[str], Path], tmp_path: Path
) -> None:
    folder = Path(shutil.copytree(adapter_of("LORA"), tmp_path / "adapter"))
    tiny_tokenizer("{% for m in messages %}Q: {{ m['content'] }} A:{% endfor %}").save_pretrained(folder)
    policy = load_policy(llama.location, adapter=str(folder), device="cpu")
    assert policy.render([{"role": "user", "content": "Hi"}], max_new_tokens=4).text == "Q: Hi A:"
    assert policy.adapter_sha256 != checkpoint_sha256(adapter_of("LORA")), "the template decides the text as well"


def test_an_adapter_on_ends_that_share_their_weights_acts_on_its_own_end_only(tmp_path: Path) -> None:
    checkpoint = save_tiny(tmp_path / "checkpoint", tie_word_embeddings=True)
    config = peft.LoraConfig(task_type="CAUSAL_LM", r=4, target_modules=["embed_tokens"], init_lora_weights=False)
    model = AutoModelForCausalLM.from_pretrained(checkpoint, dtype=torch.float32)
    peft.get_peft_model(model, config).save_pretrained(tmp_path / "adapter")
    policy = load_policy(str(checkpoint), adapter=str(tmp_path / "adapter"), device="cpu")
    sampler = TransformersSampler(policy)
    assert sampler.provenance["engine"] == "transformers-arena"
    reference = peft.PeftModel.from_pretrained(plain(policy), str(tmp_path / "adapter")).eval()
    asked = requests_for(policy, k=1, max_new_tokens=8)
    for key, result in sample_all(sampler, asked).items():
        request = next(each for each in asked if each.prompt_id == key[0])
        assert result.logprobs == pytest.approx(by_peft(reference, request.prompt_ids, result.token_ids), abs=1e-4)


def adapter_with_more_tokens(checkpoint: str, folder: Path, *saved: str) -> Path:
    model = AutoModelForCausalLM.from_pretrained(checkpoint, dtype=torch.float32)
    model.resize_token_embeddings(VOCABULARY + 4, mean_resizing=False)
    config = peft.LoraConfig(
        task_type="CAUSAL_LM", r=4, target_modules=["q_proj"], modules_to_save=list(saved), init_lora_weights=False
    )
    peft.get_peft_model(model, config).save_pretrained(folder, save_embedding_layers=False)
    return folder


def test_an_adapter_may_bring_tokens_that_its_checkpoint_lacks(llama: LoadedPolicy, tmp_path: Path) -> None:
    adapter = adapter_with_more_tokens(llama.location, tmp_path / "both", "embed_tokens", "lm_head")
    policy = load_policy(llama.location, adapter=str(adapter), device="cpu")
    sampler = TransformersSampler(policy)
    assert sampler.vocabulary == VOCABULARY + 4
    (request, *_more) = requests_for(policy, k=1, max_new_tokens=8)
    request = replace(request, prompt_ids=(*request.prompt_ids, VOCABULARY + 3))
    assert sample_all(sampler, [request])[request.prompt_id, 0].error == ""
    half = adapter_with_more_tokens(llama.location, tmp_path / "half", "embed_tokens")
    with pytest.raises(LoadError, match="tokens that the checkpoint lacks, but no weights for lm_head"):
        load_policy(llama.location, adapter=str(half), device="cpu")


def no_config(folder: Path) -> None:
    (folder / "adapter_config.json").unlink()


def only_pickles(folder: Path) -> None:
    torch.save(load_file(folder / "adapter_model.safetensors"), folder / "adapter_model.bin")
    (folder / "adapter_model.safetensors").unlink()


def a_layer_too_many(folder: Path) -> None:
    change(folder, lambda weights: weights | {each.replace("layers.1", "layers.7"): weights[each] for each in weights})


def a_weight_less(folder: Path) -> None:
    change(folder, lambda weights: dict(list(weights.items())[1:]))


def not_a_number(folder: Path) -> None:
    change(folder, lambda weights: {name: weight * torch.nan for name, weight in weights.items()})


def other_shape(folder: Path) -> None:
    change(folder, lambda weights: {name: torch.cat([each, each]) for name, each in weights.items()})


def broken(folder: Path) -> None:
    (folder / "adapter_model.safetensors").write_bytes(b"no weights")


def unknown_kind(folder: Path) -> None:
    (folder / "adapter_config.json").write_text('{"peft_type": "MAGIC"}')


def names_others(folder: Path) -> None:
    (folder / "adapter_config.json").write_text('{"peft_type": "XLORA", "adapters": {"0": "/elsewhere"}}')


def change(folder: Path, how: Callable[[dict[str, torch.Tensor]], dict[str, torch.Tensor]]) -> None:
    file = folder / "adapter_model.safetensors"
    save_file({name: each.clone() for name, each in how(load_file(file)).items()}, file, {"format": "pt"})


@pytest.mark.parametrize(
    ("harm", "words"),
    [
        (no_config, "is no adapter"),
        (only_pickles, "can run code"),
        (a_layer_too_many, "does not fit this checkpoint"),
        (a_weight_less, "does not fit this checkpoint"),
        (not_a_number, "cannot be loaded"),
        (other_shape, "cannot be loaded"),
        (broken, "cannot be loaded"),
        (unknown_kind, "cannot be loaded"),
        (names_others, "kind XLORA, which is not loaded here"),
    ],
)
def test_an_adapter_that_cannot_be_loaded_is_refused_in_words(
    llama: LoadedPolicy, adapter_of: Callable[[str], Path], tmp_path: Path, harm: Any, words: str
) -> None:
    folder = Path(shutil.copytree(adapter_of("LORA"), tmp_path / "adapter"))
    harm(folder)
    with pytest.raises(LoadError) as refusal:
        load_policy(llama.location, adapter=str(folder), device="cpu")
    assert words in str(refusal.value)
    assert str(folder) in str(refusal.value)
    assert len(str(refusal.value)) < 600


def test_pickled_adapters_are_loaded_if_a_manager_says_so(
    llama: LoadedPolicy, adapter_of: Callable[[str], Path], tmp_path: Path
) -> None:
    folder = Path(shutil.copytree(adapter_of("LORA"), tmp_path / "adapter"))
    only_pickles(folder)
    policy = load_policy(llama.location, adapter=str(folder), unsafe_weights=True, device="cpu")
    before = policy.adapter_sha256
    asked = requests_for(policy, k=1, max_new_tokens=8)
    results = sample_all(TransformersSampler(policy), asked)
    forget_policies()
    safe = load_policy(llama.location, adapter=str(adapter_of("LORA")), device="cpu")
    assert sample_all(TransformersSampler(safe), asked) == results
    with (folder / "adapter_model.bin").open("ab") as file:
        file.write(b" ")
    assert checkpoint_sha256(folder) != before
