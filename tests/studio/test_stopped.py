"""Tasks that too many people skipped, and what a manager makes of them."""

import pytest
from django.urls import reverse

from annotate.accounts.models import Role
from annotate.studio.views.stopped import ENDED, RESTARTED
from annotate.work import leases
from annotate.work.models import Task
from annotate.work.refusals import NotStopped
from annotate.work.states import State
from tests import factories as make
from tests.studio.conftest import client_of, fact, told, words
from tests.studio.test_campaigns import with_tasks
from tests.work.test_quarantine import away

pytestmark = pytest.mark.django_db


def skipped_until_stopped(campaign, people=1):
    """So many people skip the next task for want of knowledge; the last of them stops it."""
    for _ in range(people):
        labeler = make.user()
        make.acknowledge(labeler, campaign)
        held = leases.claim(campaign_id=campaign.id, labeler=labeler, now=make.NOW)
        leases.skip(
            assignment_id=held.id, labeler=labeler, reason="expertise", note="Needs <b>chemistry</b>", now=make.NOW
        )
    return Task.objects.get(id=held.task_id)


def page_of(campaign):
    return reverse("studio:stopped", args=[campaign.id])


def decide(client, task, decision, **more):
    address = reverse("studio:stopped-decide", args=[task.campaign_id, task.id])
    return client.post(address, {"decision": decision} | more, follow=True)


def states(task):
    return sorted(task.assignments.values_list("state", flat=True))


def test_the_page_tells_who_skipped_and_why_and_the_campaigns_page_leads_there(studio):
    campaign = with_tasks(make.campaign(skip_limit=2))
    task = skipped_until_stopped(campaign, 2)
    page = words(studio.get(page_of(campaign)))
    assert task.prompt.text in page
    assert page.count("It needs knowledge that I do not have") == 2
    assert "Needs &lt;b&gt;chemistry&lt;/b&gt;" in page
    assert f'href="{page_of(campaign)}"' in words(studio.get(reverse("studio:campaign", args=[campaign.id])))


def test_without_stopped_tasks_the_page_says_when_there_will_be_some(studio):
    assert "3 skips" in fact(studio.get(page_of(make.campaign())), "limit")
    assert "never" in fact(studio.get(page_of(make.campaign(skip_limit=0))), "limit")


def test_a_task_is_put_back_into_the_queue(studio):
    task = skipped_until_stopped(with_tasks(make.campaign(skip_limit=1, overlap=2)))
    assert str(RESTARTED) == told(decide(studio, task, "restart"))[-1]
    assert states(task) == [State.OPEN, State.OPEN]
    assert told(decide(studio, task, "restart"))[-1] == NotStopped.message


def test_no_more_answers_of_a_task_are_wanted(studio):
    task = skipped_until_stopped(with_tasks(make.campaign(skip_limit=1, overlap=2)))
    assert str(ENDED) == told(decide(studio, task, "drop"))[-1]
    assert states(task) == [State.CANCELLED, State.CANCELLED]


@pytest.mark.parametrize("decision", ["", "burn"])
def test_a_form_that_decides_nothing_changes_nothing(studio, decision):
    task = skipped_until_stopped(with_tasks(make.campaign(skip_limit=1)))
    response = decide(studio, task, decision, page="2")
    assert response.redirect_chain[-1][0].endswith("?page=2")
    assert states(task) == [State.STOPPED]


def test_another_campaigns_task_is_not_found(studio):
    task = skipped_until_stopped(with_tasks(make.campaign(skip_limit=1)))
    address = reverse("studio:stopped-decide", args=[make.campaign().id, task.id])
    assert studio.post(address, {"decision": "drop"}).status_code == 404
    assert states(task) == [State.STOPPED]


def test_the_list_costs_the_same_queries_however_long_it_is(studio, django_assert_num_queries):
    campaign = with_tasks(make.campaign(skip_limit=1), 3)
    for stopped in (1, 3):
        while Task.objects.exclude(stopped_at=None).count() < stopped:
            skipped_until_stopped(campaign)
        # Session, user, campaign, held tasks, count, tasks, their skips.
        with django_assert_num_queries(7):
            assert len(studio.get(page_of(campaign)).context["page"]) == stopped


@pytest.mark.parametrize("role", [Role.LABELER, Role.REVIEWER])
def test_nobody_but_managers_sees_or_decides(role):
    task = skipped_until_stopped(with_tasks(make.campaign(skip_limit=1)))
    outsider = client_of(make.user(role))
    assert outsider.get(page_of(task.campaign)).status_code == 403
    assert decide(outsider, task, "restart").status_code == 403
    assert states(task) == [State.STOPPED]


def test_the_page_tells_of_tasks_whose_prompts_are_in_quarantine(studio):
    campaign = with_tasks(make.campaign())
    away(campaign.pool.prompts.first())
    page = words(studio.get(page_of(campaign)))
    assert 'data-fact="held"' in page
    assert reverse("studio:quarantine", args=[campaign.pool_id]) in page
