"""In which order tasks are handed out, and what that costs."""

import hashlib

import pytest

from annotate.pools.models import Prompt
from annotate.work import filling, leases, refusals
from annotate.work.models import Assignment, Order
from tests import factories as make
from tests.work.conftest import LATER, NOW


def handed_out(desk, slots):
    """(number of the task, slot) as labelers get them who come one after another."""
    numbers = {
        task: number for number, task in enumerate(desk.campaign.tasks.order_by("id").values_list("id", flat=True))
    }
    claims = [desk.claim(desk.labeler()) for _ in range(slots)]
    return [(numbers[claim.task_id], claim.slot) for claim in claims]


def test_depth_finishes_a_task_before_the_next(open_desk):
    desk = open_desk(tasks=2, overlap=2, order=Order.DEPTH)
    assert handed_out(desk, 4) == [(0, 1), (0, 2), (1, 1), (1, 2)]


def test_breadth_gives_every_task_one_answer_before_the_second(open_desk):
    desk = open_desk(tasks=2, overlap=2, order=Order.BREADTH)
    assert handed_out(desk, 4) == [(0, 1), (1, 1), (0, 2), (1, 2)]


def test_priority_puts_the_highest_first_and_equals_by_depth(open_desk):
    prompts = [{"priority": 0}, {"priority": -1000}, {"priority": 1000}, {"priority": 0}]
    desk = open_desk(prompts=prompts, overlap=2, order=Order.PRIORITY)
    assert [task for task, _slot in handed_out(desk, 8)] == [2, 2, 0, 0, 3, 3, 1, 1]


def test_random_is_the_seeds_order_of_the_prompts(open_desk):
    desk = open_desk(tasks=6, order=Order.RANDOM, order_seed=42)
    prompts = list(Prompt.objects.order_by("id").values_list("id", flat=True))
    drawn = sorted(range(6), key=lambda number: hashlib.md5(f"42:{prompts[number]}".encode()).hexdigest()[:11])
    assert [task for task, _slot in handed_out(desk, 6)] == drawn


def test_two_campaigns_of_one_seed_go_through_a_pool_alike(open_desk):
    desk = open_desk(tasks=6, order=Order.RANDOM, order_seed=3)
    twin, other = (make.campaign(over=desk.campaign.pool, order=Order.RANDOM, order_seed=seed) for seed in (3, 4))
    for campaign in (twin, other):
        filling.add_tasks(campaign=campaign, prompts=desk.campaign.pool.prompts.all(), now=NOW)

    def prompts_of(campaign):
        rows = Assignment.objects.filter(campaign=campaign).order_by("position")
        return list(rows.values_list("task__prompt", flat=True))

    assert prompts_of(twin) == prompts_of(desk.campaign) != prompts_of(other)


@pytest.mark.parametrize("order", Order.values)
def test_what_came_back_goes_first_the_longest_waiting_of_it_before_the_rest(open_desk, order):
    desk = open_desk(tasks=4, order=order)
    gone, gone_too = desk.labeler(), desk.labeler()
    first, second = desk.claim(gone), desk.claim(gone_too)
    desk.release(second, gone_too)
    desk.release(first, gone)
    assert [desk.claim(desk.labeler()).id for _ in range(2)] == [second.id, first.id]


@pytest.mark.parametrize("order", Order.values)
def test_new_tasks_are_found_wherever_they_stand(open_desk, order):
    desk = open_desk(tasks=3, overlap=2, order=order)
    labeler = desk.labeler()
    for _ in range(3):
        desk.answer(labeler)
    with pytest.raises(refusals.NothingLeft):
        desk.claim(labeler)
    for priority in (-1, 0, 1):
        make.prompt(desk.campaign.pool, priority=priority)
    filling.add_tasks(campaign=desk.campaign, prompts=desk.campaign.pool.prompts.all(), now=NOW)
    assert len({desk.answer(labeler).task_id for _ in range(3)}) == 3
    with pytest.raises(refusals.NothingLeft):
        desk.claim(labeler)


def test_another_priority_moves_the_open_slots_of_every_campaign_that_goes_by_it(open_desk):
    desk = open_desk(tasks=3, overlap=2, order=Order.PRIORITY)
    by_depth = make.campaign(over=desk.campaign.pool, order=Order.DEPTH)
    filling.add_tasks(campaign=by_depth, prompts=desk.campaign.pool.prompts.all(), now=NOW)
    before = list(Assignment.objects.filter(campaign=by_depth).order_by("id").values_list("position", flat=True))
    early = desk.labeler()
    desk.answer(early)
    last = Prompt.objects.order_by("id").last()
    assert filling.prioritise(prompts=Prompt.objects.filter(id=last.id), priority=5) == 1
    assert desk.claim(desk.labeler()).task.prompt_id == last.id
    assert desk.claim(early).task.prompt_id == last.id
    after = list(Assignment.objects.filter(campaign=by_depth).order_by("id").values_list("position", flat=True))
    assert before == after


def test_what_came_back_keeps_its_place_whatever_its_priority(open_desk):
    desk = open_desk(tasks=2, order=Order.PRIORITY)
    labeler = desk.labeler()
    held = desk.claim(labeler)
    desk.release(held, labeler)
    filling.prioritise(prompts=Prompt.objects.filter(id=held.task.prompt_id), priority=-5)
    assert desk.claim(desk.labeler()).id == held.id


COST = {
    # Statements, with the two of a savepoint where the verb opens a transaction of its own.
    "claim": 4,
    "claim what came back": 6,
    "claim again": 4,
    "ahead": 4,
    "submit": 4,
    "renew": 1,
    "undo": 9,
}


@pytest.mark.parametrize("order", Order.values)
def test_no_order_costs_a_verb_more(open_desk, django_assert_num_queries, order):
    desk = open_desk(tasks=30, order=order)
    labeler, other = desk.labeler(), desk.labeler()
    for _ in range(3):
        desk.answer(labeler)
    with django_assert_num_queries(COST["claim"]):
        held = desk.claim(labeler)
    with django_assert_num_queries(COST["claim again"]):
        desk.claim(labeler)
    with django_assert_num_queries(COST["ahead"]):
        desk.ahead(labeler)
    with django_assert_num_queries(COST["renew"]):
        leases.renew(assignment_id=held.id, labeler=labeler, now=NOW)
    with django_assert_num_queries(COST["submit"]):
        desk.submit(held, labeler)
    with django_assert_num_queries(COST["undo"]):
        desk.undo(held, labeler)
    desk.release(desk.claim(other), other)
    late = desk.labeler()
    desk.answer(late)
    desk.release(desk.claim(other), other)
    with django_assert_num_queries(COST["claim what came back"]):
        desk.claim(late)


def test_further_languages_cost_a_claim_no_statement(open_desk, django_assert_num_queries):
    desk = open_desk(prompts=[{"language": language} for language in ("en", "de") for _ in range(9)])
    labeler = desk.labeler(languages=["en", "de"])
    desk.campaign.refresh_from_db()
    desk.answer(labeler)
    with django_assert_num_queries(COST["claim"]):
        desk.claim(labeler, now=LATER)
