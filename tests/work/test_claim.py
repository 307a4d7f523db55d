import pytest

from annotate.accounts.models import Cohort, Role
from annotate.guidelines.models import GuidelineVersion
from annotate.work import filling, leases, refusals
from annotate.work.campaigns import change_state
from annotate.work.models import Assignment, Event, Seat
from annotate.work.states import CampaignState, Move, State
from tests import factories as make
from tests.work.conftest import LATER, NOW


def test_a_claim_leases_the_first_slot_and_leaves_an_event(open_desk):
    desk = open_desk(tasks=2)
    labeler = desk.labeler()
    assignment = desk.claim(labeler)
    row = Assignment.objects.get(id=assignment.id)
    assert (row.state, row.labeler, row.slot) == (State.LEASED, labeler, 1)
    assert row.leased_until - NOW == desk.campaign.lease_minutes * make.MINUTE
    assert row.guideline_version == desk.campaign.guideline.versions.get()
    assert list(Event.objects.values_list("move", "actor")) == [(Move.CLAIM, labeler.id)]


def test_a_second_tab_gets_the_same_lease_renewed(open_desk):
    desk = open_desk(tasks=2)
    labeler = desk.labeler()
    first, again = desk.claim(labeler), desk.claim(labeler, now=LATER)
    assert again.id == first.id
    assert Assignment.objects.get(id=first.id).leased_until > LATER
    assert Event.objects.count() == 1


def test_nobody_gets_a_task_twice(open_desk):
    desk = open_desk(tasks=2, overlap=3)
    labeler = desk.labeler()
    answered = {desk.answer(labeler).task_id, desk.answer(labeler).task_id}
    assert len(answered) == 2
    with pytest.raises(refusals.NothingLeft):
        desk.claim(labeler)


def test_the_overlap_is_finished_task_by_task(open_desk):
    desk = open_desk(tasks=2, overlap=2)
    first, second, third = desk.claim(desk.labeler()), desk.claim(desk.labeler()), desk.claim(desk.labeler())
    assert first.task_id == second.task_id != third.task_id


def test_work_in_flight_counts_against_the_overlap(open_desk):
    desk = open_desk(tasks=1, overlap=2)
    desk.claim(desk.labeler())
    desk.claim(desk.labeler())
    with pytest.raises(refusals.NothingLeft):
        desk.claim(desk.labeler())


def test_a_slot_that_came_back_is_found_behind_the_cursor(open_desk):
    desk = open_desk(tasks=2)
    early, late = desk.labeler(), desk.labeler()
    returned = desk.claim(early)
    desk.answer(late)
    leases.release(assignment_id=returned.id, labeler=early, now=NOW)
    assert desk.claim(late).id == returned.id


def test_nobody_gets_the_prompt_they_wrote(open_desk):
    desk = open_desk(tasks=0)
    author, other = desk.labeler(), desk.labeler()
    make.prompt(desk.campaign.pool, author=author)
    filling.add_tasks(campaign=desk.campaign, prompts=desk.campaign.pool.prompts.all(), now=NOW)
    with pytest.raises(refusals.NothingLeft):
        desk.claim(author)
    assert desk.claim(other).state == State.LEASED


@pytest.mark.parametrize(
    "fields",
    [{"role": Role.REVIEWER}, {"role": Role.MANAGER}, {"cohort": Cohort.HELD_OUT}],
    ids=["reviewer", "manager", "held-out labeler"],
)
def test_an_outsider_is_refused(open_desk, fields):
    desk = open_desk()
    with pytest.raises(refusals.NotYours):
        desk.claim(desk.labeler(**fields))


def test_where_labelers_are_named_others_of_the_cohort_are_refused(open_desk):
    desk = open_desk()
    named, other = desk.labeler(cohort=Cohort.HELD_OUT), desk.labeler()
    desk.campaign.labelers.add(named)
    with pytest.raises(refusals.NotYours):
        desk.claim(other)
    assert desk.claim(named).labeler == named


def test_the_guideline_is_acknowledged_before_working_under_it(open_desk):
    desk = open_desk()
    labeler = make.user()
    with pytest.raises(refusals.NotAcknowledged) as refusal:
        desk.claim(labeler)
    assert refusal.value.version == desk.campaign.guideline.versions.get()


def test_a_new_version_is_acknowledged_again_and_the_task_in_hand_keeps_the_old_one(open_desk):
    desk = open_desk(tasks=2)
    labeler = desk.labeler()
    held = desk.claim(labeler)
    guideline = desk.campaign.guideline
    GuidelineVersion.objects.create(
        guideline=guideline, number=2, body="New.", created_by=make.user(Role.MANAGER), created_at=NOW, published_at=NOW
    )
    assert desk.submit(held, labeler).assignment.guideline_version.number == 1
    with pytest.raises(refusals.NotAcknowledged):
        desk.claim(labeler)


@pytest.mark.parametrize("state", [CampaignState.PAUSED, CampaignState.CLOSED])
def test_a_paused_or_closed_campaign_hands_out_nothing_and_lets_people_finish(open_desk, state):
    desk = open_desk(tasks=2)
    working, idle = desk.labeler(), desk.labeler()
    held = desk.claim(working)
    change_state(campaign=desk.campaign, to=state, now=NOW)
    with pytest.raises(refusals.CampaignNotOpen):
        desk.claim(idle)
    assert desk.claim(working).id == held.id
    assert desk.submit(held, working).assignment.state == State.ACCEPTED


def test_the_queries_of_a_claim_are_counted(open_desk, django_assert_num_queries):
    desk = open_desk(tasks=50, overlap=3)
    labeler = desk.labeler()
    desk.answer(labeler)
    # Two round trips and, in a test, the savepoint's two.
    with django_assert_num_queries(4):
        desk.claim(labeler)


def exhaust(verb, labeler):
    """The labeler is told that nothing is left, and the queue remembers it."""
    for _ in range(2):
        with pytest.raises(refusals.NothingLeft):
            verb(labeler)
    assert Seat.objects.get(labeler=labeler).searched


def test_a_search_in_vain_is_remembered_and_the_next_is_short(open_desk, django_assert_max_num_queries):
    desk = open_desk(tasks=2, overlap=3)
    labeler = desk.labeler()
    for _ in range(2):
        desk.answer(labeler)
    exhaust(desk.claim, labeler)
    position = Seat.objects.get(labeler=labeler).cursor
    assert position == Assignment.objects.latest("position").position
    with django_assert_max_num_queries(9), pytest.raises(refusals.NothingLeft):
        desk.claim(labeler)


def test_whoever_gives_a_task_back_may_take_its_other_slot_too(open_desk):
    desk = open_desk(tasks=2, overlap=2)
    labeler, other = desk.labeler(), desk.labeler()
    desk.answer(labeler)
    held = desk.claim(labeler)
    exhaust(desk.ahead, labeler)
    desk.release(held, labeler)
    desk.answer(other)
    assert desk.claim(labeler).task_id == held.task_id


def test_of_two_tasks_given_back_neither_is_passed_by_for_the_other(open_desk):
    desk = open_desk(tasks=2, overlap=2)
    labeler, others = desk.labeler(), [desk.labeler() for _ in range(2)]
    first, second = desk.claim(labeler), desk.ahead(labeler)
    desk.release_prefetched(labeler)
    desk.ahead(labeler)
    desk.release_prefetched(labeler)
    exhausted = desk.ahead(labeler)
    assert exhausted.task_id == second.task_id
    desk.release(exhausted, labeler)
    desk.release(first, labeler)
    taken = [desk.claim(other) for other in others]
    assert {row.id for row in taken} == {exhausted.id, first.id}
    assert {desk.answer(labeler).task_id, desk.answer(labeler).task_id} == {first.task_id, second.task_id}


def test_a_slot_that_came_back_while_its_task_was_held_is_not_passed_by(open_desk):
    desk = open_desk(tasks=2, overlap=2)
    labeler, leaving = desk.labeler(), desk.labeler()
    held, left = desk.claim(labeler), desk.claim(leaving)
    desk.release(left, leaving)
    other_task = desk.ahead(labeler)
    desk.release(held, labeler)
    desk.submit(other_task, labeler)
    desk.change_overlap(1)
    assert desk.claim(labeler).task_id == held.task_id
