import pytest

from annotate.rankings.rules import Offer, dense, slate
from annotate.samples.gate import read


def offers(*rows):
    """(completion, policy, run, k, text) each."""
    return [Offer(completion, policy, run, k, read(text)) for completion, policy, run, k, text in rows]


@pytest.mark.parametrize(
    ("places", "ranks"),
    [
        ({"A": 1, "B": 2, "C": 3}, {"A": 1, "B": 2, "C": 3}),
        ({"A": 2, "B": 2, "C": 5}, {"A": 1, "B": 1, "C": 2}),
        ({"A": 4, "B": 4, "C": 4}, {"A": 1, "B": 1, "C": 1}),
        ({"A": 9, "B": 1, "C": 9, "D": 3}, {"A": 3, "B": 1, "C": 3, "D": 2}),
        ({}, {}),
    ],
)
def test_ranks_have_no_gaps_and_keep_ties(places, ranks):
    assert dense(places) == ranks


def test_policies_take_turns_the_newest_first():
    choice = offers(
        (1, 10, 5, 0, "a"),
        (2, 10, 5, 1, "b"),
        (3, 10, 5, 2, "c"),
        (4, 20, 6, 0, "d"),
        (5, 20, 6, 1, "e"),
        (6, 30, 7, 0, "f"),
    )
    assert slate(choice, 4).chosen == [6, 4, 1, 5]
    assert slate(choice, 9).chosen == [6, 4, 1, 5, 2, 3]


def test_a_policy_that_was_sampled_more_often_does_not_fill_the_slate():
    many = [(n, 1, 1, n, f"old {n}") for n in range(1, 30)]
    few = [(n, 2, 2, n, f"new {n}") for n in range(101, 105)]
    chosen = slate(offers(*many, *few), 8).chosen
    assert sum(completion > 100 for completion in chosen) == 4


def test_of_one_policy_the_newest_run_comes_first():
    assert slate(offers((1, 1, 1, 0, "a"), (2, 1, 2, 0, "b"), (3, 1, 2, 1, "c")), 2).chosen == [2, 3]


def test_imported_completions_have_no_run_and_keep_their_order():
    choice = offers((3, 1, None, None, "c"), (1, 1, None, None, "a"), (2, 1, None, None, "b"))
    assert slate(choice, 9).chosen == [1, 2, 3]


def test_equal_texts_never_meet_and_cost_nobody_a_turn():
    choice = offers(
        (1, 10, 1, 0, "same"),
        (2, 10, 1, 1, "other"),
        (3, 20, 2, 0, "same"),
        (4, 20, 2, 1, "same"),
        (5, 20, 2, 2, "third"),
    )
    assert slate(choice, 9).chosen == [3, 2, 5]


def test_the_same_offers_in_any_order_give_the_same_slate():
    rows = [(n, n % 3, n % 2 + 1, n, f"text {n}") for n in range(20)]
    assert slate(offers(*rows), 7) == slate(offers(*reversed(rows)), 7)
