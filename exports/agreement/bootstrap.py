"""Intervals by random weights of prompts, not of pairs: the pairs of a ranking are dependent.

The Bayesian bootstrap (Rubin 1981) gives intervals without width if all prompts have one
value. So each end includes one more prompt, of the worst or best possible value. For means of bounded values this is
Gaffke's bound (Learned-Miller and Thomas 2019, arXiv 1905.06208).
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Numbers = npt.NDArray[np.float64]
PROMPTS_NEEDED = 20
REPLICATES = 10_000
# Random numbers in memory at a time.
DRAWN_AT_ONCE = 2_000_000


@dataclass(frozen=True)
class Estimate:
    """With a 95% interval. None: undefined, or too few prompts for an interval."""

    value: float | None
    low: float | None = None
    high: float | None = None


def estimates(
    sums: Numbers,
    statistic: Callable[[Numbers], Numbers],
    *,
    worst: Numbers,
    best: Numbers,
    countable: Sequence[int],
    seed: int,
    replicates: int = REPLICATES,
) -> list[Estimate]:
    """Estimate S statistics of weighted sums over prompts.

    sums: (P, F), a row per prompt, zeros where it does not count. statistic: (R, F) to (R, S), NaN if undefined. worst,
    best: (F,), extreme prompts. countable: (S,), prompts that count; no interval below PROMPTS_NEEDED.

    With independent weights w_0, w_i ~ Exp(1):
    low = 2.5th percentile of statistic(w_0 worst + sum_i w_i sums_i),
    high = 97.5th percentile of statistic(w_0 best + sum_i w_i sums_i).

    For values 0 and 1 this is the interval of Clopper and Pearson (1934): for 25 of 25 prompts .025^(1/25) = .863 to 1,
    for 24 of 25 .796 to .999. bench/agreement.py measures the coverage.
    """
    values = statistic(sums.sum(axis=0, keepdims=True))[0]
    if max(countable, default=0) < PROMPTS_NEEDED:
        return [Estimate(_number(value)) for value in values]
    lows, highs = [], []
    for added, weights in _weights(len(sums), replicates, seed):
        drawn = weights @ sums
        lows.append(statistic(drawn + added * worst))
        highs.append(statistic(drawn + added * best))
    low = np.percentile(np.concatenate(lows), 2.5, axis=0)
    high = np.percentile(np.concatenate(highs), 97.5, axis=0)
    # Rounding keeps ends within 1.
    ends = zip(np.round(low, 12), np.round(high, 12), strict=True)
    return [
        Estimate(float(value), float(min(start, value)), float(max(end, value)))
        if number >= PROMPTS_NEEDED and not np.isnan(value)
        else Estimate(_number(value))
        for value, number, (start, end) in zip(values, countable, ends, strict=True)
    ]


def _weights(prompts: int, replicates: int, seed: int) -> Iterator[tuple[Numbers, Numbers]]:
    """Batches of weights of the added prompt (R, 1) and of the prompts (R, P)."""
    random = np.random.default_rng(seed)
    at_once = max(1, DRAWN_AT_ONCE // prompts)
    for start in range(0, replicates, at_once):
        drawn = random.standard_exponential((min(at_once, replicates - start), prompts + 1))
        yield drawn[:, :1], drawn[:, 1:]


def _number(value: float) -> float | None:
    return None if np.isnan(value) else float(value)
