"""A task that several people skip stops, and waits for a manager."""

import pytest
from django.db.models import Max

from annotate.accounts.models import Role
from annotate.work import leases, queries, refusals
from annotate.work.campaigns import change_state
from annotate.work.models import Assignment, Skip, Task
from annotate.work.review import replace_sent_back
from annotate.work.states import CampaignState, Move, State
from annotate.work.stopped import drop_task, restart_task
from tests import factories as make
from tests.factories import draft_of
from tests.work.conftest import LATER, NOW
from tests.work.test_races import at_once


def skipped_by(desk, people):
    """That many people skip whatever they get first; their tasks, in turn."""
    skipped = []
    for _ in range(people):
        labeler = desk.labeler()
        held = desk.claim(labeler)
        desk.skip(held, labeler)
        skipped.append(held.task_id)
    return skipped


def restart(task):
    return restart_task(task_id=task.id, by=make.user(Role.MANAGER), now=NOW)


def test_at_the_limit_the_task_stops_and_hands_out_nothing(open_desk):
    desk = open_desk(tasks=2, overlap=2, skip_limit=2)
    first, second = desk.campaign.tasks.order_by("id")
    assert skipped_by(desk, 2) == [first.id, first.id]
    first.refresh_from_db()
    assert first.stopped_at == NOW
    assert {slot.state for slot in first.assignments.all()} == {State.STOPPED}
    assert [desk.claim(desk.labeler()).task_id for _ in range(2)] == [second.id] * 2
    with pytest.raises(refusals.NothingLeft):
        desk.claim(desk.labeler())


def test_without_a_limit_nothing_stops(open_desk):
    desk = open_desk(skip_limit=0)
    skipped_by(desk, 4)
    assert desk.claim(desk.labeler())


def test_whoever_works_on_a_stopped_task_finishes_and_what_they_give_back_waits_too(open_desk):
    desk = open_desk(overlap=3, skip_limit=1)
    busy, leaving, skipping = desk.labeler(), desk.labeler(), desk.labeler()
    kept, left, skipped = desk.claim(busy), desk.claim(leaving), desk.claim(skipping)
    desk.skip(skipped, skipping)
    assert desk.submit(kept, busy).assignment.state == State.ACCEPTED
    desk.release(left, leaving)
    assert desk.states(left) == [State.ACCEPTED, State.STOPPED, State.STOPPED]


def test_a_late_submit_to_a_stopped_task_is_refused_and_the_text_stays(open_desk):
    desk = open_desk(overlap=2, skip_limit=1)
    late, skipping = desk.labeler(), desk.labeler()
    lost = desk.claim(late)
    desk.draft(lost, late, "precious")
    desk.skip(desk.claim(skipping), skipping)
    leases.sweep(now=LATER)
    with pytest.raises(refusals.LeaseLost):
        desk.submit(lost, late, now=LATER)
    assert draft_of(late, lost.task_id).body == {"text": "precious"}


def test_a_restarted_task_goes_first_and_stops_after_as_many_further_skips(open_desk):
    desk = open_desk(tasks=3, overlap=2, skip_limit=2)
    skipped_by(desk, 2)
    task = restart(Task.objects.get(stopped_at__isnull=False))
    assert (task.stopped_at, task.excused) == (None, 2)
    assert skipped_by(desk, 1) == [task.id]
    assert Task.objects.get(id=task.id).stopped_at is None
    assert skipped_by(desk, 1) == [task.id]
    assert Task.objects.get(id=task.id).stopped_at == NOW


def test_a_restarted_task_does_not_come_back_to_those_who_skipped_it(open_desk):
    desk = open_desk(skip_limit=1)
    labeler = desk.labeler()
    desk.skip(desk.claim(labeler), labeler)
    restart(Task.objects.get())
    with pytest.raises(refusals.NothingLeft):
        desk.claim(labeler)
    assert desk.claim(desk.labeler())


def test_a_dropped_task_is_wanted_no_more_whoever_gives_it_back(open_desk):
    desk = open_desk(overlap=4, skip_limit=1, review_percent=100)
    answering, leaving, late, skipping = (desk.labeler() for _ in range(4))
    held = [desk.claim(who) for who in (answering, leaving, late, skipping)]
    desk.skip(held[3], skipping)
    drop_task(task_id=held[0].task_id, now=NOW)
    answer = desk.submit(held[0], answering).assignment
    desk.release(held[1], leaving)
    leases.sweep(now=LATER)
    assert desk.states(answer) == [State.SUBMITTED, *[State.CANCELLED] * 3]
    desk.send_back(answer)
    replace_sent_back(assignment_id=answer.id, by=make.user(Role.MANAGER), now=NOW)
    assert set(desk.states(answer)) == {State.CANCELLED}


def test_what_does_not_wait_is_not_decided(open_desk):
    desk = open_desk(skip_limit=1)
    task = Task.objects.get()
    for decide in (restart, lambda task: drop_task(task_id=task.id, now=NOW)):
        with pytest.raises(refusals.NotStopped):
            decide(task)
    skipped_by(desk, 1)
    drop_task(task_id=task.id, now=NOW)
    with pytest.raises(refusals.NotStopped):
        restart(task)


def test_the_manager_sees_what_stopped_and_why_in_a_fixed_number_of_queries(open_desk, django_assert_num_queries):
    desk = open_desk(tasks=3, skip_limit=1)
    skipped_by(desk, 3)
    with django_assert_num_queries(2):
        told = [[skip.labeler.username for skip in task.skips.all()] for task in queries.stopped_tasks(desk.campaign)]
    assert [len(names) for names in told] == [1, 1, 1]


def test_closing_cancels_stopped_slots_by_legal_moves(open_desk):
    desk = open_desk(skip_limit=1)
    skipped_by(desk, 1)
    change_state(campaign=desk.campaign, to=CampaignState.CLOSED, now=NOW)
    slot = Assignment.objects.get()
    assert slot.state == State.CANCELLED
    assert [event.move for event in queries.history(slot)][-3:] == [Move.STOP, Move.RESTART, Move.CANCEL]


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("_round", range(3))
def test_the_two_last_skips_at_once_stop_the_task_once(open_desk, _round):
    desk = open_desk(overlap=3, skip_limit=2)
    people = [desk.labeler() for _ in range(2)]
    held = [desk.claim(who) for who in people]
    outcomes = at_once(*(lambda row=row, who=who: desk.skip(row, who) for row, who in zip(held, people, strict=True)))
    assert [type(outcome) for outcome in outcomes] == [Skip, Skip]
    assert Task.objects.get().stopped_at == NOW
    assert set(desk.states(held[0])) == {State.STOPPED}


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("_round", range(3))
def test_what_is_put_back_while_the_task_stops_is_stopped_too(open_desk, _round):
    desk = open_desk(overlap=4, skip_limit=1)
    leaving, ending, skipping, claiming = (desk.labeler() for _ in range(4))
    left, _ended, skipped = desk.claim(leaving), desk.claim(ending), desk.claim(skipping)
    leases.renew(assignment_id=left.id, labeler=leaving, now=LATER)
    outcomes = at_once(
        lambda: desk.release(left, leaving, now=LATER),
        lambda: desk.skip(skipped, skipping, now=LATER),
        lambda: leases.sweep(now=LATER),
        lambda: desk.claim(claiming, now=LATER),
    )
    # The sweep may take the skipper's lease before the skip; then nothing stops.
    stopped = Task.objects.get().stopped_at is not None
    assert stopped == isinstance(outcomes[1], Skip)
    assert not any(slot == (State.OPEN if stopped else State.STOPPED) for slot in desk.states(left))


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("_round", range(3))
def test_a_sent_back_answer_replaced_while_the_task_stops_leaves_no_open_slot(open_desk, _round):
    desk = open_desk(overlap=3, skip_limit=1, review_percent=100)
    writing, skipping = desk.labeler(), desk.labeler()
    back, skipped = desk.answer(writing), desk.claim(skipping)
    desk.send_back(back)
    manager = make.user(Role.MANAGER)
    outcomes = at_once(
        lambda: replace_sent_back(assignment_id=back.id, by=manager, now=NOW),
        lambda: desk.skip(skipped, skipping),
        lambda: desk.change_overlap(4),
    )
    assert not [outcome for outcome in outcomes if isinstance(outcome, Exception)]
    assert sorted(desk.states(back)) == [State.CANCELLED, *[State.STOPPED] * 4]
    assert Task.objects.aggregate(most=Max("assignments__slot"))["most"] == 5
