"""What is compiled for the CPU computes what torch computes, row by row."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from models_worker.engine import cpu
from models_worker.engine.loader import load_policy
from models_worker.engine.noise import gumbel, stream_of
from models_worker.engine.transformers_engine import TransformersSampler
from tests.models_worker.tiny import requests_for, sample_all, save_tiny

ROWS, SLOTS, HEADS, QUERIES, DIM, VALUE_DIM, COLUMNS, OWN = 7, 3, 2, 3, 12, 10, 37, 23
END = 21
TYPES = pytest.mark.parametrize("dtype", cpu.TYPES, ids=str)


@pytest.fixture(params=[1, 3], ids=["one thread", "three threads"])
def threads(request: pytest.FixtureRequest) -> Iterator[int]:
    before = torch.get_num_threads()
    torch.set_num_threads(request.param)
    yield request.param
    torch.set_num_threads(before)


class Scene:
    """Seven rows of three prompts, the longest as wide as the store, one prompt of a single token."""

    def __init__(self, dtype: torch.dtype) -> None:
        drawn = torch.Generator().manual_seed(3)

        def numbers(*shape: int) -> Tensor:
            return (2 * torch.randn(*shape, generator=drawn)).to(dtype)

        self.query = numbers(ROWS, HEADS, QUERIES, DIM)
        begins = torch.tensor([0, COLUMNS - 1, 11])
        self.prompts = cpu.Keep(numbers(SLOTS, HEADS, DIM, COLUMNS), numbers(SLOTS, HEADS, COLUMNS, VALUE_DIM), begins)
        starts = torch.tensor([0, 20, 3, 17, 9, 9, 12])
        self.own = cpu.Keep(numbers(ROWS, HEADS, OWN, DIM), numbers(ROWS, HEADS, OWN, VALUE_DIM), starts)
        self.slot_of = np.array([2, 0, 1, 0, 2, 2, 0])
        order = np.argsort(self.slot_of, kind="stable")
        self.seats = cpu.Seats(order, self.slot_of[order])

    def found(self, window: int | None = None) -> Tensor:
        return cpu.attend(self.query, self.prompts, self.own, self.seats, end=END, scale=0.3, window=window)

    def expected(self, window: int | None = None) -> Tensor:
        rows = []
        for row, slot in enumerate(self.slot_of):
            begin, start = int(self.prompts.begins[slot]), int(self.own.begins[row])
            before = self.prompts.keys[slot, :, :, begin:].transpose(-1, -2)
            keys = torch.cat([before, self.own.keys[row, :, start:END]], 1).double()
            values = torch.cat([self.prompts.values[slot, :, begin:], self.own.values[row, :, start:END]], 1).double()
            last = slice(-window if window else None, None)
            weights = torch.softmax(0.3 * self.query[row].double() @ keys[:, last].transpose(-1, -2), -1)
            rows.append(weights @ values[:, last])
        return torch.stack(rows)


@TYPES
@pytest.mark.parametrize("window", [None, 60, 14, 2, 1])
def test_attention_is_that_of_all_its_tokens_in_a_row(dtype: torch.dtype, window: int | None, threads: int) -> None:
    scene = Scene(dtype)
    found = scene.found(window)
    assert found.dtype == dtype
    # Of a bfloat16 only the answer is rounded.
    tolerance = 1e-5 if dtype == torch.float32 else 0.02
    assert (found.double() - scene.expected(window)).abs().max() < tolerance


@TYPES
def test_what_is_not_a_number_stays_in_its_row(dtype: torch.dtype) -> None:
    scene = Scene(dtype)
    before = scene.found()
    scene.own.keys[4, 0, 15] = float("nan")
    scene.own.values[2, 1, 20] = float("inf")
    after = scene.found()
    assert after[4, 0].isnan().all()
    assert not after[2, 1].isfinite().any()
    after[4, 0], after[2, 1] = before[4, 0], before[2, 1]
    assert torch.equal(after, before)


@pytest.mark.parametrize(
    "other",
    [
        {"query": torch.zeros(ROWS, HEADS + 1, QUERIES, DIM)},
        {"query": torch.zeros(ROWS, HEADS, QUERIES, DIM + 4)},
        {"query": torch.zeros(ROWS - 1, HEADS, QUERIES, DIM)},
        {"seats": cpu.Seats(np.arange(ROWS + 1), np.zeros(ROWS + 1, np.int64))},
        {"own": cpu.Keep(torch.zeros(ROWS - 1, HEADS, OWN, DIM), torch.zeros(ROWS - 1, HEADS, OWN, VALUE_DIM), None)},
        {"own": cpu.Keep(torch.zeros(ROWS, HEADS, OWN, DIM), torch.zeros(ROWS, 1, OWN, VALUE_DIM), None)},
    ],
    ids=["heads", "size", "fewer queries", "seats", "rows", "heads of values"],
)
def test_nothing_is_read_beyond_what_is_kept(other: dict[str, Any]) -> None:
    scene = Scene(torch.float32)
    for name, value in other.items():
        setattr(scene, name, value)
    with pytest.raises(ValueError, match="than what is kept"):
        scene.found()


def test_columns_that_no_row_uses_are_not_read() -> None:
    scene = Scene(torch.float32)
    before = scene.found()
    scene.prompts.keys[1, :, :, : COLUMNS - 1] = scene.prompts.values[2, :, :11] = float("nan")
    scene.own.keys[:, :, END:] = scene.own.values[1, :, :20] = float("nan")
    assert torch.equal(scene.found(), before)


@TYPES
@pytest.mark.parametrize("vocabulary", [1, 1000, 1024, 2051])
def test_the_token_is_that_of_the_noise_of_torch(dtype: torch.dtype, vocabulary: int, threads: int) -> None:
    logits = (3 * torch.randn(200, vocabulary, generator=torch.Generator().manual_seed(1))).to(dtype)
    temperature = torch.tensor([0.7, 1.0, 1.9, 0.0]).repeat(50)
    stream = stream_of(torch.arange(200) * 11, torch.arange(200) % 5)
    noise = gumbel(stream, vocabulary)
    noise[3::4] = 0
    sums = logits.float() / temperature.where(temperature > 0, 1.0)[:, None] + noise
    tokens = cpu.pick(logits, temperature, stream)
    # Where two are as good as equal, either.
    best, taken = sums.max(-1).values, sums.gather(1, tokens[:, None])[:, 0]
    assert (best - taken).max() < 1e-5
    assert (tokens == sums.argmax(-1)).float().mean() > 0.99
    assert torch.equal(tokens[3::4], logits[3::4].float().argmax(-1))


def test_what_is_ruled_out_is_never_drawn() -> None:
    logits = torch.full((500, 2000), -torch.inf)
    logits[:, [3, 1999]] = torch.tensor([0.0, 0.1])
    tokens = cpu.pick(logits, torch.ones(500), stream_of(torch.arange(500), torch.zeros(500, dtype=torch.int64)))
    assert set(tokens.tolist()) == {3, 1999}


@TYPES
def test_log_sum_exp_is_that_of_torch(dtype: torch.dtype, threads: int) -> None:
    logits = (20 * torch.randn(6, 3001, generator=torch.Generator().manual_seed(2))).to(dtype)
    logits[1, 5:] = -torch.inf
    logits[2] += 3e4
    expected = logits.double().logsumexp(-1)
    assert torch.allclose(cpu.log_sum_exp(logits).double(), expected, rtol=1e-6, atol=1e-5)


@TYPES
@pytest.mark.parametrize("bad", [float("nan"), -float("nan"), float("inf")])
@pytest.mark.parametrize("at", [0, 1500, 2999])
def test_a_row_that_is_no_distribution_shows_it(dtype: torch.dtype, bad: float, at: int) -> None:
    logits = torch.zeros(3, 3000, dtype=dtype)
    logits[1, at] = bad
    logits[2] = -torch.inf
    assert cpu.log_sum_exp(logits).isfinite().tolist() == [True, False, False]
    streams = stream_of(torch.arange(3), torch.arange(3))
    assert all(0 <= token < 3000 for token in cpu.pick(logits, torch.ones(3), streams).tolist())


WITHOUT = """
import json, sys
sys.modules["numba"] = None  # importing it fails
from models_worker.engine import cpu
from models_worker.engine.loader import load_policy
from models_worker.engine.transformers_engine import TransformersSampler
from tests.models_worker.tiny import requests_for, sample_all
policy = load_policy(sys.argv[1])
sampler = TransformersSampler(policy)
texts = {f"{name}/{k}": result.text for (name, k), result in sample_all(sampler, requests_for(policy)).items()}
print(json.dumps([cpu.ENABLED, sampler.provenance["engine"], texts]))
"""


def test_the_engine_writes_the_same_texts_without_the_compiled_functions(tmp_path: Path) -> None:
    folder = save_tiny(tmp_path / "tiny")
    run = subprocess.run(
        [sys.executable, "-c", WITHOUT, str(folder)],
        env=os.environ | {"CPU_KERNELS": "0"},
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    enabled, engine, texts = json.loads(run.stdout.splitlines()[-1])
    assert (enabled, engine) == (False, "transformers-arena")
    policy = load_policy(str(folder))
    results = sample_all(TransformersSampler(policy), requests_for(policy))
    assert texts == {f"{name}/{k}": result.text for (name, k), result in results.items()}
