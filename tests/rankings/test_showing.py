"""The order in which a labeler sees a slate."""

from collections import Counter

import pytest

from annotate.rankings.actions import open_slates, show
from annotate.rankings.models import Showing
from annotate.work.models import Task
from tests import factories as make

pytestmark = pytest.mark.django_db
NOW = make.NOW


@pytest.fixture
def task():
    pool = make.pool()
    prompt, policy = make.prompt(pool), make.policy()
    for text in "abcdefghi":
        make.completion(prompt, policy, text)
    open_slates(campaign=make.campaign("rankings", over=pool), now=NOW)
    return Task.objects.get()


def ids(candidates):
    return [candidate.id for candidate in candidates]


def test_the_order_is_stored_before_anything_is_shown(task):
    labeler = make.user()
    shown = show(task=task, labeler=labeler, now=NOW)
    showing = Showing.objects.get()
    assert (showing.task, showing.labeler, showing.shown_at) == (task, labeler, NOW)
    assert showing.order == ids(shown)
    assert sorted(showing.order) == sorted(task.candidates.values_list("id", flat=True))


def test_a_reload_shows_the_same_order(task):
    labeler = make.user()
    first = ids(show(task=task, labeler=labeler, now=NOW))
    assert all(ids(show(task=task, labeler=labeler, now=NOW)) == first for _ in range(5))
    assert Showing.objects.count() == 1


def test_labelers_see_orders_of_their_own(task):
    orders = {tuple(ids(show(task=task, labeler=make.user(), now=NOW))) for _ in range(10)}
    assert len(orders) > 5


def test_every_candidate_comes_first_for_somebody(task):
    first = Counter(show(task=task, labeler=make.user(), now=NOW)[0].id for _ in range(90))
    # 90 draws over 9: a candidate that is never first has a chance below 1 in 4,000.
    assert len(first) == 9


def test_a_slate_is_shown_in_two_queries(task, django_assert_num_queries):
    labeler = make.user()
    show(task=task, labeler=labeler, now=NOW)
    with django_assert_num_queries(2):
        assert all(candidate.completion.text for candidate in show(task=task, labeler=labeler, now=NOW))
