"""The task that gives open campaigns the tasks they miss."""

import threading

import pytest
from django.db import connection

from annotate.demonstrations.workflow import DEMONSTRATIONS
from annotate.work import filling
from annotate.work.campaigns import change_campaign
from annotate.work.models import Assignment, Campaign, Task
from annotate.work.states import CampaignState, State
from annotate.workflows import tasks
from tests import factories as make


def pool_of(prompts):
    pool = make.pool()
    for _ in range(prompts):
        make.prompt(pool)
    return pool


@pytest.mark.django_db
def test_every_prompt_gets_its_task_and_a_new_one_later():
    pool = pool_of(3)
    campaign = make.campaign(over=pool, overlap=2)
    tasks.fill_campaigns()
    assert (campaign.tasks.count(), Assignment.objects.count()) == (3, 6)
    make.prompt(pool)
    tasks.fill_campaigns(pool.id)
    assert (campaign.tasks.count(), Assignment.objects.count()) == (4, 8)


@pytest.mark.django_db
def test_a_bench_is_asked_until_nothing_is_missing(monkeypatch):
    monkeypatch.setattr("annotate.demonstrations.workflow.FILL_BATCH", 2)
    campaign = make.campaign(over=pool_of(5))
    tasks.fill_campaigns()
    assert campaign.tasks.count() == 5


@pytest.mark.parametrize("state", [CampaignState.DRAFT, CampaignState.PAUSED, CampaignState.CLOSED])
@pytest.mark.django_db
def test_only_open_campaigns_are_filled(state):
    times = {
        CampaignState.DRAFT: {"opened_at": None},
        CampaignState.PAUSED: {},
        CampaignState.CLOSED: {"closed_at": make.NOW},
    }[state]
    make.campaign(over=pool_of(2), state=state, **times)
    tasks.fill_campaigns()
    assert not Task.objects.exists()


@pytest.mark.django_db
def test_only_the_pools_campaigns_are_filled_where_one_is_named():
    one, other = make.campaign(over=pool_of(1)), make.campaign(over=pool_of(1))
    tasks.fill_campaigns(other.pool_id)
    assert (one.tasks.count(), other.tasks.count()) == (0, 1)


@pytest.mark.django_db
def test_one_failing_campaign_does_not_stop_another(monkeypatch, caplog):
    broken, sound = make.campaign(over=pool_of(1)), make.campaign(over=pool_of(1))
    fill_as_usual = DEMONSTRATIONS.fill

    def fill(*, campaign, now):
        if campaign == broken:
            raise RuntimeError("the workflow is broken")
        return fill_as_usual(campaign=campaign, now=now)

    monkeypatch.setattr(DEMONSTRATIONS, "fill", fill)
    tasks.fill_campaigns()
    assert (broken.tasks.count(), sound.tasks.count()) == (0, 1)
    assert f"campaign {broken.id} could not be filled" in caplog.text


@pytest.mark.django_db
def test_a_campaign_closed_meanwhile_gets_no_further_tasks(monkeypatch):
    campaign = make.campaign(over=pool_of(3))
    calls = []

    def fill(*, campaign, now):
        calls.append(campaign)
        type(campaign).objects.update(state=CampaignState.PAUSED)
        return 1

    monkeypatch.setattr(DEMONSTRATIONS, "fill", fill)
    tasks.fill_campaigns()
    assert calls == [campaign]


@pytest.mark.django_db(transaction=True)
def test_two_workers_at_once_make_each_task_once():
    campaign = make.campaign(over=pool_of(20), overlap=2)
    start = threading.Barrier(2)

    def work():
        start.wait()
        tasks.fill_campaigns()
        connection.close()

    threads = [threading.Thread(target=work) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (campaign.tasks.count(), campaign.assignments.count()) == (20, 40)


@pytest.mark.parametrize("state", [CampaignState.OPEN, CampaignState.PAUSED])
@pytest.mark.django_db
def test_a_changed_overlap_reaches_every_task_of_an_open_or_paused_campaign(state, monkeypatch):
    monkeypatch.setattr("annotate.work.filling.TASKS_A_STEP", 2)
    campaign = make.campaign(over=pool_of(5), overlap=2)
    tasks.fill_campaigns()
    Campaign.objects.update(state=state)
    change_campaign(campaign=campaign, overlap=3)
    tasks.fill_campaigns()
    assert campaign.assignments.count() == 15
    change_campaign(campaign=campaign, overlap=1)
    tasks.fill_campaigns()
    assert campaign.assignments.exclude(state=State.CANCELLED).count() == 5


@pytest.mark.django_db
def test_where_a_worker_was_killed_the_next_one_goes_on(monkeypatch):
    monkeypatch.setattr("annotate.work.filling.TASKS_A_STEP", 2)
    campaign = make.campaign(over=pool_of(5))
    tasks.fill_campaigns()
    change_campaign(campaign=campaign, overlap=2)
    assert filling.match_overlap(campaign=campaign, now=make.NOW)
    campaign.refresh_from_db()
    assert campaign.matched_to == campaign.tasks.order_by("id")[1].id
    tasks.fill_campaigns()
    campaign.refresh_from_db()
    assert (campaign.matched_to, campaign.assignments.count()) == (None, 10)


@pytest.mark.django_db
def test_a_further_change_in_the_middle_of_one_reaches_the_first_tasks_too(monkeypatch):
    monkeypatch.setattr("annotate.work.filling.TASKS_A_STEP", 2)
    campaign = make.campaign(over=pool_of(5))
    tasks.fill_campaigns()
    for overlap in (3, 1):
        change_campaign(campaign=campaign, overlap=overlap)
        filling.match_overlap(campaign=campaign, now=make.NOW)
    tasks.fill_campaigns()
    assert campaign.assignments.exclude(state=State.CANCELLED).count() == 5


@pytest.mark.django_db
def test_after_a_large_fill_the_planner_knows_the_tables(monkeypatch):
    monkeypatch.setattr(tasks, "LARGE_FILL", 3)
    make.campaign(over=pool_of(3))
    tasks.fill_campaigns()
    with connection.cursor() as cursor:
        cursor.execute("SELECT reltuples FROM pg_class WHERE relname = 'work_task'")
        assert cursor.fetchone() == (3,)
