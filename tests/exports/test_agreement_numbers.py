"""Every statistic against numbers that others have printed, and against the definition written out."""

import json
import math
import time
from itertools import combinations

import numpy as np
import pytest

from bench.agreement import KINDS, coverage
from exports.agreement import alpha, pairs
from exports.agreement.bootstrap import estimates
from exports.agreement.measure import Answer, by_pair, compare, measure
from exports.agreement.pairs import TieRule
from tests.shared import SHARED, needs_shared

NONE = None
# Krippendorff (2011), Computing Krippendorff's Alpha-Reliability, example C: rows are observers, columns are units.
KRIPPENDORFF_C = [
    [1, 2, 3, 3, 2, 1, 4, 1, 2, NONE, NONE, NONE],
    [1, 2, 3, 3, 2, 2, 4, 1, 2, 5, NONE, 3],
    [NONE, 3, 3, 3, 2, 3, 4, 2, 2, 5, 1, NONE],
    [1, 2, 3, 3, 2, 4, 4, 1, 2, 5, 1, NONE],
]
# evalica's test suite (Apache-2.0): two raters, three units; and two raters, two units.
TINY_INTERVAL = [[1, 2, 3], [2, 3, 4]]
TINY_RATIO = [[1, 2], [2, 4]]


def counts_of(matrix, values):
    columns = zip(*matrix, strict=True)
    return np.array([[column.count(value) for value in values] for column in columns], dtype=np.int64)


def krippendorff(matrix, level):
    values = sorted({value for row in matrix for value in row if value is not None})
    # Names have no distance of their own; nominal needs none.
    numbers = np.array([value if isinstance(value, int | float) else i for i, value in enumerate(values)], dtype=float)
    observed = alpha.coincidences(counts_of(matrix, values)).sum(axis=0)
    return float(alpha.alpha(observed, level=level, values=numbers))


@pytest.mark.parametrize(
    ("matrix", "level", "printed"),
    [
        (KRIPPENDORFF_C, "nominal", 904 / 1216),
        (KRIPPENDORFF_C, "ordinal", 0.815388),
        (KRIPPENDORFF_C, "interval", 0.849107),
        (KRIPPENDORFF_C, "ratio", 0.797403),
        (TINY_INTERVAL, "nominal", -0.1538462),
        (TINY_INTERVAL, "interval", 0.5454545),
        (TINY_RATIO, "ratio", 0.1712707),
        ([list("AABA"), list("AABB"), list("ABBB")], "nominal", 7 / 18),
    ],
)
def test_alpha_is_the_printed_one(matrix, level, printed):
    assert krippendorff(matrix, level) == pytest.approx(printed, abs=1e-6)


def test_alpha_is_undefined_where_everybody_always_said_the_same():
    assert math.isnan(krippendorff([[3, 3, 3], [3, 3, 3]], "ordinal"))


def ranks(*rows):
    return np.array(rows, dtype=np.int64)


def share(first, second, rule):
    numerator, denominator = pairs.credit(pairs.count(ranks(first), ranks(second)), rule)
    return float(numerator[0] / denominator[0])


def test_the_worked_example_of_the_tie_rules():
    one, two = [1, 2, 3, 4], [1, 2, 2, 3]
    assert pairs.count(ranks(one), ranks(two)).tolist() == [[5, 0, 0, 1, 0]]
    assert share(one, two, TieRule.EXCLUDE) == 1
    assert share(one, two, TieRule.HALF) == pytest.approx(5.5 / 6)
    assert share(one, two, TieRule.STRICT) == pytest.approx(5 / 6)
    assert pairs.tau_b(pairs.count(ranks(one), ranks(two)))[0] == pytest.approx(5 / math.sqrt(30))


def test_tau_b_is_the_one_that_scipy_prints():
    # scipy.stats.kendalltau's docstring.
    counts = pairs.count(ranks([12, 2, 1, 12, 2]), ranks([1, 4, 7, 1, 0]))
    assert pairs.tau_b(counts)[0] == pytest.approx(-0.4714045207910316)


def test_tau_b_is_undefined_where_somebody_ties_everything():
    assert math.isnan(pairs.tau_b(pairs.count(ranks([1, 1, 1]), ranks([1, 2, 3])))[0])


def test_both_calling_a_tie_is_agreement_unless_ties_are_left_out():
    one = two = [1, 1, 2]
    assert share(one, two, TieRule.HALF) == share(one, two, TieRule.STRICT) == 1
    assert pairs.credit(pairs.count(ranks(one), ranks(two)), TieRule.EXCLUDE)[1].tolist() == [2]


def answer(task, labeler, ranks, ratings=None, prompt=None):
    return Answer(task, prompt or task, labeler, tuple(ranks), tuple(ratings or [8 - rank for rank in ranks]))


def test_micro_counts_pairs_and_macro_counts_prompts():
    answers = [
        answer(1, 1, [1, 2, 3, 4]), answer(1, 2, [1, 2, 3, 4]),
        answer(2, 1, [1, 2, 3, 4, 5]), answer(2, 2, [5, 4, 3, 2, 1]),
    ]  # fmt: skip
    found = measure(answers, rule=TieRule.EXCLUDE)
    assert found.micro.value == pytest.approx(6 / 16)
    assert found.macro.value == pytest.approx(1 / 2)
    assert (found.prompts, found.comparisons, found.pairs, found.tied) == (2, 2, 16, 0)


def test_three_labelers_of_a_task_are_three_comparisons():
    found = measure([answer(1, labeler, [1, 2, 3, 4]) for labeler in (1, 2, 3)], rule=TieRule.HALF)
    assert (found.prompts, found.comparisons, found.pairs) == (1, 3, 18)


def test_a_task_that_one_labeler_ranked_counts_nowhere():
    both = [answer(1, 1, [1, 2, 3, 4]), answer(1, 2, [1, 2, 4, 3])]
    lonely = answer(2, 1, [4, 3, 2, 1], ratings=[1, 1, 7, 7])
    assert measure([*both, lonely], rule=TieRule.EXCLUDE) == measure(both, rule=TieRule.EXCLUDE)


def test_too_few_prompts_give_no_interval():
    nineteen = [answer(task, labeler, [1, 2, 3, 4]) for task in range(1, 20) for labeler in (1, 2)]
    found = measure(nineteen, rule=TieRule.EXCLUDE)
    assert not found.sufficient
    assert (found.micro.value, found.micro.low, found.micro.high) == (1, None, None)


def test_nothing_shared_is_undefined_not_zero():
    found = measure([], rule=TieRule.EXCLUDE)
    assert found.micro.value is found.macro.value is found.tau_b.value is found.alpha.value is None


def people(prompts, seed, candidates=4, noise=1.0):
    random = np.random.default_rng(seed)
    for task in range(1, prompts + 1):
        worth = random.normal(size=candidates)
        for labeler in (1, 2):
            seen = worth + noise * random.normal(size=candidates)
            order = (-seen.round(0)).tolist()
            dense = {value: rank for rank, value in enumerate(sorted(set(order)), start=1)}
            ratings = np.clip(np.round(4 + seen), 1, 7).astype(int).tolist()
            yield answer(task, labeler, [dense[value] for value in order], ratings)


@pytest.mark.parametrize("rule", TieRule)
def test_all_numbers_equal_the_definitions_written_out(rule):
    answers = list(people(30, seed=3))
    credited, taus, rated = [], [], []
    for one, two in zip(answers[::2], answers[1::2], strict=True):
        points = counted = alike = against = tied_one = tied_two = 0
        for i, j in combinations(range(4), 2):
            x, y = np.sign(one.ranks[i] - one.ranks[j]), np.sign(two.ranks[i] - two.ranks[j])
            alike, against = alike + (x * y > 0), against + (x * y < 0)
            tied_one, tied_two = tied_one + (x == 0), tied_two + (y == 0)
            if rule == TieRule.EXCLUDE and not (x and y):
                continue
            counted += 1
            half = rule == TieRule.HALF and (x == 0) != (y == 0)
            points += 0.5 if half else float(x == y)
        credited.append((points, counted))
        scale = math.sqrt((6 - tied_one) * (6 - tied_two))
        taus += [(alike - against) / scale] if scale else []
        rated.append((one.ratings, two.ratings))
    matrix = [[rating for ratings in person for rating in ratings] for person in zip(*rated, strict=True)]
    found = measure(answers, rule=rule)
    assert found.micro.value == pytest.approx(sum(p for p, _ in credited) / sum(c for _, c in credited))
    assert found.macro.value == pytest.approx(np.mean([p / c for p, c in credited if c]))
    assert found.tau_b.value == pytest.approx(np.mean(taus))
    assert found.alpha.value == pytest.approx(krippendorff(matrix, "ordinal"))


def interval(shares, seed=0, replicates=4000):
    """Of the mean of shares between 0 and 1, each of one prompt."""
    ones = np.ones(len(shares))
    (found,) = estimates(
        np.column_stack([shares, ones]), lambda sums: (sums[:, 0] / sums[:, 1])[:, None], worst=np.array([0.0, 1.0]),
        best=np.array([1.0, 1.0]), countable=[len(shares)], seed=seed, replicates=replicates,
    )  # fmt: skip
    return found.low, found.high


@pytest.mark.parametrize(
    ("agree", "low", "high"),
    [
        # Clopper and Pearson's interval of n = 25: all agree, .025^(1/25); none does; 24 of 25; 20 of 25.
        (25, 0.025 ** (1 / 25), 1),
        (0, 0, 1 - 0.025 ** (1 / 25)),
        (24, 0.7965, 0.9990),
        (20, 0.5930, 0.9317),
    ],
)
def test_the_interval_of_prompts_that_agree_or_do_not_is_the_one_of_clopper_and_pearson(agree, low, high):
    assert interval([1.0] * agree + [0.0] * (25 - agree)) == pytest.approx((low, high), abs=0.012)


@pytest.mark.parametrize("prompts", [20, 25, 100])
@pytest.mark.parametrize(
    ("truth", "draw"),
    [
        (0.7, lambda random, n: random.random(n) < 0.7),
        (0.98, lambda random, n: random.random(n) < 0.98),
        (0.995, lambda random, n: random.random(n) < 0.995),
        (0.02, lambda random, n: random.random(n) < 0.02),
        (0.8, lambda random, n: random.beta(20, 5, n)),
        (10 / 11, lambda random, n: random.beta(0.5, 0.05, n)),
        # Most prompts agree on nearly all pairs, three in a hundred on none: what is rare is seen in no small sample.
        (0.9603, lambda random, n: np.where(random.random(n) < 0.03, 0.0, random.beta(99, 1, n))),
    ],
    ids=["usual", "nearly all", "rarely not", "nearly none", "narrow", "skewed", "rare reversals"],
)
def test_the_interval_holds_the_truth_as_often_as_it_says(prompts, truth, draw):
    """In 300 samples 95% coverage gives 285, and 274 or fewer with a probability of 0.5%."""
    random = np.random.default_rng(11)
    held = 0
    for seed in range(300):
        low, high = interval(draw(random, prompts).astype(float), seed=seed, replicates=400)
        held += low <= truth <= high
    assert held >= 275


def test_the_intervals_of_all_four_statistics_hold_the_truth():
    """The script takes more kinds of labelers, numbers of prompts and samples than a test has time for."""
    labelers = KINDS["9 candidates, nearly sure, 3 % turned"]
    for statistic, (share, _width) in coverage(labelers, 20, samples=100, replicates=200).items():
        assert share >= 0.9, statistic


def test_the_interval_draws_prompts_not_pairs():
    # 30 prompts whose 36 pairs all agree or all disagree are 30 pieces of evidence, not 1,080.
    answers = []
    for task in range(1, 31):
        order = list(range(1, 10))
        answers += [answer(task, 1, order, [4] * 9), answer(task, 2, order if task % 3 else order[::-1], [4] * 9)]
    found = measure(answers, rule=TieRule.EXCLUDE)
    wald = 1.96 * math.sqrt(2 / 9 / 30)
    assert (found.micro.high - found.micro.low) / 2 == pytest.approx(wald, rel=0.15)


def test_the_same_answers_give_the_same_interval():
    answers = list(people(40, seed=5))
    assert measure(answers, rule=TieRule.HALF) == measure(answers, rule=TieRule.HALF)
    assert measure(answers, rule=TieRule.HALF, seed=1).micro.low != measure(answers, rule=TieRule.HALF).micro.low


def with_ties(countable, prompts=25):
    """Two labelers who call every pair a tie, but on `countable` prompts order everything alike."""
    return [
        answer(task, labeler, [1, 2, 3, 4] if task <= countable else [1, 1, 1, 1], [4, 4, 4, 4])
        for task in range(1, prompts + 1)
        for labeler in (1, 2)
    ]


def test_prompts_without_a_countable_pair_do_not_make_the_data_sufficient():
    found = measure(with_ties(2), rule=TieRule.EXCLUDE)
    assert (found.prompts, found.countable, found.pairs, found.counted) == (25, 2, 150, 12)
    assert not found.sufficient
    for estimate in (found.micro, found.macro, found.tau_b):
        assert (estimate.value, estimate.low, estimate.high) == (1, None, None)
    (pair,) = by_pair(with_ties(2), rule=TieRule.EXCLUDE)
    assert (pair.prompts, pair.countable, pair.micro.low) == (25, 2, None)
    # Under the other rules a tie is an answer, and all prompts count.
    assert measure(with_ties(2), rule=TieRule.STRICT).countable == 25


def test_an_interval_needs_twenty_countable_prompts():
    assert not measure(with_ties(19), rule=TieRule.EXCLUDE).sufficient
    found = measure(with_ties(20), rule=TieRule.EXCLUDE)
    assert found.sufficient
    assert found.micro.low == pytest.approx(0.025 ** (1 / 20), abs=0.02)


@pytest.mark.parametrize("rule", TieRule)
@pytest.mark.parametrize("backwards", [False, True])
def test_no_interval_has_zero_width_at_the_end_of_its_range(rule, backwards):
    one, other = [1, 2, 3, 4], [4, 3, 2, 1] if backwards else [1, 2, 3, 4]
    answers = [answer(task, labeler, order) for task in range(25) for labeler, order in ((1, one), (2, other))]
    found = measure(answers, rule=rule)
    # 25 prompts of full agreement: a rate of 1 - .025^(1/25) less, and twice as much on a scale from -1 to 1.
    unsure = 1 - 0.025 ** (1 / 25)
    for estimate, width in ((found.micro, 1), (found.macro, 1), (found.tau_b, 2), (found.alpha, 2)):
        assert estimate.high - estimate.low == pytest.approx(width * unsure, rel=0.12)
    for estimate in (found.micro, found.macro, found.tau_b):
        assert estimate.value == (estimate.low if backwards else estimate.high)


def test_labeler_pairs_are_told_apart_and_sorted_by_what_they_share():
    answers = [answer(1, 7, [1, 2, 3, 4]), answer(1, 5, [1, 2, 3, 4])]
    answers += [
        answer(task, labeler, [1, 2, 3, 4][:: 1 if labeler == 7 else -1]) for task in (2, 3) for labeler in (9, 7)
    ]
    found = by_pair(answers, rule=TieRule.EXCLUDE)
    assert [(pair.first, pair.second, pair.prompts, pair.pairs) for pair in found] == [(7, 9, 2, 12), (5, 7, 1, 6)]
    assert [pair.micro.value for pair in found] == [0, 1]


def test_slates_of_all_sizes_are_compared_in_one_go():
    answers = [answer(size, labeler, range(1, size + 1)) for size in (9, 4, 6) for labeler in (1, 2)]
    compared = compare(answers)
    assert sorted(zip(compared.prompt.tolist(), compared.counts[:, 0].tolist(), strict=True)) == [
        (4, 6),
        (6, 15),
        (9, 36),
    ]


def test_five_thousand_nine_way_prompts_take_seconds():
    answers = list(people(5000, seed=1, candidates=9))
    before = time.process_time()
    found = measure(answers, rule=TieRule.EXCLUDE)
    assert found.prompts == 5000
    assert time.process_time() - before < 5


def vectors(*prefixes):
    path = SHARED / "agreement_vectors.json"
    found = json.loads(path.read_text())["vectors"] if path.exists() else []
    return [pytest.param(one, id=one["id"]) for one in found if one["id"].startswith(prefixes)]


@needs_shared
@pytest.mark.parametrize("vector", vectors("krippendorff_", "alpha_"))
def test_alpha_against_the_reference_file(vector):
    for name, expected in vector["expected"].items():
        if name.startswith("alpha_"):
            found = krippendorff(vector["input"]["matrix"], name.removeprefix("alpha_"))
            assert found == pytest.approx(expected, abs=vector["tolerance"])


@needs_shared
@pytest.mark.parametrize("vector", vectors("gwet_"))
@pytest.mark.parametrize(("weights", "level"), [("identity", "nominal"), ("quadratic", "interval")])
def test_alpha_against_the_reference_file_of_weighted_coefficients(vector, weights, level):
    """Rows are units here."""
    if weights in vector["expected"]:
        turned = list(zip(*vector["input"]["matrix"], strict=True))
        expected = vector["expected"][weights]["krippendorff"]["coefficient"]
        assert krippendorff(turned, level) == pytest.approx(expected, abs=1e-6)


@needs_shared
@pytest.mark.parametrize("vector", vectors("ranking_pair_"))
def test_pairs_against_the_reference_file(vector):
    one, two, expected = vector["input"]["rank_labeler_1"], vector["input"]["rank_labeler_2"], vector["expected"]
    (counts,) = pairs.count(ranks(one), ranks(two)).tolist()
    kinds = ("concordant", "discordant", "tied_only_in_1", "tied_only_in_2", "tied_in_both")
    assert counts == [expected[kind] for kind in kinds]
    assert pairs.tau_b(pairs.count(ranks(one), ranks(two)))[0] == pytest.approx(expected["tau_b"])
    assert share(one, two, TieRule.EXCLUDE) == pytest.approx(expected["agreement_exclude_ties"])
    assert share(one, two, TieRule.HALF) == pytest.approx(expected["agreement_half_credit"])
    assert share(one, two, TieRule.STRICT) == pytest.approx(expected["agreement_strict_3way"])


@needs_shared
@pytest.mark.parametrize("vector", vectors("bootstrap_alpha_"))
def test_the_interval_against_the_reference_file(vector):
    """Another random generator drew that one: it is the same to within what the file allows."""
    values = [1, 2, 3, 4, 5]
    per_unit = alpha.coincidences(counts_of(KRIPPENDORFF_C, values)).reshape(12, 25)

    def nominal(sums):
        return alpha.alpha(sums.reshape(-1, 5, 5), level="nominal", values=np.array(values, float))[:, None]

    # Twelve units are too few for `estimates` to give an interval.
    drawn = np.random.default_rng(0).integers(12, size=(5000, 12))
    counted = np.stack([np.bincount(row, minlength=12) for row in drawn])
    low, high = np.nanpercentile(nominal(counted @ per_unit), [2.5, 97.5])
    assert (low, high) == pytest.approx(vector["expected"]["percentile_ci95_unit_bootstrap"], abs=vector["tolerance"])
