"""Raising and lowering the answers per task while people work."""

from collections import Counter

import pytest
from django.db.models import Count, Q

from annotate.accounts.models import Role
from annotate.work import filling, leases, refusals
from annotate.work.campaigns import change_campaign, change_state
from annotate.work.models import Assignment, Order, Task
from annotate.work.review import replace_sent_back
from annotate.work.states import CampaignState, State
from annotate.work.stopped import drop_task, restart_task
from tests import factories as make
from tests.work.conftest import LATER, NOW
from tests.work.test_races import at_once, claim_until_done


def wanted_by_task():
    wanted = Count("assignments", filter=~Q(assignments__state=State.CANCELLED))
    return list(Task.objects.annotate(wanted=wanted).order_by("id").values_list("wanted", flat=True))


@pytest.mark.parametrize("order", Order.values)
def test_raised_everybody_finds_the_new_slots_behind_them(open_desk, order):
    desk = open_desk(tasks=3, order=order)
    first, second = desk.labeler(), desk.labeler()
    answered = {desk.answer(first).task_id for _ in range(3)}
    for labeler in (first, second):
        with pytest.raises(refusals.NothingLeft):
            desk.claim(labeler)
    desk.change_overlap(2)
    assert {desk.answer(second).task_id for _ in range(3)} == answered
    with pytest.raises(refusals.NothingLeft):
        desk.claim(first)


def test_lowered_only_slots_that_nobody_holds_go_and_of_these_the_last(open_desk):
    desk = open_desk(tasks=2, overlap=3)
    answered, held = desk.answer(desk.labeler()), desk.claim(desk.labeler())
    desk.change_overlap(1)
    assert desk.states(answered) == [State.ACCEPTED, State.LEASED, State.CANCELLED]
    assert desk.states(Assignment.objects.exclude(task=held.task_id)[0]) == [
        State.OPEN,
        State.CANCELLED,
        State.CANCELLED,
    ]


def test_lowered_more_slots_go_than_one_step_cancels(open_desk, monkeypatch):
    monkeypatch.setattr("annotate.work.slots.SLOTS_A_STEP", 2)
    desk = open_desk(tasks=2, overlap=5)
    desk.change_overlap(1)
    assert wanted_by_task() == [1, 1]


def test_a_slot_too_many_that_somebody_gives_back_is_not_handed_out_again(open_desk):
    desk = open_desk(overlap=2)
    first, second = desk.labeler(), desk.labeler()
    held = desk.claim(first), desk.claim(second)
    desk.change_overlap(1)
    desk.release(held[0], first)
    assert desk.states(held[0]) == [State.CANCELLED, State.LEASED]
    leases.sweep(now=LATER)
    assert desk.states(held[0]) == [State.CANCELLED, State.OPEN]


def test_a_sent_back_answer_too_many_is_not_replaced(open_desk):
    desk = open_desk(overlap=2, review_percent=100)
    back, _other = desk.answer(desk.labeler()), desk.answer(desk.labeler())
    desk.send_back(back)
    desk.change_overlap(1)
    replace_sent_back(assignment_id=back.id, by=make.user(Role.MANAGER), now=NOW)
    assert desk.states(back) == [State.CANCELLED, State.SUBMITTED]


def test_raised_again_a_lowered_task_gets_new_slots(open_desk):
    desk = open_desk(tasks=2, overlap=2)
    for overlap in (1, 3):
        desk.change_overlap(overlap)
        assert wanted_by_task() == [overlap, overlap]
    assert len({row.slot for row in Task.objects.order_by("id")[0].assignments.all()}) == 4


def test_tasks_made_while_a_change_is_on_its_way_have_it_already(open_desk):
    desk = open_desk(overlap=1)
    desk.campaign = change_campaign(campaign=desk.campaign, overlap=2)
    make.prompt(desk.campaign.pool)
    filling.add_tasks(campaign=desk.campaign, prompts=desk.campaign.pool.prompts.all(), now=NOW)
    assert wanted_by_task() == [1, 2]
    desk.change_overlap(2)
    assert wanted_by_task() == [2, 2]


def test_a_stopped_task_gets_stopped_slots_and_a_dropped_one_none(open_desk):
    desk = open_desk(tasks=3, skip_limit=1)
    for _ in range(2):
        labeler = desk.labeler()
        desk.skip(desk.claim(labeler), labeler)
    stopped, dropped, _open = Task.objects.order_by("id")
    drop_task(task_id=dropped.id, now=NOW)
    desk.change_overlap(2)
    assert wanted_by_task() == [2, 0, 2]
    assert {slot.state for slot in stopped.assignments.all()} == {State.STOPPED}
    restart_task(task_id=stopped.id, by=make.user(Role.MANAGER), now=NOW)
    assert {slot.state for slot in stopped.assignments.all()} == {State.OPEN}


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("overlaps", [(3, 1), (1, 3)], ids=["raised at last", "lowered at last"])
def test_changed_while_people_work_every_task_ends_with_what_is_wanted_or_was_begun(open_desk, overlaps):
    last, first = overlaps
    desk = open_desk(tasks=10, overlap=first)
    people, answered = [desk.labeler() for _ in range(5)], []

    def change():
        for overlap in (2, last):
            campaign = change_campaign(campaign=desk.campaign, overlap=overlap)
            while filling.match_overlap(campaign=campaign, now=NOW):
                pass

    assert at_once(change, *(lambda who=who: claim_until_done(desk, who, answered) for who in people)) == [None] * 6
    for who in people:
        claim_until_done(desk, who, answered)
    assert len(answered) == len(set(answered))
    per_task = Counter(task for task, _labeler in answered)
    if last == 3:
        assert set(per_task.values()) == {3}
    else:
        assert len(per_task) == 10
        assert max(per_task.values()) <= 3
    assert not Assignment.objects.filter(state__in=[State.OPEN, State.LEASED]).exists()


@pytest.mark.django_db(transaction=True)
def test_two_changes_at_once_end_with_one_of_them(open_desk):
    desk = open_desk(tasks=20, overlap=2)

    def change(overlap):
        campaign = change_campaign(campaign=desk.campaign, overlap=overlap)
        while filling.match_overlap(campaign=campaign, now=NOW):
            pass

    assert at_once(lambda: change(1), lambda: change(4), lambda: change(3)) == [None] * 3
    desk.campaign.refresh_from_db()
    assert wanted_by_task() == [desk.campaign.overlap] * 20


def test_a_closed_campaign_gets_no_slots_any_more(open_desk):
    desk = open_desk()
    desk.campaign = change_campaign(campaign=desk.campaign, overlap=3)
    change_state(campaign=desk.campaign, to=CampaignState.CLOSED, now=NOW)
    assert not filling.match_overlap(campaign=desk.campaign, now=NOW)
    assert wanted_by_task() == [0]
