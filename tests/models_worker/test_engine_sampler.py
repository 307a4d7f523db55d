"""What every sampler promises, tried on the one that runs transformers models."""

import functools
import json
import random
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from models_worker.engine import decoding
from models_worker.engine.arena import Arena
from models_worker.engine.loader import LoadedPolicy, forget_policies, load_policy
from models_worker.engine.transformers_engine import TransformersSampler
from models_worker.engine.types import InvalidParams, SampleRequest, SampleResult, SamplingParams
from tests.models_worker.tiny import MAX_MODEL_LEN, requests_for, sample_all, save_tiny, teacher_forced

PolicyOf = Callable[[str], LoadedPolicy]
ATTENTION = ("llama", "mistral", "mixtral", "qwen2", "qwen3", "gemma2", "olmo2", "phi", "phi3")
ATTENTION += ("gpt2", "gpt_neox", "opt", "falcon")
# What else a model may have for a past, or for places in it.
OTHERS = ("mamba", "llama4_text", "bloom", "mpt")
# Every local backend keeps the contract.
BACKENDS = pytest.mark.parametrize("plain_generate", [False, True], ids=["arena", "generate"])


@pytest.fixture(scope="module")
def whole(llama: LoadedPolicy) -> dict[tuple[str, int], SampleResult]:
    """All samples of one call with room for all of them side by side."""
    return sample_all(TransformersSampler(llama), requests_for(llama))


def tokens(results: dict[tuple[str, int], SampleResult]) -> dict[tuple[str, int], tuple[int, ...]]:
    return {key: result.token_ids for key, result in results.items()}


@BACKENDS
def test_each_request_gets_one_result_that_repeats_what_was_asked(llama: LoadedPolicy, plain_generate: bool) -> None:
    asked = [replace(request, attempt=2, truncated_prompt=5) for request in requests_for(llama)]
    results = sample_all(TransformersSampler(llama, plain_generate=plain_generate), asked)
    for request in asked:
        result = results[request.prompt_id, request.k]
        assert (result.seed, result.params, result.attempt, result.truncated_prompt) == (
            request.seed,
            request.params,
            2,
            5,
        )
        assert result.prompt_tokens == len(request.prompt_ids)
        assert result.error == ""
        assert len(result.logprobs) == len(result.token_ids)
        assert result.sum_logprob == pytest.approx(sum(result.logprobs))


@BACKENDS
def test_the_same_request_twice_gets_two_results(llama: LoadedPolicy, plain_generate: bool) -> None:
    request = requests_for(llama)[0]
    results: list[SampleResult] = []
    TransformersSampler(llama, plain_generate=plain_generate).sample([request, request], on_result=results.append)
    assert len(results) == 2
    assert results[0] == results[1]


@BACKENDS
@pytest.mark.parametrize("share_prompts", [True, False], ids=["prompts shared", "copies"])
def test_what_is_asked_for_in_the_middle_is_sampled_as_if_it_had_been_asked_at_once(
    llama: LoadedPolicy, plain_generate: bool, share_prompts: bool
) -> None:
    """Of the same prompts, of a longer one, for more tokens, and what cannot be sampled at all."""
    asked = requests_for(llama)
    longer = replace(asked[0], prompt_id="longer", prompt_ids=(5, 6) * 60)
    more = replace(asked[0], prompt_id="more", params=replace(asked[0].params, max_new_tokens=120))
    never = replace(asked[0], prompt_id="never", prompt_ids=())
    late = [*(replace(each, k=each.k + 10, seed=each.seed + 7) for each in asked), longer, more, never]
    calm = sample_all(TransformersSampler(llama, plain_generate=plain_generate), [*asked, *late])
    assert len(calm) == len(asked) + len(late)
    assert [each.prompt_id for each in calm.values() if each.error] == ["never"]

    sampler = TransformersSampler(llama, max_rows=7, plain_generate=plain_generate)
    sampler.share_prompts &= share_prompts
    results: dict[tuple[str, int], SampleResult] = {}
    waiting = list(late)

    def hear(result: SampleResult) -> list[SampleRequest]:
        assert (result.prompt_id, result.k) not in results
        results[result.prompt_id, result.k] = result
        return [waiting.pop() for _each in range(min(3, len(waiting)))]

    sampler.sample(asked, on_result=hear)
    assert tokens(results) == tokens(calm)


def test_a_further_sample_joins_those_under_way(llama: LoadedPolicy) -> None:
    """It is not kept until all others are finished."""
    short, *others = requests_for(llama, max_new_tokens=40)
    others = [replace(each, params=replace(each.params, temperature=0.0)) for each in others]
    short = replace(short, params=replace(short.params, max_new_tokens=1))
    again = replace(short, k=99)
    ended = list[tuple[str, int]]()

    def hear(result: SampleResult) -> list[SampleRequest]:
        ended.append((result.prompt_id, result.k))
        return [again] if result.k == short.k and result.prompt_id == short.prompt_id else []

    TransformersSampler(llama).sample([short, *others], on_result=hear)
    assert len(ended) == len(others) + 2
    assert ended.index((again.prompt_id, 99)) < len(ended) - 1


@BACKENDS
def test_nothing_asked_nothing_done(llama: LoadedPolicy, plain_generate: bool) -> None:
    assert sample_all(TransformersSampler(llama, plain_generate=plain_generate), []) == {}


@pytest.mark.parametrize("architecture", ["llama", "gemma2"])
@pytest.mark.parametrize(
    "limits",
    [
        {"max_rows": 7, "prefill_tokens": 30},
        {"max_rows": 1},
        {"kv_budget_bytes": 1},
        {"max_rows": 7, "plain_generate": True},
        {"max_rows": 1, "plain_generate": True},
    ],
)
def test_the_batch_size_changes_no_text(policy_of: PolicyOf, architecture: str, limits: dict[str, int]) -> None:
    policy = policy_of(architecture)
    asked = requests_for(policy)
    wide = sample_all(TransformersSampler(policy), asked)
    assert tokens(sample_all(TransformersSampler(policy, **limits), asked)) == tokens(wide)


@BACKENDS
def test_order_and_company_change_no_text(
    llama: LoadedPolicy, whole: dict[tuple[str, int], SampleResult], plain_generate: bool
) -> None:
    asked = requests_for(llama)
    random.Random(3).shuffle(asked)
    some = asked[:8]
    # Company with other lengths, and with top_p and without.
    others = requests_for(llama, k=2, seed=77, max_new_tokens=90, temperatures=(5.0, 0.1), top_p=0.3)
    mixed = some + [replace(request, prompt_id="other " + request.prompt_id) for request in others]
    results = sample_all(TransformersSampler(llama, max_rows=5, plain_generate=plain_generate), mixed)
    for request in some:
        assert results[request.prompt_id, request.k].token_ids == whole[request.prompt_id, request.k].token_ids


def test_a_long_call_moves_its_columns_and_changes_no_text(
    llama: LoadedPolicy, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With few rows and many samples the arena's columns run out several times."""
    asked = requests_for(llama, k=20, max_new_tokens=60)
    shifts: list[int] = []

    class Watched(Arena):
        def shift_left(self) -> int:
            shifts.append(super().shift_left())
            return shifts[-1]

    with monkeypatch.context() as patched:
        patched.setattr(decoding, "Arena", Watched)
        results = sample_all(TransformersSampler(llama, max_rows=6), asked)
    assert len(shifts) >= 2
    assert tokens(results) == tokens(sample_all(TransformersSampler(llama), asked))


@BACKENDS
def test_a_seed_repeats_and_another_seed_does_not(
    llama: LoadedPolicy, whole: dict[tuple[str, int], SampleResult], plain_generate: bool
) -> None:
    sampler = TransformersSampler(llama, plain_generate=plain_generate)
    first = sample_all(sampler, requests_for(llama))
    assert sample_all(sampler, requests_for(llama)) == first
    assert tokens(first) == tokens(whole)
    others = tokens(sample_all(sampler, requests_for(llama, seed=500_000)))
    assert not any(others[key] == drawn for key, drawn in tokens(whole).items())


@pytest.mark.parametrize("architecture", ATTENTION)
def test_logprobs_are_those_of_the_whole_text_read_at_once(policy_of: PolicyOf, architecture: str) -> None:
    """Whatever temperature and top_p a token was drawn with: its logprob is the policy's own."""
    policy = policy_of(architecture)
    sampler = TransformersSampler(policy, max_rows=5)
    assert sampler.provenance["engine"] == "transformers-arena"
    # Longer than the sliding windows.
    asked = requests_for(policy, k=2, max_new_tokens=24)
    results = sample_all(sampler, asked)
    for request in asked:
        result = results[request.prompt_id, request.k]
        assert result.logprobs == pytest.approx(teacher_forced(policy, request, result.token_ids), abs=1e-4)


def test_no_more_than_asked_and_it_says_so_when_cut_off(whole: dict[tuple[str, int], SampleResult]) -> None:
    reasons = {result.finish_reason for result in whole.values()}
    assert reasons == {"stop", "length"}
    for result in whole.values():
        assert (len(result.token_ids) < 40) or result.finish_reason == "length" or result.token_ids[-1] >= 250
        assert len(result.token_ids) <= 40


def test_end_tokens_are_counted_but_not_shown(llama: LoadedPolicy, whole: dict[tuple[str, int], SampleResult]) -> None:
    ended = [result for result in whole.values() if result.finish_reason == "stop"]
    for result in ended:
        assert result.token_ids[-1] in llama.end_ids
        assert result.text == llama.tokenizer.decode(result.token_ids[:-1], skip_special_tokens=True)


@BACKENDS
def test_a_stop_string_ends_the_text_and_is_not_part_of_it(
    llama: LoadedPolicy, whole: dict[tuple[str, int], SampleResult], plain_generate: bool
) -> None:
    # Two letters in the middle of what was written without a stop string.
    request, text, stop = next(
        (request, text, found.group())
        for request in requests_for(llama)
        if (found := re.search("(?<=.)[!-~]{2}", text := whole[request.prompt_id, request.k].text))
    )
    stopping = replace(request, params=replace(request.params, stop=("never written", stop)))
    (result,) = sample_all(TransformersSampler(llama, plain_generate=plain_generate), [stopping]).values()
    assert result.text == text[: text.index(stop)]
    assert result.finish_reason == "stop"
    drawn = whole[request.prompt_id, request.k].token_ids
    assert result.token_ids == drawn[: len(result.token_ids)]
    assert stop in llama.tokenizer.decode(result.token_ids)


def test_temperature_0_takes_the_likeliest_token_whatever_the_seed(llama: LoadedPolicy) -> None:
    asked = requests_for(llama, k=2, temperatures=(0.0,))
    for result in (results := sample_all(TransformersSampler(llama), asked)).values():
        assert result.token_ids == results[result.prompt_id, 0].token_ids
    request = asked[0]
    written = results[request.prompt_id, 0].token_ids
    with torch.inference_mode():
        logits = llama.model(input_ids=torch.tensor([[*request.prompt_ids, *written]])).logits[0]
    assert tuple(logits.argmax(-1)[len(request.prompt_ids) - 1 : -1].tolist()) == written


@pytest.mark.parametrize("architecture", ["llama", "gemma2"])
def test_plain_generate_draws_the_same_tokens(policy_of: PolicyOf, architecture: str) -> None:
    policy = policy_of(architecture)
    asked = requests_for(policy)
    plain = TransformersSampler(policy, plain_generate=True, max_rows=4)
    assert plain.provenance["engine"] == "transformers-generate"
    results, expected = sample_all(plain, asked), sample_all(TransformersSampler(policy), asked)
    assert tokens(results) == tokens(expected)
    for key, result in results.items():
        assert (result.text, result.finish_reason) == (expected[key].text, expected[key].finish_reason)
        assert result.logprobs == pytest.approx(expected[key].logprobs, abs=1e-4)


@pytest.mark.parametrize("architecture", OTHERS)
def test_what_cannot_live_in_the_arena_is_sampled_by_generate(policy_of: PolicyOf, architecture: str) -> None:
    policy = policy_of(architecture)
    sampler = TransformersSampler(policy, max_rows=4)
    assert sampler.provenance["engine"] == "transformers-generate"
    asked = requests_for(policy, max_new_tokens=12)
    results = sample_all(sampler, asked)
    assert tokens(results) == tokens(sample_all(TransformersSampler(policy, max_rows=1), asked))
    for request in asked:
        result = results[request.prompt_id, request.k]
        assert result.logprobs == pytest.approx(teacher_forced(policy, request, result.token_ids), abs=1e-4)


def test_a_model_that_does_not_heed_its_mask_is_sampled_by_generate(llama: LoadedPolicy) -> None:
    forward = llama.model.forward

    @functools.wraps(forward)
    def unheeding(*args: Any, **kwargs: Any) -> Any:
        return forward(*args, **kwargs | {"attention_mask": None})

    llama.model.forward = unheeding
    try:
        assert TransformersSampler(llama).provenance["engine"] == "transformers-generate"
    finally:
        llama.model.forward = forward


@BACKENDS
def test_numbers_that_overflow_fail_their_own_sample_only(
    llama: LoadedPolicy, whole: dict[tuple[str, int], SampleResult], tmp_path: Path, plain_generate: bool
) -> None:
    poisoned = load_policy(str(save_tiny(tmp_path)), device="cpu")
    forget_policies()
    asked = requests_for(poisoned)
    never_drawn = max(set(range(300)) - {each for result in whole.values() for each in result.token_ids} - {299})
    with torch.inference_mode():
        poisoned.model.get_input_embeddings().weight[never_drawn] = torch.nan
    # Few rows, so that healthy samples are put where poisoned ones were.
    sick = [
        replace(request, prompt_id="sick " + request.prompt_id, prompt_ids=(*request.prompt_ids, never_drawn))
        for request in asked
    ]
    sampler = TransformersSampler(poisoned, max_rows=4, plain_generate=plain_generate)
    results = sample_all(sampler, sick + asked)
    for request in asked:
        assert results[request.prompt_id, request.k].token_ids == whole[request.prompt_id, request.k].token_ids
    for request in sick:
        result = results[request.prompt_id, request.k]
        assert (result.finish_reason, result.text, result.token_ids) == ("error", "", ())
        assert "overflowed" in result.error


@contextmanager
def memory_for(rows: int, policy: LoadedPolicy) -> Iterator[None]:
    """A device whose memory is full when more rows than this are read at once."""
    forward = policy.model.forward

    def limited(*args: Any, **kwargs: Any) -> Any:
        if kwargs["input_ids"].shape[0] > rows:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")
        return forward(*args, **kwargs)

    policy.model.forward = limited
    try:
        yield
    finally:
        policy.model.forward = forward


@BACKENDS
def test_too_little_memory_changes_no_text(
    llama: LoadedPolicy, whole: dict[tuple[str, int], SampleResult], plain_generate: bool
) -> None:
    sampler = TransformersSampler(llama, max_rows=128, plain_generate=plain_generate)
    with memory_for(2, llama):
        results = sample_all(sampler, requests_for(llama))
    assert tokens(results) == tokens(whole)
    assert 1 <= sampler.limits.rows < 10, "what was learned is kept"
    for _call in range(20):
        sample_all(sampler, requests_for(llama, k=1, max_new_tokens=1))
    assert sampler.limits == sampler.most, "and tried again little by little"


def test_when_the_machine_has_no_more_memory_fewer_are_sampled_at_a_time_and_no_text_changes(tmp_path: Path) -> None:
    """A limit of the operating system, in a process of its own."""
    save_tiny(tmp_path, num_key_value_heads=4, head_dim=128)
    command = [sys.executable, "-m", "tests.models_worker.starved", str(tmp_path)]
    told = subprocess.run(command, cwd=Path(__file__).parents[2], capture_output=True, text=True, check=False)
    assert told.returncode == 0, told.stderr
    found = json.loads(told.stdout)
    assert found["refused"] >= 1, "the limit was never felt"
    assert found["rows"] < found["asked"]
    assert found["equal"] == found["asked"]


def test_a_sample_that_needs_too_much_memory_alone_fails_alone(llama: LoadedPolicy) -> None:
    asked = requests_for(llama, k=1, max_new_tokens=5)
    longest = max(asked, key=lambda request: len(request.prompt_ids))
    forward, widest = llama.model.forward, len(longest.prompt_ids)

    def limited(*args: Any, **kwargs: Any) -> Any:
        if kwargs["input_ids"].shape[1] >= widest:
            raise RuntimeError("[enforce fail at alloc_cpu.cpp:127] DefaultCPUAllocator: can't allocate memory")
        return forward(*args, **kwargs)

    llama.model.forward = limited
    try:
        results = sample_all(TransformersSampler(llama), asked)
    finally:
        llama.model.forward = forward
    for request in asked:
        result = results[request.prompt_id, request.k]
        assert (result.finish_reason == "error") == (request is longest)
    assert "memory" in results[longest.prompt_id, 0].error


def test_other_errors_are_raised(llama: LoadedPolicy) -> None:
    def refuse(result: SampleResult) -> None:
        raise RuntimeError("the database is gone")

    with pytest.raises(RuntimeError, match="database is gone"):
        TransformersSampler(llama).sample(requests_for(llama), on_result=refuse)


@BACKENDS
def test_cancelling_stops_within_a_step(
    llama: LoadedPolicy, whole: dict[tuple[str, int], SampleResult], plain_generate: bool
) -> None:
    asked_at = results = 0
    forwards = 0
    forward = llama.model.forward

    def counted(*args: Any, **kwargs: Any) -> Any:
        nonlocal forwards
        forwards += 1
        return forward(*args, **kwargs)

    def cancelled() -> bool:
        nonlocal asked_at
        asked_at = forwards
        return forwards >= 12

    def keep(result: SampleResult) -> None:
        nonlocal results
        results += 1
        assert result.token_ids == whole[result.prompt_id, result.k].token_ids

    sampler = TransformersSampler(llama, plain_generate=plain_generate)
    llama.model.forward = counted
    try:
        sampler.sample(requests_for(llama), on_result=keep, cancelled=cancelled)
    finally:
        llama.model.forward = forward
    assert forwards == asked_at == 12
    assert results < len(whole)


def test_cancelled_before_it_began_it_does_nothing(llama: LoadedPolicy) -> None:
    results: list[SampleResult] = []
    TransformersSampler(llama).sample(requests_for(llama), on_result=results.append, cancelled=lambda: True)
    assert results == []


@pytest.mark.parametrize(
    ("prompt_ids", "max_new_tokens", "words"),
    [
        ((), 5, "empty"),
        ((5, 300), 5, "vocabulary of 300"),
        ((-1,), 5, "vocabulary of 300"),
        ((5,) * (MAX_MODEL_LEN - 4), 5, "at most 256"),
    ],
)
def test_what_cannot_be_sampled_is_refused_alone(
    llama: LoadedPolicy, prompt_ids: tuple[int, ...], max_new_tokens: int, words: str
) -> None:
    bad = SampleRequest("bad", 0, prompt_ids, SamplingParams(max_new_tokens=max_new_tokens), seed=1)
    good = requests_for(llama, k=1, max_new_tokens=3)
    results = sample_all(TransformersSampler(llama), [bad, *good])
    assert results["bad", 0].finish_reason == "error"
    assert words in results["bad", 0].error
    assert all(results[request.prompt_id, 0].error == "" for request in good)


def test_the_longest_prompt_that_fits_is_sampled(llama: LoadedPolicy) -> None:
    request = SampleRequest("full", 0, (5,) * (MAX_MODEL_LEN - 5), SamplingParams(max_new_tokens=5), seed=1)
    assert sample_all(TransformersSampler(llama), [request])["full", 0].error == ""


@pytest.mark.parametrize("share_prompts", [True, False], ids=["end to end", "side by side"])
def test_no_more_prompt_tokens_are_read_at_once_than_allowed(llama: LoadedPolicy, share_prompts: bool) -> None:
    asked = requests_for(llama)
    read: list[tuple[int, int]] = []
    forward = llama.model.forward

    def watched(*args: Any, **kwargs: Any) -> Any:
        read.append(tuple(kwargs["input_ids"].shape))
        return forward(*args, **kwargs)

    sampler = TransformersSampler(llama, prefill_tokens=130)
    sampler.share_prompts &= share_prompts
    llama.model.forward = watched
    try:
        sample_all(sampler, asked)
    finally:
        llama.model.forward = forward
    prompts = [(rows, width) for rows, width in read if width > 1]
    every = {each.prompt_id: len(each.prompt_ids) for each in asked}
    assert 1 < len(prompts) < len(every)
    # Each is read once for all its samples.
    if share_prompts:
        assert 0 <= sum(width for _rows, width in prompts) - sum(every.values()) <= 15 * len(prompts)
    else:
        assert sum(rows for rows, _width in prompts) == len(every)
    assert max(rows * width for rows, width in prompts) <= 130


def test_a_base_policys_answer_ends_with_its_turn(tmp_path: Path) -> None:
    """With the plain template nothing but the next turn's heading ends an answer."""
    policy = load_policy(str(save_tiny(tmp_path, template=None)), device="cpu")
    forget_policies()
    assert policy.template.name == "plain-v1"
    ending = TransformersSampler(policy).ending
    assert (ending.stop, ending.lead) == (policy.template.stop, " ")


def test_the_cache_stays_within_its_budget(llama: LoadedPolicy, monkeypatch: pytest.MonkeyPatch) -> None:
    sizes: list[int] = []
    room_for = decoding._room_for

    def weighed(*args: Any, **kwargs: Any) -> Any:
        arena, store = room_for(*args, **kwargs)
        buffers = [buffer for layer in arena.layers for buffer in (layer.keys, layer.values)]
        sizes.append(sum(buffer.nbytes for buffer in (*buffers, *store.keys, *store.values)))
        return arena, store

    monkeypatch.setattr(decoding, "_room_for", weighed)
    for budget in (400_000, 800_000):
        sample_all(TransformersSampler(llama, kv_budget_bytes=budget), requests_for(llama))
        assert 0.7 * budget < sizes[-1] <= budget


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"temperature": -0.1}, "temperature"),
        ({"temperature": float("nan")}, "temperature"),
        ({"temperature": 5.1}, "temperature"),
        ({"top_p": 0.0}, "top_p"),
        ({"top_p": 1.01}, "top_p"),
        ({"max_new_tokens": 0}, "at least one"),
        ({"stop": ("",)}, "Stop strings"),
        ({"stop": "END"}, "Stop strings"),
    ],
)
def test_parameters_that_make_no_sense_are_refused_in_words(wrong: dict[str, Any], words: str) -> None:
    with pytest.raises(InvalidParams, match=words):
        SamplingParams(**wrong)


@pytest.fixture(scope="module")
def two_ropes(tmp_path_factory: pytest.TempPathFactory) -> LoadedPolicy:
    """It reads with other frequencies from 65 tokens on, as the Phi-3 of long contexts does."""
    rope = {"rope_type": "longrope", "short_factor": [1.0] * 4, "long_factor": [3.0, 4.0, 5.0, 6.0], "factor": 4.0}
    rope |= {"original_max_position_embeddings": 64, "rope_theta": 1e4}
    changes = {"rope_parameters": rope, "original_max_position_embeddings": 64, "sliding_window": None}
    folder = save_tiny(tmp_path_factory.mktemp("two_ropes"), "phi3", **changes)
    policy = load_policy(str(folder), device="cpu")
    forget_policies()
    return policy


@BACKENDS
def test_a_model_of_two_ropes_reads_each_sample_by_its_own_length(
    two_ropes: LoadedPolicy, plain_generate: bool
) -> None:
    """Short ones stay short in the company of long ones, and one that grows beyond the switch is as if alone."""
    first = requests_for(two_ropes, max_new_tokens=20)[0]
    lengths = (100, 1, 17, 44, 33, 2, 50, 150, 60, 64, 65)
    asked = [
        replace(first, prompt_id=str(length), k=k, prompt_ids=(5, *range(6, 5 + length)), seed=10 * length + k)
        for length in lengths
        for k in range(2)
    ]
    together = sample_all(TransformersSampler(two_ropes, plain_generate=plain_generate), asked)
    one_by_one = TransformersSampler(two_ropes, plain_generate=True)
    for request in asked:
        (alone,) = sample_all(one_by_one, [request]).values()
        found = together[request.prompt_id, request.k]
        assert found.token_ids == alone.token_ids
        assert found.logprobs == pytest.approx(alone.logprobs, abs=1e-4)
        engine = {"engine": "transformers-generate"} if len(request.prompt_ids) > 44 and not plain_generate else {}
        assert found.provenance == engine
    assert not any(result.error for result in together.values())
    assert any(64 - len(result.token_ids) < int(prompt) <= 64 for (prompt, _k), result in together.items())


def test_what_is_asked_for_late_is_sampled_alone_where_the_model_would_switch(two_ropes: LoadedPolicy) -> None:
    first = requests_for(two_ropes, max_new_tokens=20)[0]
    late = [replace(first, prompt_id="late", k=k, prompt_ids=(5, 6) * 40, seed=k) for k in range(2)]
    calm = sample_all(TransformersSampler(two_ropes), late)
    results: dict[tuple[str, int], SampleResult] = {}

    def hear(result: SampleResult) -> list[SampleRequest]:
        results[result.prompt_id, result.k] = result
        return late if result.prompt_id != "late" else []

    short = replace(first, prompt_ids=(5, 6, 7))
    TransformersSampler(two_ropes).sample([short], on_result=hear)
    del results[short.prompt_id, short.k]
    assert tokens(results) == tokens(calm)
