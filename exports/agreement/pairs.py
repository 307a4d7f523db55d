"""How often two people who ranked the same candidates order a pair of them alike. Arrays in, arrays out.

Ranks of n people are an int array of shape (n, K); only their order matters. Counts are an int array of shape (n, 5):
of the C(K,2) pairs, how many both order alike, how many they order against each other, how many only the first calls
a tie, how many only the second, and how many both.
"""

from enum import StrEnum

import numpy as np
import numpy.typing as npt

Ranks = npt.NDArray[np.int64]
Counts = npt.NDArray[np.int64]
Numbers = npt.NDArray[np.float64]


class TieRule(StrEnum):
    """What a pair counts for that somebody calls a tie. The published rates name different rules, or none."""

    EXCLUDE = "exclude"
    HALF = "half"
    STRICT = "strict"


def count(first: Ranks, second: Ranks) -> Counts:
    """Compare row by row: first and second are (n, K), the result is (n, 5).

    Ranks 1 2 3 4 against 1 2 2 3: five pairs alike, none against, and one that only the second calls a tie.
    """
    i, j = np.triu_indices(first.shape[1], k=1)
    one = np.sign(first[:, i] - first[:, j])
    two = np.sign(second[:, i] - second[:, j])
    alike, against = one * two > 0, one * two < 0
    only_first, only_second, both = (one == 0) & (two != 0), (one != 0) & (two == 0), (one == 0) & (two == 0)
    return np.stack([kind.sum(axis=1) for kind in (alike, against, only_first, only_second, both)], axis=1)


def credit(counts: Counts, rule: TieRule) -> tuple[Numbers, Numbers]:
    """Agreement as (numerators, denominators), each of shape (n,).

    - exclude: a pair that anybody calls a tie is not counted (Stiennon et al., arXiv 2009.01325, C.2);
    - half: both say tie counts 1, only one says so 1/2 (WebGPT, arXiv 2112.09332, C; LIMA, arXiv 2305.11206, 4.1);
    - strict: three answers, better, worse and tie, and only the same one counts; chance is 1/3.

    Ranks 1 2 3 4 against 1 2 2 3: exclude 5/5, half 5.5/6 = .917, strict 5/6 = .833.
    """
    alike, against, only_first, only_second, both = (column.astype(np.float64) for column in counts.T)
    all_pairs = alike + against + only_first + only_second + both
    match rule:
        case TieRule.EXCLUDE:
            return alike, alike + against
        case TieRule.HALF:
            return alike + both + (only_first + only_second) / 2, all_pairs
        case TieRule.STRICT:
            return alike + both, all_pairs


def tau_b(counts: Counts) -> Numbers:
    """Kendall's tau-b, shape (n,): (C - D) / sqrt((C + D + T1)(C + D + T2)), T1 and T2 the pairs only one calls a tie.

    NaN where one of the two calls every pair a tie (Kendall 1945; as in scipy.stats.kendalltau).
    Ranks 1 2 3 4 against 1 2 2 3: 5 / sqrt(6 * 5) = .913.
    """
    alike, against, only_first, only_second, _both = (column.astype(np.float64) for column in counts.T)
    ordered = alike + against
    scale = np.sqrt((ordered + only_first) * (ordered + only_second))
    return np.asarray(np.divide(alike - against, scale, out=np.full(len(counts), np.nan), where=scale > 0))
