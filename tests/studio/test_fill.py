"""The task that gives open campaigns the tasks they miss."""

import threading

import pytest
from django.db import connection

from annotate.studio import tasks
from annotate.work.models import Assignment, Task, Workflow
from annotate.work.states import CampaignState
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
    bench = tasks.WORKFLOWS[Workflow.DEMONSTRATIONS]

    def fill(campaign, now):
        if campaign == broken:
            raise RuntimeError("the bench is broken")
        return bench.fill(campaign, now)

    broken_bench = type(bench)(**{**vars(bench), "fill": fill})
    monkeypatch.setitem(tasks.WORKFLOWS, Workflow.DEMONSTRATIONS, broken_bench)
    tasks.fill_campaigns()
    assert (broken.tasks.count(), sound.tasks.count()) == (0, 1)
    assert f"campaign {broken.id} could not be filled" in caplog.text


@pytest.mark.django_db
def test_a_campaign_closed_meanwhile_gets_no_further_tasks(monkeypatch):
    campaign = make.campaign(over=pool_of(3))
    bench = tasks.WORKFLOWS[Workflow.DEMONSTRATIONS]
    calls = []

    def fill(campaign, now):
        calls.append(campaign)
        type(campaign).objects.update(state=CampaignState.PAUSED)
        return 1

    monkeypatch.setitem(tasks.WORKFLOWS, Workflow.DEMONSTRATIONS, type(bench)(**{**vars(bench), "fill": fill}))
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
