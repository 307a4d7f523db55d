"""Compare two rankings pair by pair.

Ranks are int (n, K); only their order matters. Counts are int (n, 5): pairs ordered alike, ordered differently, tied by
the first person only, by the second only, by both.
"""

from enum import StrEnum

import numpy as np
import numpy.typing as npt

Ranks = npt.NDArray[np.int64]
Counts = npt.NDArray[np.int64]
Numbers = npt.NDArray[np.float64]


class TieRule(StrEnum):
    """See `credit`."""

    EXCLUDE = "exclude"
    HALF = "half"
    STRICT = "strict"


def count(first: Ranks, second: Ranks) -> Counts:
    """(n, K) and (n, K) to (n, 5). Ranks 1 2 3 4 against 1 2 2 3 give 5 0 0 1 0."""
    i, j = np.triu_indices(first.shape[1], k=1)
    one = np.sign(first[:, i] - first[:, j])
    two = np.sign(second[:, i] - second[:, j])
    alike, against = one * two > 0, one * two < 0
    only_first, only_second, both = (one == 0) & (two != 0), (one != 0) & (two == 0), (one == 0) & (two == 0)
    return np.stack([kind.sum(axis=1) for kind in (alike, against, only_first, only_second, both)], axis=1)


def credit(counts: Counts, rule: TieRule) -> tuple[Numbers, Numbers]:
    """(numerators, denominators), each (n,).

    - exclude: without ties (Stiennon et al., arXiv 2009.01325, C.2);
    - half: a tie of both counts 1, of one 1/2 (WebGPT, arXiv 2112.09332, C; LIMA, arXiv 2305.11206, 4.1);
    - strict: three answers, better, worse and tie; chance is 1/3.

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
    """Kendall's tau-b (1945), shape (n,): (C - D) / sqrt((C + D + T1)(C + D + T2)), T1 and T2 tied by one person only.

    NaN if one person ties all pairs.
    """
    alike, against, only_first, only_second, _both = (column.astype(np.float64) for column in counts.T)
    ordered = alike + against
    scale = np.sqrt((ordered + only_first) * (ordered + only_second))
    return np.asarray(np.divide(alike - against, scale, out=np.full(len(counts), np.nan), where=scale > 0))
