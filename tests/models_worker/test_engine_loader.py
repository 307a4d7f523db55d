"""Loading a policy: what is accepted, what is refused and in which words, and what is known of it afterwards."""

import gc
import json
import shutil
import weakref
from importlib.metadata import version
from pathlib import Path
from typing import Any

import huggingface_hub.constants
import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import GenerationConfig

from models_worker.engine import loader, placement
from models_worker.engine.checkpoint import LoadError, checkpoint_sha256
from models_worker.engine.loader import forget_policies, load_policy
from models_worker.engine.transformers_engine import TransformersSampler
from tests.models_worker.tiny import MAX_MODEL_LEN, TEMPLATE, WIDE, requests_for, sample_all, save_tiny

COMMIT = "0123456789abcdef0123456789abcdef01234567"


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tiny(tmp_path_factory.mktemp("saved"))


@pytest.fixture
def folder(saved: Path, tmp_path: Path) -> Path:
    """A policy's folder that a test may break."""
    return Path(shutil.copytree(saved, tmp_path / "policy"))


@pytest.fixture(autouse=True)
def _nothing_kept() -> Any:
    yield
    forget_policies()


@pytest.fixture
def hub_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A hub cache of our own, on a machine that cannot reach the hub."""
    cache = tmp_path / "hub"
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(cache))
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    return cache


def edit_json(path: Path, **changes: Any) -> None:
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def test_a_folder_is_loaded_and_known(folder: Path) -> None:
    policy = load_policy(str(folder), device="cpu")
    assert (policy.dtype, policy.device, policy.revision) == ("float32", "cpu", "")
    assert policy.max_model_len == MAX_MODEL_LEN
    assert policy.checkpoint_sha256 == checkpoint_sha256(folder)
    # Those of generation_config.json, the tokenizer's end of text, and the template's end of turn.
    turn_end = policy.tokenizer.convert_tokens_to_ids("<|end|>")
    assert policy.end_ids == {2, *range(250, 259), turn_end}
    assert policy.template.name == "tokenizer"
    assert not policy.model.training
    assert policy.provenance["torch"] == torch.__version__
    assert all(isinstance(value, str) for value in policy.provenance.values())


@pytest.mark.parametrize(
    ("dtype", "expected"), [("auto", torch.float32), ("bfloat16", torch.bfloat16), ("float16", torch.float16)]
)
def test_the_dtype_is_as_asked_and_plain_on_a_cpu(folder: Path, dtype: str, expected: torch.dtype) -> None:
    policy = load_policy(str(folder), dtype=dtype, device="cpu")
    assert policy.model.dtype == expected
    assert f"torch.{policy.dtype}" == str(expected)


def test_weights_stored_in_half_precision_are_computed_in_float32(folder: Path) -> None:
    weights = load_file(folder / "model.safetensors")
    save_file({name: each.half() for name, each in weights.items()}, folder / "model.safetensors", {"format": "pt"})
    edit_json(folder / "config.json", dtype="float16")
    assert load_policy(str(folder), device="cpu").model.dtype == torch.float32


def test_bf16_samples_too(folder: Path) -> None:
    policy = load_policy(str(folder), dtype="bfloat16", device="cpu")
    sampler = TransformersSampler(policy)
    assert sampler.provenance["engine"] == "transformers-arena"
    assert all(not result.error for result in sample_all(sampler, requests_for(policy)).values())


@pytest.fixture(scope="module")
def wide(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tiny(tmp_path_factory.mktemp("wide"), **WIDE)


@pytest.mark.parametrize("quantisation", ["int8", "nf4"])
def test_a_quantised_policy_is_smaller_and_its_samples_do_not_hang_on_their_company(
    wide: Path, quantisation: str
) -> None:
    whole = load_policy(str(wide), device="cpu").model.get_memory_footprint()
    policy = load_policy(str(wide), quantisation=quantisation, device="cpu")
    assert policy.model.get_memory_footprint() < 0.7 * whole
    sampler = TransformersSampler(policy)
    assert sampler.provenance["quantisation"] == quantisation
    assert sampler.provenance["bitsandbytes"] == version("bitsandbytes")
    asked = requests_for(policy)
    together = sample_all(sampler, asked)
    apart = sample_all(TransformersSampler(policy, max_rows=2), asked)
    assert {key: each.token_ids for key, each in together.items()} == {
        key: each.token_ids for key, each in apart.items()
    }


def test_what_is_stored_quantised_is_loaded_as_it_is_and_not_quantised_again(wide: Path, tmp_path: Path) -> None:
    policy = load_policy(str(wide), quantisation="nf4", device="cpu")
    policy.model.save_pretrained(tmp_path)
    policy.tokenizer.save_pretrained(tmp_path)
    assert load_policy(str(tmp_path), device="cpu").provenance["quantisation"] == "bitsandbytes"
    with pytest.raises(LoadError, match="stored quantised already"):
        load_policy(str(tmp_path), quantisation="int8", device="cpu")


def test_a_worker_that_cannot_quantise_says_so_before_it_loads_anything(
    wide: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(placement, "find_spec", lambda name: None)
    monkeypatch.setattr(loader, "_model", lambda *_given: pytest.fail("weights were read"))
    with pytest.raises(LoadError, match="needs the package bitsandbytes, which this worker does not have"):
        load_policy(str(wide), quantisation="nf4", device="cpu")
    with pytest.raises(LoadError, match="no quantisation 'int3'; it can be none, int8, nf4"):
        load_policy(str(wide), quantisation="int3", device="cpu")


def test_weights_are_spread_over_gpus_only_if_the_first_has_no_room_for_them() -> None:
    gigabyte = 1 << 30
    assert not placement.must_be_spread(60 * gigabyte, [80 * gigabyte] * 2)
    assert placement.must_be_spread(70 * gigabyte, [80 * gigabyte] * 2)


def test_a_policy_that_is_spread_over_devices_writes_the_same(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The second device is the disk: a test has no GPU."""
    # In shards, as large checkpoints come.
    sharded = load_policy(str(folder), device="cpu")
    sharded.model.save_pretrained(folder, max_shard_size="50KB")
    (folder / "model.safetensors").unlink(missing_ok=True)
    assert len(list(folder.glob("*.safetensors"))) > 1
    whole = load_policy(str(folder), device="cpu", chat_template=TEMPLATE)
    asked = requests_for(whole, k=1, max_new_tokens=8)
    expected = {key: each.token_ids for key, each in sample_all(TransformersSampler(whole), asked).items()}
    places = {"model.embed_tokens": "cpu", "model.layers.0": "cpu", "model.layers.1": "disk"}
    places |= {"model.norm": "cpu", "model.rotary_emb": "cpu", "lm_head": "cpu"}
    monkeypatch.setattr(placement, "device_map", lambda *_given: places)
    policy = load_policy(str(folder), device="cpu")
    sampler = TransformersSampler(policy)
    assert sampler.provenance["engine"] == "transformers-generate"
    assert sampler.provenance["device"].endswith(", disk")
    assert {key: each.token_ids for key, each in sample_all(sampler, asked).items()} == expected


def test_weights_that_can_run_code_are_loaded_if_a_manager_says_so(folder: Path) -> None:
    safe = load_policy(str(folder), device="cpu")
    asked = requests_for(safe, k=1, max_new_tokens=8)
    expected = sample_all(TransformersSampler(safe), asked)
    only_pickles(folder)
    (folder / "training_args.bin").write_bytes(b"x")
    policy = load_policy(str(folder), unsafe_weights=True, device="cpu")
    assert sample_all(TransformersSampler(policy), asked) == expected
    before = checkpoint_sha256(folder)
    (folder / "pytorch_model.bin").write_bytes(b"other")
    assert checkpoint_sha256(folder) != before
    with pytest.raises(LoadError, match="can run code"):
        load_policy(str(folder), device="cpu")


EXAMPLES = (
    {"role": "system", "content": "Answer in one word."},
    {"role": "user", "content": "The capital of Japan?"},
    {"role": "assistant", "content": "Tokyo."},
)


def test_a_base_policy_reads_its_examples_before_every_prompt(tmp_path: Path) -> None:
    policy = load_policy(str(save_tiny(tmp_path, template=None)), examples=EXAMPLES, device="cpu")
    assert policy.template.name == "plain-v1"
    prompt = policy.render([{"role": "user", "content": "Of Peru?"}], max_new_tokens=4)
    before = "Answer in one word.\n\nUser: The capital of Japan?\n\nAssistant: Tokyo.\n\n"
    assert prompt.text == before + "User: Of Peru?\n\nAssistant:"
    assert len(policy.provenance["examples_sha256"]) == 64
    assert "examples_sha256" not in load_policy(str(tmp_path), device="cpu").provenance


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"chat_template": "{% for m in messages %}{{ m['content'] }}"}, "The chat template refuses this prompt"),
        ({"examples": ({"role": "user", "content": "<|end|> Hi"},)}, "reads as a control token"),
    ],
)
def test_a_template_that_no_prompt_can_be_put_into_is_refused_at_once(folder: Path, given: Any, words: str) -> None:
    with pytest.raises(LoadError, match="Prompts cannot be put to") as refusal:
        load_policy(str(folder), device="cpu", **given)
    assert words in str(refusal.value)


def test_the_checkpoints_own_sampling_defaults_do_not_act(folder: Path) -> None:
    def greedy() -> dict[tuple[str, int], tuple[int, ...]]:
        policy = load_policy(str(folder), device="cpu")
        forget_policies()
        asked = requests_for(policy, k=1, temperatures=(0.0,))
        sampled = sample_all(TransformersSampler(policy, plain_generate=True), asked)
        return {key: result.token_ids for key, result in sampled.items()}

    expected = greedy()
    defaults = GenerationConfig.from_pretrained(folder)
    defaults.update(repetition_penalty=3.0, no_repeat_ngram_size=2, min_new_tokens=20, do_sample=True, top_k=2)
    defaults.save_pretrained(folder)
    assert greedy() == expected


def test_the_hash_is_of_what_decides_the_text(folder: Path) -> None:
    before = checkpoint_sha256(folder)
    (folder / "README.md").write_text("A new description.")
    (folder / "training_args.bin").write_bytes(b"x")
    assert checkpoint_sha256(folder) == before
    seen = {before}
    for name in ("config.json", "tokenizer.json", "generation_config.json", "model.safetensors"):
        with (folder / name).open("ab") as file:
            file.write(b" ")
        seen.add(checkpoint_sha256(folder))
    shutil.copy(folder / "model.safetensors", folder / "more.safetensors")
    seen.add(checkpoint_sha256(folder))
    assert len(seen) == 6


def test_a_process_keeps_one_policy(folder: Path, tmp_path: Path) -> None:
    first = load_policy(str(folder), device="cpu")
    assert load_policy(str(folder), device="cpu") is first
    assert load_policy(str(folder), device="cpu", chat_template="plain-v1") is not first
    gone = weakref.ref(first.model)
    del first
    load_policy(str(save_tiny(tmp_path / "other", seed=1)), device="cpu")
    gc.collect()
    assert gone() is None


def test_a_hub_id_is_found_in_the_cache_with_its_commit(saved: Path, hub_cache: Path) -> None:
    repository = hub_cache / "models--team--policy"
    shutil.copytree(saved, repository / "snapshots" / COMMIT)
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text(COMMIT)
    policy = load_policy("team/policy", device="cpu")
    assert (policy.location, policy.revision) == ("team/policy", COMMIT)
    assert policy.checkpoint_sha256 == checkpoint_sha256(saved)
    assert load_policy("team/policy", revision=COMMIT, device="cpu").revision == COMMIT
    with pytest.raises(LoadError, match="'team/policy' in revision 'v2' is neither"):
        load_policy("team/policy", revision="v2", device="cpu")


def break_file(name: str) -> Any:
    def truncate(folder: Path) -> None:
        content = (folder / name).read_bytes()
        (folder / name).write_bytes(content[: len(content) // 2])

    return truncate


def lose_a_weight(folder: Path) -> None:
    weights = load_file(folder / "model.safetensors")
    del weights["model.layers.1.mlp.up_proj.weight"]
    save_file(weights, folder / "model.safetensors", {"format": "pt"})


def only_pickles(folder: Path) -> None:
    torch.save(load_file(folder / "model.safetensors"), folder / "pytorch_model.bin")
    (folder / "model.safetensors").unlink()


def no_weights(folder: Path) -> None:
    (folder / "model.safetensors").unlink()


def no_config(folder: Path) -> None:
    (folder / "config.json").unlink()


def adapter(folder: Path) -> None:
    (folder / "adapter_config.json").write_text("{}")


def own_code(folder: Path) -> None:
    edit_json(
        folder / "config.json",
        model_type="ours",
        auto_map={"AutoConfig": "ours.Config", "AutoModelForCausalLM": "ours.Model"},
    )
    (folder / "ours.py").write_text(f"open({str(folder / 'ran')!r}, 'w')")


def no_language_model(folder: Path) -> None:
    edit_json(folder / "config.json", model_type="t5", architectures=["T5ForConditionalGeneration"])


def other_shape(folder: Path) -> None:
    edit_json(folder / "config.json", hidden_size=64)


@pytest.mark.parametrize(
    ("harm", "words"),
    [
        (no_weights, "holds no weights"),
        (only_pickles, "can run code"),
        (no_config, "no config.json"),
        (adapter, "is an adapter"),
        (lose_a_weight, "Missing weights: model.layers.1.mlp.up_proj.weight."),
        (break_file("model.safetensors"), "cannot be loaded"),
        (break_file("config.json"), "cannot be loaded"),
        (break_file("tokenizer.json"), "cannot be loaded"),
        (own_code, "contains custom code"),
        (no_language_model, "cannot be loaded"),
        (other_shape, "does not fit these weights: lm_head.weight"),
    ],
)
def test_what_cannot_be_loaded_is_refused_in_words(
    folder: Path, harm: Any, words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def nobody_there(question: str) -> str:
        pytest.fail("a worker was asked a question")

    monkeypatch.setattr("builtins.input", nobody_there)
    harm(folder)
    with pytest.raises(LoadError) as refusal:
        load_policy(str(folder), device="cpu")
    assert words in str(refusal.value)
    assert str(folder) in str(refusal.value)
    assert len(str(refusal.value)) < 500
    assert not (folder / "ran").exists(), "code of a checkpoint was run"


@pytest.mark.parametrize(
    ("location", "words"),
    [
        ("/no/such/folder", "There is no folder"),
        ("./missing", "There is no folder"),
        ("models/team/policy", "There is no folder"),
        ("", "There is no folder"),
        ("team/policy", "neither a folder on this worker nor in its hub cache"),
        ("not a hub id!", "neither a folder on this worker nor a hub id"),
    ],
)
def test_a_place_that_does_not_exist_is_refused_in_words(hub_cache: Path, location: str, words: str) -> None:
    with pytest.raises(LoadError, match=words):
        load_policy(location, device="cpu")


def test_unknown_dtypes_and_devices_are_refused_in_words(folder: Path) -> None:
    with pytest.raises(LoadError, match="no dtype 'int8'; it can be auto, float32"):
        load_policy(str(folder), dtype="int8", device="cpu")
    for device in ("warp drive", "cuda:99"):
        with pytest.raises(LoadError, match=f"no device '{device}'"):
            load_policy(str(folder), device=device)
