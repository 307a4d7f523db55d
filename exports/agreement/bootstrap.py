"""Intervals that weigh prompts at random; never pairs, because the pairs of a ranking depend on each other.

The weights are those of the Bayesian bootstrap (Rubin 1981, Annals of Statistics 9(1)). By itself it has no width where
every prompt says the same, such as 25 prompts of full agreement. So each end of an interval counts one prompt more than
there are, with the most extreme value that a prompt can have: the lower end one of complete disagreement, the upper end
one of complete agreement. For the mean of values in a bounded range this is Gaffke's bound (Gaffke 2005, Mathematical
Methods of Statistics 14(4); Learned-Miller and Thomas 2019, arXiv 1905.06208).
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Numbers = npt.NDArray[np.float64]
# Below this an interval says more about the formula than about the people.
PROMPTS_NEEDED = 20
REPLICATES = 10_000
# Numbers drawn at a time: bounds the memory, whatever the number of prompts.
DRAWN_AT_ONCE = 2_000_000


@dataclass(frozen=True)
class Estimate:
    """A statistic with its 95% interval. `value` is None where the statistic is undefined, the interval where there
    are too few prompts to give one."""

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
    """Estimates of the S statistics that `statistic` makes of summed columns.

    `sums` has a row for each prompt (P, F); `statistic` takes R weighted sums of prompts (R, F) and returns (R, S),
    with NaN where undefined. `worst` and `best` are rows (F,) of a prompt that makes each statistic as low, or as high,
    as one prompt can. `countable` (S,) says on how many prompts each statistic rests: one with fewer than
    PROMPTS_NEEDED gets no interval. The same seed gives the same interval.

    With independent weights w ~ Exp(1) for each prompt i and w_0 for the added one:
    low = the 2.5th percentile of statistic(w_0 worst + sum_i w_i sums_i),
    high = the 97.5th percentile of statistic(w_0 best + sum_i w_i sums_i).
    A prompt that does not count has zeros in the columns of a statistic, so its weight does not matter.

    Where every prompt agrees completely or not at all this is the interval of Clopper and Pearson (1934): of 25 prompts
    that all agree, low = .025^(1/25) = .863 and high = 1; of 25 of which 24 agree, .796 and .999. With many prompts it
    becomes the ordinary bootstrap interval; with few it is wider. bench/agreement.py measures how often it holds.
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
    # Sums of many weights are not exact: without rounding an end could lie beyond 1.
    ends = zip(np.round(low, 12), np.round(high, 12), strict=True)
    return [
        Estimate(float(value), float(min(start, value)), float(max(end, value)))
        if number >= PROMPTS_NEEDED and not np.isnan(value)
        else Estimate(_number(value))
        for value, number, (start, end) in zip(values, countable, ends, strict=True)
    ]


def _weights(prompts: int, replicates: int, seed: int) -> Iterator[tuple[Numbers, Numbers]]:
    """The weights of the added prompt (a few replicates, 1) and of the prompts (a few replicates, P) at a time."""
    random = np.random.default_rng(seed)
    at_once = max(1, DRAWN_AT_ONCE // prompts)
    for start in range(0, replicates, at_once):
        drawn = random.standard_exponential((min(at_once, replicates - start), prompts + 1))
        yield drawn[:, :1], drawn[:, 1:]


def _number(value: float) -> float | None:
    return None if np.isnan(value) else float(value)
