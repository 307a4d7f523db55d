"""The policy and the prompts that a new platform starts with."""

import json
from collections import Counter
from hashlib import sha256
from pathlib import Path
from random import Random

import pytest

from annotate.pools.importers.prompts import draft_of
from annotate.pools.models import Category, Kind, Source
from annotate.pools.rules import Prepared, prepare
from models_worker import demo_policy
from models_worker.demo_policy import train
from models_worker.demo_policy.corpus import FAMILIES, examples
from models_worker.engine.loader import LoadedPolicy, forget_policies, load_policy
from models_worker.engine.params import derive_seed
from models_worker.engine.transformers_engine import TransformersSampler
from models_worker.engine.types import SampleRequest, SamplingParams
from tests.models_worker.tiny import sample_all

FOLDER = Path(demo_policy.__file__).parent
WEIGHTS = FOLDER / "weights"


@pytest.fixture(scope="module")
def prompts() -> list[Prepared]:
    lines = (FOLDER / "prompts.jsonl").read_text().splitlines()
    return [prepare(draft_of(json.loads(line), {})) for line in lines]


@pytest.fixture(scope="module")
def policy() -> LoadedPolicy:
    loaded = load_policy(str(WEIGHTS), device="cpu")
    forget_policies()
    return loaded


def test_the_weights_are_those_that_were_recorded() -> None:
    recorded = dict(reversed(line.split()) for line in (FOLDER / "SHA256SUMS").read_text().splitlines())
    found = {f"weights/{path.name}": sha256(path.read_bytes()).hexdigest() for path in WEIGHTS.iterdir()}
    assert found == recorded


def test_all_of_it_is_small_enough_for_the_repository() -> None:
    assert sum(path.stat().st_size for path in FOLDER.rglob("*") if path.suffix not in (".py", ".pyc")) < 2_000_000


def test_the_prompts_show_what_a_pool_can_hold(prompts: list[Prepared]) -> None:
    drafts = [prompt.draft for prompt in prompts]
    assert len({prompt.content_hash for prompt in prompts}) == len(prompts) == 60
    assert {draft.category for draft in drafts} == set(Category.values)
    assert {draft.kind for draft in drafts} == set(Kind.values)
    customers = Counter(draft.source_user for draft in drafts if draft.source == Source.CUSTOMER)
    assert len(customers) == 8
    assert customers.total() >= 20
    assert {draft.source_user for draft in drafts if draft.source == Source.LABELER} == {""}
    assert {(draft.language, draft.licence) for draft in drafts} == {("en", "CC0-1.0")}
    assert any(prompt.shots for prompt in prompts)
    assert any(len(prompt.messages) > 2 for prompt in prompts)
    assert len({draft.category for draft in drafts[:8]}) >= 5


def test_the_policy_answers_the_prompts_in_more_than_one_way(policy: LoadedPolicy, prompts: list[Prepared]) -> None:
    params = SamplingParams(top_p=0.95, max_new_tokens=96)
    asked = [
        SampleRequest(
            prompt_id=str(number),
            k=k,
            prompt_ids=policy.render(prompt.messages, max_new_tokens=96).ids,
            params=params,
            seed=derive_seed(1, "1", str(number), k),
        )
        for number, prompt in enumerate(prompts)
        for k in range(6)
    ]
    sampler = TransformersSampler(policy)
    assert sampler.provenance["engine"] == "transformers-arena"
    results = sample_all(sampler, asked)
    reasons = Counter(result.finish_reason for result in results.values())
    assert reasons["stop"] > 0.97 * len(asked)
    assert all(result.text.strip() for result in results.values())
    distinct = [len({results[str(number), k].text for k in range(6)}) for number in range(len(prompts))]
    assert sum(count >= 3 for count in distinct) > 0.8 * len(prompts)
    assert all("dragon" in results["0", k].text for k in range(6)), "a story about a dragon"


def test_the_corpus_is_the_same_each_time_and_answers_a_user() -> None:
    assert list(examples(50, seed=3)) == list(examples(50, seed=3)) != list(examples(50, seed=4))
    for family, _weight in FAMILIES:
        for seed in range(30):
            example = family(Random(seed))
            assert example.turns[-1][0] == "user"
            assert all(text.strip() and "{" not in text for text in (example.answer, *dict(example.turns).values()))


def test_training_writes_a_policy_that_can_be_loaded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(train, "STEPS", 2)
    monkeypatch.setattr(train, "EXAMPLES", 300)
    train.train(tmp_path)
    policy = load_policy(str(tmp_path), device="cpu")
    forget_policies()
    prompt = policy.render([{"role": "user", "content": "Hello!"}], max_new_tokens=4)
    assert prompt.text == "<|user|>\nHello!<|end|>\n<|assistant|>\n"
    request = SampleRequest("hello", 0, prompt.ids, SamplingParams(max_new_tokens=4), seed=1)
    assert sample_all(TransformersSampler(policy), [request])["hello", 0].error == ""
