import pytest
from django.db import IntegrityError, transaction
from django.db.utils import DataError

from annotate.accounts.models import Role
from annotate.guidelines.models import Guideline
from annotate.work import filling, queries, refusals
from annotate.work.campaigns import change_state
from annotate.work.models import Assignment, Event, Task
from annotate.work.moves import move
from annotate.work.refusals import Moved
from annotate.work.review import accept
from annotate.work.states import CAMPAIGN_MOVES, CampaignState, Move, State
from tests import factories as make
from tests.work.conftest import NOW


def draft_campaign(**fields):
    return make.campaign(state=CampaignState.DRAFT, opened_at=None, **fields)


@pytest.mark.parametrize("before", CampaignState)
@pytest.mark.parametrize("after", CampaignState)
@pytest.mark.django_db
def test_a_campaign_moves_only_along_its_table(before, after):
    campaign = make.campaign(
        state=before,
        opened_at=None if before == CampaignState.DRAFT else NOW,
        closed_at=NOW if before == CampaignState.CLOSED else None,
    )
    if (before, after) in CAMPAIGN_MOVES:
        assert change_state(campaign=campaign, to=after, now=NOW).state == after
    else:
        with pytest.raises(refusals.NoSuchMove):
            change_state(campaign=campaign, to=after, now=NOW)
        campaign.refresh_from_db()
        assert campaign.state == before


@pytest.mark.django_db
def test_a_campaign_without_a_published_guideline_does_not_open():
    guideline = Guideline.objects.create(name="empty", created_at=NOW)
    campaign = draft_campaign(guideline=guideline)
    with pytest.raises(refusals.NothingPublished):
        change_state(campaign=campaign, to=CampaignState.OPEN, now=NOW)


@pytest.mark.django_db
def test_a_campaign_for_nobody_does_not_open():
    campaign = draft_campaign(cohorts=[])
    with pytest.raises(refusals.NobodyMayWork):
        change_state(campaign=campaign, to=CampaignState.OPEN, now=NOW)
    campaign.labelers.add(make.user())
    assert change_state(campaign=campaign, to=CampaignState.OPEN, now=NOW).opened_at == NOW


def test_closing_cancels_open_slots_only(open_desk):
    desk = open_desk(tasks=3)
    labeler = desk.labeler()
    desk.answer(labeler)
    desk.claim(labeler)
    change_state(campaign=desk.campaign, to=CampaignState.CLOSED, now=NOW)
    states = sorted(Assignment.objects.values_list("state", flat=True))
    assert states == [State.ACCEPTED, State.CANCELLED, State.LEASED]
    assert Event.objects.filter(move=Move.CANCEL).count() == 1


@pytest.mark.django_db
def test_every_prompt_gets_one_task_with_its_slots_however_often_it_is_asked_for():
    campaign = make.campaign(overlap=3)
    prompts = [make.prompt(campaign.pool) for _ in range(4)]
    made = filling.add_tasks(campaign=campaign, prompts=campaign.pool.prompts.order_by("id"), now=NOW)
    assert [prompt_id for _task, prompt_id in made] == [prompt.id for prompt in prompts]
    assert filling.add_tasks(campaign=campaign, prompts=campaign.pool.prompts.order_by("id"), now=NOW) == []
    assert Assignment.objects.filter(campaign=campaign, state=State.OPEN).count() == 12
    slots = Task.objects.get(id=made[0][0]).assignments.order_by("position").values_list("slot", flat=True)
    assert list(slots) == [1, 2, 3]


@pytest.mark.django_db
def test_no_prompts_make_no_tasks():
    campaign = make.campaign()
    assert filling.add_tasks(campaign=campaign, prompts=campaign.pool.prompts.none(), now=NOW) == []


@pytest.mark.django_db
def test_a_task_to_write_something_new_has_no_prompt():
    campaign = make.campaign(overlap=2)
    task = filling.add_task(campaign=campaign, now=NOW)
    assert (task.prompt, task.assignments.count()) == (None, 2)


def test_progress_counts_every_state_in_one_query(open_desk, django_assert_num_queries):
    desks = [open_desk(tasks=3, review_percent=100) for _ in range(3)]
    for desk in desks:
        labeler = desk.labeler()
        desk.answer(labeler)
        desk.claim(labeler)
    with django_assert_num_queries(1):
        found = queries.progress([desk.campaign for desk in desks])
    assert found[desks[0].campaign.id] == queries.Progress(open=1, leased=1, submitted=1)
    assert (found[desks[0].campaign.id].total, found[desks[0].campaign.id].percent) == (3, 33)


def test_the_desk_lists_the_campaigns_of_ones_cohort_or_name(open_desk):
    open_to_all, named, held_out = open_desk(), open_desk(), open_desk(cohorts=["held_out"])
    labeler, other = make.user(), make.user()
    named.campaign.labelers.add(labeler)
    assert list(queries.campaigns_for(labeler)) == [open_to_all.campaign, named.campaign]
    assert list(queries.campaigns_for(other)) == [open_to_all.campaign]
    assert list(queries.campaigns_for(make.user(cohort="held_out"))) == [held_out.campaign]


def test_a_move_from_another_state_changes_nothing(open_desk):
    desk = open_desk()
    labeler = desk.labeler()
    held = desk.claim(labeler)
    stale = Assignment.objects.get(id=held.id)
    desk.submit(held, labeler)
    events = Event.objects.count()
    with pytest.raises(Moved), transaction.atomic():
        move(slot=stale, steps=[Move.RELEASE], actor=labeler, now=NOW, labeler_id=None, leased_until=None)
    with pytest.raises(ValueError, match="starts from"):
        move(slot=stale, steps=[Move.ACCEPT], actor=labeler, now=NOW)
    assert Event.objects.count() == events


@pytest.mark.parametrize(
    "columns",
    [
        {"state": State.LEASED},
        {"state": State.SUBMITTED},
        {"state": State.OPEN, "leased_until": NOW},
        {"state": "asleep"},
        {"slot": 0},
    ],
)
def test_the_database_refuses_a_state_its_columns_contradict(open_desk, columns):
    open_desk()
    with pytest.raises((IntegrityError, DataError)), transaction.atomic():
        Assignment.objects.update(**columns)


def test_the_database_refuses_a_second_slot_for_one_labeler(open_desk):
    desk = open_desk(overlap=2)
    held = desk.claim(desk.labeler())
    with pytest.raises(IntegrityError, match="assignment_labeler_once_a_task"), transaction.atomic():
        Assignment.objects.filter(task=held.task).exclude(id=held.id).update(
            state=State.CANCELLED, labeler=held.labeler_id
        )


def test_events_are_append_only(open_desk):
    desk = open_desk()
    desk.claim(desk.labeler())
    with pytest.raises(IntegrityError, match="append-only"), transaction.atomic():
        Event.objects.update(detail={"changed": True})
    with pytest.raises(IntegrityError, match="append-only"), transaction.atomic():
        Event.objects.all().delete()


def test_a_reviewer_is_never_the_writer(open_desk):
    desk = open_desk()
    labeler = desk.labeler()
    answer = desk.answer(labeler)
    with pytest.raises(IntegrityError, match="decided_by_another"), transaction.atomic():
        Assignment.objects.filter(id=answer.id).update(decided_by=labeler)


def test_a_history_tells_who_did_what_in_order(open_desk):
    desk = open_desk(review_percent=100)
    labeler, reviewer = desk.labeler(), make.user(Role.REVIEWER)
    answer = desk.answer(labeler)
    accept(assignment_id=answer.id, reviewer=reviewer, comment="", now=NOW)
    told = [(event.move, event.actor) for event in queries.history(answer)]
    assert told == [(Move.CLAIM, labeler), (Move.SUBMIT, labeler), (Move.ACCEPT, reviewer)]
