"""How long somebody really worked: no second counts twice, whatever pages, networks and clocks do."""

from datetime import timedelta
from random import Random
from uuid import uuid4

import pytest

from annotate.work import times
from annotate.work.models import PageVisit
from tests.work.conftest import NOW
from tests.work.test_races import at_once


@pytest.fixture
def watch(open_desk):
    """watch(seconds after NOW, total told, visit): a report to a task's page; watch.seconds() is what counts."""
    desk = open_desk(tasks=2)
    labeler = desk.labeler()
    held = desk.claim(labeler)

    class Watch:
        page = uuid4()
        me, task = labeler, held.task_id

        def __call__(self, after, total, *, visit=None, task=None, who=None):
            now = NOW + timedelta(seconds=after)
            visit, task = visit or self.page, task or self.task
            times.count(task_id=task, labeler=who or labeler, visit=visit, total=total, now=now)

        def seconds(self, task=None):
            return sum(
                PageVisit.objects.filter(labeler=labeler, task=task or self.task).values_list("seconds", flat=True)
            )

    watching = Watch()
    watching.desk = desk
    return watching


def test_totals_add_up_to_the_last_one(watch):
    for after, total in ((60, 40), (120, 95), (180, 150)):
        watch(after, total)
    assert watch.seconds() == 150


def test_a_report_that_comes_twice_or_out_of_order_counts_once(watch):
    for after, total in ((60, 40), (61, 40), (120, 90), (121, 40), (122, 90), (180, 120)):
        watch(after, total)
    assert watch.seconds() == 120


def test_two_tabs_at_the_same_time_are_one_person(watch):
    other = uuid4()
    watch(60, 60)
    for minute in range(2, 6):
        watch(60 * minute, 60 * minute)
        watch(60 * minute, 60 * (minute - 1), visit=other)
    assert watch.seconds() == 300


def test_two_tasks_at_the_same_time_are_one_person(watch):
    other = watch.desk.ahead(watch.me).task_id
    watch(60, 60)
    watch(120, 120)
    watch(120, 60, task=other, visit=uuid4())
    assert watch.seconds() + watch.seconds(other) == 120


def test_one_tab_after_the_other_counts_both(watch):
    watch(60, 50)
    watch(120, 55, visit=uuid4())
    assert watch.seconds() == 105


def test_a_machine_that_slept_does_not_work(watch):
    watch(60, 60)
    watch(8 * 3600, 65)
    assert watch.seconds() == 65


def test_a_browser_whose_clock_jumped_tells_no_more_than_has_passed(watch):
    watch(60, 60)
    watch(120, 9000)
    assert watch.seconds() == 120
    watch(180, 9050)
    assert watch.seconds() == 170


def test_a_server_whose_clock_goes_back_counts_nothing_until_it_has_caught_up(watch):
    watch(600, 60)
    watch(60, 100)
    assert watch.seconds() == 60
    watch(660, 160)
    assert watch.seconds() == 120


def test_the_first_page_ever_is_believed_for_two_minutes(watch):
    watch(3600, 3000)
    assert watch.seconds() == times.MAX_FIRST_REPORT


def test_the_sitting_of_somebody_else_or_of_another_task_counts_nothing(watch):
    thief, other = watch.desk.labeler(), watch.desk.ahead(watch.me).task_id
    watch(60, 30)
    watch(120, 90, who=thief)
    watch(120, 90, task=other)
    assert list(PageVisit.objects.values_list("seconds", flat=True)) == [30]
    # Nor does it use up the time of the page that is real.
    watch(120, 80)
    assert watch.seconds() == 80


@pytest.mark.parametrize("total", [0, -5, float("nan"), float("inf")])
def test_what_is_no_time_counts_nothing(watch, total):
    watch(60, total)
    assert not PageVisit.objects.exists()


def test_fractions_never_sum_to_more_than_was_told(watch):
    chance, total = Random(5), 0.0
    for step in range(1, 120):
        total += chance.random() * 50
        watch(60 * step, total)
    assert watch.seconds() == pytest.approx(total)


def test_the_answer_takes_the_sum_of_its_sittings(watch):
    watch(60, 50.4)
    watch(120, 20.3, visit=uuid4())
    held = watch.desk.claim(watch.me)
    assert watch.desk.submit(held, watch.me).assignment.active_seconds == 71


def test_without_a_browser_that_tells_there_is_no_time(open_desk):
    desk = open_desk()
    assert desk.answer(desk.labeler()).active_seconds is None


@pytest.mark.django_db(transaction=True)
def test_a_heartbeat_and_the_last_words_of_a_page_at_once_count_once(watch):
    outcomes = at_once(*(lambda total=total: watch(60, total) for total in (50, 50.5, 50, 50.5)))
    assert outcomes == [None] * 4
    assert watch.seconds() <= 60.5
    watch(600, 60)
    assert watch.seconds() <= 60
    assert PageVisit.objects.get().reported == 60
