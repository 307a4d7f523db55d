"""Krippendorff's alpha: agreement of any number of people, corrected for chance.

K. Krippendorff (2011), Computing Krippendorff's Alpha-Reliability. Input: counts (units, V) of the values of each unit.
"""

from typing import Literal

import numpy as np
import numpy.typing as npt

Numbers = npt.NDArray[np.float64]
Level = Literal["nominal", "ordinal", "interval", "ratio"]


def coincidences(counts: npt.NDArray[np.int64]) -> Numbers:
    """(units, V) to (units, V, V): o_ck = number of ordered pairs of values c and k in the unit, over m_u - 1.

    Zeros for a unit with one value. Coincidences of units add up.
    """
    numbers = counts.astype(np.float64)
    others = np.maximum(numbers.sum(axis=1) - 1, 1)
    ordered = numbers[:, :, None] * numbers[:, None, :]
    values = np.arange(counts.shape[1])
    ordered[:, values, values] -= numbers
    return np.asarray(ordered / others[:, None, None])


def alpha(observed: Numbers, *, level: Level, values: Numbers) -> Numbers:
    """1 - (n - 1) * sum(o_ck d_ck) / sum(n_c n_k d_ck) for coincidences of shape (..., V, V); the result is (...).

    d is 1 for different values (nominal), (sum of n_g from c to k - (n_c + n_k)/2)^2 (ordinal), (c - k)^2 (interval)
    or ((c - k)/(c + k))^2 (ratio). NaN if there are fewer than two different values.
    Krippendorff's example C, 4 people on 12 units: nominal .743, ordinal .815, interval .849, ratio .797.
    """
    margins = observed.sum(axis=-1)
    total = margins.sum(axis=-1)
    distance = _distance(margins, level, values)
    disagreement = (observed * distance).sum(axis=(-1, -2))
    expected = (margins[..., :, None] * margins[..., None, :] * distance).sum(axis=(-1, -2))
    ratio = np.divide(disagreement, expected, out=np.full_like(expected, np.nan), where=expected > 0)
    return np.asarray(1 - (total - 1) * ratio)


def _distance(margins: Numbers, level: Level, values: Numbers) -> Numbers:
    between = values[:, None] - values[None, :]
    match level:
        case "nominal":
            return np.asarray(between != 0, dtype=np.float64)
        case "interval":
            squares: Numbers = between**2
            return squares
        case "ratio":
            sums = values[:, None] + values[None, :]
            return np.asarray(np.divide(between, sums, out=np.zeros_like(between), where=sums != 0) ** 2)
        case "ordinal":
            # Differences of midpoints of running sums.
            middle = np.cumsum(margins, axis=-1) - margins / 2
            return np.asarray((middle[..., :, None] - middle[..., None, :]) ** 2)
