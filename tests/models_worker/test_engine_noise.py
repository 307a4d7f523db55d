"""The draws follow the distribution they are said to follow, and depend on nothing but seed, step and token."""

import pytest
import torch

from models_worker.engine.noise import Draws, draw, gumbel, nucleus, stream_of
from models_worker.engine.params import derive_seed


def draws_for(seeds: torch.Tensor, *, temperature: float = 1.0, top_p: float = 1.0) -> Draws:
    draws = Draws.empty(len(seeds), torch.device("cpu"))
    draws.seed[:] = seeds
    draws.temperature[:] = temperature
    draws.top_p[:] = top_p
    return draws


def chi_squared(tokens: torch.Tensor, expected: torch.Tensor) -> float:
    """Pearson's statistic per degree of freedom; about 1 when the tokens come from `expected`."""
    possible = expected > 0
    observed = torch.bincount(tokens, minlength=len(expected)).double()
    assert observed[~possible].sum() == 0
    wanted = expected.double() * len(tokens)
    return float(((observed - wanted)[possible] ** 2 / wanted[possible]).sum() / (int(possible.sum()) - 1))


@pytest.mark.parametrize("top_p", [1.0, 0.8])
@pytest.mark.parametrize("temperature", [0.6, 1.0, 1.5])
def test_consecutive_seeds_draw_from_the_distribution(temperature: float, top_p: float) -> None:
    logits = torch.randn(1, 40, generator=torch.Generator().manual_seed(1))
    seeds = torch.arange(50_000)
    drawn = draw(logits.expand(len(seeds), -1), draws_for(seeds, temperature=temperature, top_p=top_p))
    scaled = logits / temperature
    expected = nucleus(scaled, torch.tensor([top_p])).softmax(-1)[0]
    # 16 to 39 degrees of freedom: beyond 2 once in thousands of runs, and the seeds are fixed.
    assert chi_squared(drawn.tokens, expected) < 2
    assert torch.allclose(drawn.logprobs, logits.log_softmax(-1)[0, drawn.tokens], atol=1e-5)


def test_steps_and_neighbouring_seeds_are_independent() -> None:
    logits = torch.zeros(50_000, 6)
    seeds = torch.arange(50_000) * 2
    draws = draws_for(seeds)
    first, second = draw(logits, draws).tokens, draw(logits, draws).tokens
    neighbour = draw(logits, draws_for(seeds + 1)).tokens
    for other in (second, neighbour):
        assert chi_squared(first * 6 + other, torch.full((36,), 1 / 36)) < 2


def test_noise_is_gumbel_finite_and_never_the_same_at_the_start() -> None:
    noise = gumbel(stream_of(torch.arange(2000), torch.zeros(2000, dtype=torch.int64)), 1000)
    assert noise.isfinite().all()
    assert float(noise.mean()) == pytest.approx(0.57722, abs=0.005)
    assert float(noise.var()) == pytest.approx(1.64493, abs=0.01)
    # As many as 2 million draws should have: the far tail decides rare tokens of a large vocabulary.
    assert float(noise.max()) == pytest.approx(14.5, abs=3)
    assert len(noise.argmax(-1).unique()) > 800


def test_a_wider_vocabulary_or_batch_changes_no_noise() -> None:
    alone = gumbel(stream_of(torch.tensor([9]), torch.tensor([4])), 10)
    among = gumbel(stream_of(torch.tensor([3, 9, 1]), torch.tensor([0, 4, 4])), 50)
    assert torch.equal(alone[0], among[1, :10])


def test_the_nucleus_is_the_smallest_set_that_holds_top_p() -> None:
    logits = torch.tensor([[0.1, 0.5, 0.15, 0.25]]).log().expand(4, -1)
    kept = nucleus(logits, torch.tensor([0.5, 0.51, 0.8, 1.0], dtype=torch.float64)).isfinite()
    assert kept.tolist() == [
        [False, True, False, False],
        [False, True, False, True],
        [False, True, True, True],
        [True, True, True, True],
    ]


def test_top_p_1_keeps_all_although_float_sums_pass_1() -> None:
    logits = torch.tensor([[0.0, 0.0, 0.0, -20.0]])
    assert logits.softmax(-1).double().sum() > 1
    assert nucleus(logits, torch.tensor([1.0], dtype=torch.float64)).isfinite().all()


def test_a_row_with_numbers_that_are_no_distribution_is_broken_alone() -> None:
    nan, inf = torch.nan, torch.inf
    logits = torch.tensor([[1.0, 2.0], [nan, 0.0], [inf, 0.0], [-inf, -inf], [-inf, 0.0]])
    drawn = draw(logits, draws_for(torch.arange(5), top_p=0.9))
    assert drawn.broken.tolist() == [False, True, True, True, False]
    assert drawn.tokens[4] == 1


def test_a_seed_is_the_same_everywhere_and_another_for_each_sample() -> None:
    assert derive_seed(7, "1", "42", 0) == 459525047
    seeds = {
        derive_seed(job, revision, prompt, k, attempt)
        for job in (1, 2)
        for revision in ("1", "2")
        for prompt in ("1", "11")
        for k in (1, 2)
        for attempt in (0, 1)
    }
    assert len(seeds) == 32
    assert all(0 <= seed < 2**31 for seed in seeds)
