"""Percentile intervals by drawing prompts again; never pairs, because the pairs of a ranking depend on each other."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Numbers = npt.NDArray[np.float64]
# Below this an interval says more about the formula than about the people.
PROMPTS_NEEDED = 20
REPLICATES = 2000
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
    sums: Numbers, statistic: Callable[[Numbers], Numbers], *, seed: int, replicates: int = REPLICATES
) -> list[Estimate]:
    """Estimates of the S statistics that `statistic` makes of summed columns.

    `sums` has a row for each prompt (P, F); `statistic` takes (R, F), the sums of R samples of prompts, and returns
    (R, S) with NaN where undefined. Each replicate draws P prompts with replacement (Efron and Tibshirani 1993, 13.3);
    replicates in which a statistic is undefined are left out of its interval. The same seed gives the same interval.
    """
    values = statistic(sums.sum(axis=0, keepdims=True))[0]
    if len(sums) < PROMPTS_NEEDED:
        return [Estimate(_number(value)) for value in values]
    drawn = np.concatenate([statistic(weights @ sums) for weights in _draws(len(sums), replicates, seed)])
    found = []
    for value, column in zip(values, drawn.T, strict=True):
        defined = column[~np.isnan(column)]
        low, high = np.percentile(defined, [2.5, 97.5]) if len(defined) else (np.nan, np.nan)
        found.append(Estimate(_number(value), _number(low), _number(high)))
    return found


def _draws(prompts: int, replicates: int, seed: int) -> Iterator[Numbers]:
    """How often each prompt is drawn, (a few replicates, P) at a time."""
    random = np.random.default_rng(seed)
    at_once = max(1, DRAWN_AT_ONCE // prompts)
    for start in range(0, replicates, at_once):
        size = min(at_once, replicates - start)
        drawn = random.integers(prompts, size=(size, prompts)) + np.arange(size)[:, None] * prompts
        yield np.bincount(drawn.ravel(), minlength=size * prompts).reshape(size, prompts).astype(np.float64)


def _number(value: float) -> float | None:
    return None if np.isnan(value) else float(value)
