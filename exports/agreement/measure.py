"""Two answers to a slate are one comparison."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
import numpy.typing as npt

from exports.agreement import alpha, pairs
from exports.agreement.bootstrap import PROMPTS_NEEDED, REPLICATES, Estimate, estimates
from exports.agreement.pairs import Numbers, TieRule

RATINGS = np.arange(1.0, 8.0)
SEED = 0
# For many pairs of people: fast enough for a page, exact to half a percent.
MANY_PAIRS, REPLICATES_OF_MANY = 50, 2000
UNITS_AT_ONCE = 20_000


@dataclass(frozen=True)
class Answer:
    """ranks, ratings: for each candidate, in the order of the slate."""

    task: int
    prompt: int
    labeler: int
    ranks: tuple[int, ...]
    ratings: tuple[int, ...]


@dataclass(frozen=True)
class Ranked:
    answer: Answer
    cohort: str
    version: int


@dataclass(frozen=True)
class Agreement:
    """micro: over all pairs. macro: mean over prompts. tau_b: mean over comparisons, then prompts. alpha: ordinal, of
    ratings. countable: prompts with a pair that counts under the rule. counted: pairs in the denominator."""

    rule: TieRule
    prompts: int
    countable: int
    comparisons: int
    pairs: int
    tied: int
    counted: int
    micro: Estimate
    macro: Estimate
    tau_b: Estimate
    alpha: Estimate

    @property
    def sufficient(self) -> bool:
        return self.countable >= PROMPTS_NEEDED


@dataclass(frozen=True)
class PairAgreement:
    first: int
    second: int
    prompts: int
    countable: int
    pairs: int
    counted: int
    micro: Estimate


@dataclass(frozen=True)
class Comparisons:
    """Arrays (n,), one entry per comparison; `counts` is (n, 5) as in pairs.count."""

    prompt: npt.NDArray[np.int64]
    first: npt.NDArray[np.int64]
    second: npt.NDArray[np.int64]
    counts: pairs.Counts


def compare(answers: Iterable[Answer]) -> Comparisons:
    """`first` is the labeler with the lower id."""
    by_task: dict[int, list[Answer]] = defaultdict(list)
    for answer in answers:
        by_task[answer.task].append(answer)
    by_size: dict[int, list[tuple[Answer, Answer]]] = defaultdict(list)
    for together in by_task.values():
        ordered = sorted(together, key=lambda answer: answer.labeler)
        by_size[len(ordered[0].ranks)] += combinations(ordered, 2)
    found = [two for size in sorted(by_size) for two in by_size[size]]
    counts = [
        pairs.count(np.array([one.ranks for one, _ in twos]), np.array([other.ranks for _, other in twos]))
        for _, twos in sorted(by_size.items())
        if twos
    ]
    return Comparisons(
        prompt=np.array([one.prompt for one, _ in found], dtype=np.int64),
        first=np.array([one.labeler for one, _ in found], dtype=np.int64),
        second=np.array([other.labeler for _, other in found], dtype=np.int64),
        counts=np.concatenate(counts) if counts else np.zeros((0, 5), dtype=np.int64),
    )


def measure(answers: Sequence[Answer], *, rule: TieRule, seed: int = SEED, replicates: int = REPLICATES) -> Agreement:
    compared = compare(answers)
    prompts, prompt = np.unique(compared.prompt, return_inverse=True)
    agreed, of = (_by_prompt(column, prompt, len(prompts)) for column in pairs.credit(compared.counts, rule))
    share, tau = _ratio(agreed, of), _mean_by_prompt(pairs.tau_b(compared.counts), prompt, len(prompts))
    rated = _coincidences_by_prompt(answers, prompts)
    columns = np.column_stack([agreed, of, *_to_average(share), *_to_average(tau), rated])
    usual = _usual(of)
    discord, accord = _extreme_ratings(rated)
    countable = [int(np.count_nonzero(of))] * 2
    countable += [int(np.count_nonzero(~np.isnan(tau))), int(np.count_nonzero(rated.sum(axis=1)))]

    def statistic(sums: Numbers) -> Numbers:
        agreed, of, share, shares, taus, defined = sums[:, :6].T
        observed = sums[:, 6:].reshape(-1, len(RATINGS), len(RATINGS))
        ordinal = alpha.alpha(observed, level="ordinal", values=RATINGS)
        return np.column_stack([_ratio(agreed, of), _ratio(share, shares), _ratio(taus, defined), ordinal])

    micro, macro, tau_b, ratings = estimates(
        columns,
        statistic,
        worst=np.concatenate([[0, usual, 0, 1, -1, 1], discord]),
        best=np.concatenate([[usual, usual, 1, 1, 1, 1], accord]),
        countable=countable,
        seed=seed,
        replicates=replicates,
    )
    return Agreement(
        rule=rule,
        prompts=len(prompts),
        countable=countable[0],
        comparisons=len(prompt),
        pairs=int(compared.counts.sum()),
        tied=int(compared.counts[:, 2:].sum()),
        counted=int(of.sum()),
        micro=micro,
        macro=macro,
        tau_b=tau_b,
        alpha=ratings,
    )


def by_pair(
    answers: Sequence[Answer], *, rule: TieRule, seed: int = SEED, replicates: int = REPLICATES
) -> list[PairAgreement]:
    """Most shared prompts first."""
    compared = compare(answers)
    agreed, of = pairs.credit(compared.counts, rule)
    people, person = np.unique(np.stack([compared.first, compared.second]), axis=1, return_inverse=True)
    if people.shape[1] > MANY_PAIRS:
        replicates = min(replicates, REPLICATES_OF_MANY)
    found = []
    for number, (first, second) in enumerate(people.T):
        theirs = person == number
        prompts, prompt = np.unique(compared.prompt[theirs], return_inverse=True)
        share, total = (_by_prompt(part[theirs], prompt, len(prompts)) for part in (agreed, of))
        countable, usual = int(np.count_nonzero(total)), _usual(total)
        (micro,) = estimates(
            np.column_stack([share, total]),
            lambda sums: _ratio(sums[:, 0], sums[:, 1])[:, None],
            worst=np.array([0, usual]),
            best=np.array([usual, usual]),
            countable=[countable],
            seed=seed,
            replicates=replicates,
        )
        all_pairs = int(compared.counts[theirs].sum())
        found.append(
            PairAgreement(
                first=int(first),
                second=int(second),
                prompts=len(prompts),
                countable=countable,
                pairs=all_pairs,
                counted=int(total.sum()),
                micro=micro,
            )
        )
    return sorted(found, key=lambda pair: (-pair.prompts, pair.first, pair.second))


def _usual(of: Numbers) -> float:
    return float(of.sum() / max(1, np.count_nonzero(of)))


def _extreme_ratings(rated: Numbers) -> tuple[Numbers, Numbers]:
    """Coincidences (V * V,) of an average prompt with the largest and the smallest disagreement.

    It is largest if one person's q-th quantile meets the other's (1 - q)-th.
    """
    rows = max(1, np.count_nonzero(rated.sum(axis=1)))
    margins = rated.sum(axis=0).reshape(len(RATINGS), len(RATINGS)).sum(axis=1) / rows
    ends = np.cumsum(margins)
    starts, total = ends - margins, margins.sum()
    overlap = np.minimum(ends[:, None], total - starts[None, :]) - np.maximum(starts[:, None], total - ends[None, :])
    return np.maximum(overlap, 0).ravel(), np.diag(margins).ravel()


def _by_prompt(values: Numbers, prompt: npt.NDArray[np.intp], prompts: int) -> Numbers:
    return np.bincount(prompt, weights=values, minlength=prompts).astype(np.float64)


def _mean_by_prompt(values: Numbers, prompt: npt.NDArray[np.intp], prompts: int) -> Numbers:
    """NaN without a defined value."""
    defined = ~np.isnan(values)
    return _ratio(
        _by_prompt(np.where(defined, values, 0.0), prompt, prompts),
        _by_prompt(defined.astype(np.float64), prompt, prompts),
    )


def _ratio(numerator: Numbers, denominator: Numbers) -> Numbers:
    return np.divide(numerator, denominator, out=np.full_like(numerator, np.nan), where=denominator > 0)


def _to_average(values: Numbers) -> tuple[Numbers, Numbers]:
    """Two columns; the ratio of their sums is the mean of the defined values."""
    defined = ~np.isnan(values)
    return np.where(defined, values, 0.0), defined.astype(np.float64)


def _coincidences_by_prompt(answers: Sequence[Answer], prompts: npt.NDArray[np.int64]) -> Numbers:
    """(P, V * V): coincidences of ratings. Each candidate of a slate is a unit."""
    place = {int(prompt): number for number, prompt in enumerate(prompts)}
    shared = [answer for answer in answers if answer.prompt in place]
    units: dict[tuple[int, int], int] = {}
    unit = [units.setdefault((answer.task, i), len(units)) for answer in shared for i in range(len(answer.ratings))]
    rating = [rating - 1 for answer in shared for rating in answer.ratings]
    counts = np.zeros((len(units), len(RATINGS)), dtype=np.int64)
    np.add.at(counts, (np.array(unit, dtype=np.intp), np.array(rating, dtype=np.intp)), 1)
    prompt_of_task = {answer.task: place[answer.prompt] for answer in shared}
    of_prompt = np.array([prompt_of_task[task] for task, _ in units], dtype=np.intp)
    found = np.zeros((len(prompts), len(RATINGS), len(RATINGS)))
    for start in range(0, len(units), UNITS_AT_ONCE):
        some = slice(start, start + UNITS_AT_ONCE)
        np.add.at(found, of_prompt[some], alpha.coincidences(counts[some]))
    return found.reshape(len(prompts), len(RATINGS) ** 2)
