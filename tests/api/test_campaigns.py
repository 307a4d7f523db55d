"""A campaign through the API: nothing is dropped, nothing is reset, and what cannot be is refused with its field."""

import threading

import pytest

from annotate.accounts.models import Role
from annotate.api import views
from annotate.api.serializers import STATE_ELSEWHERE, WORKFLOW_FIXED
from annotate.guidelines.models import Guideline
from annotate.lib.strict import NO_FIELD
from annotate.rankings.models import RankingSettings
from annotate.work import refusals
from annotate.work.campaigns import change_campaign, change_state
from annotate.work.models import Campaign
from annotate.work.stopped import drop_task, restart_task
from annotate.workflows.actions import SettingsChanged
from tests import factories as make
from tests.api.test_api import api, manager
from tests.studio.test_campaigns import with_tasks
from tests.studio.test_stopped import skipped_until_stopped
from tests.work.test_races import at_once, under_way

__all__ = ["api", "manager"]

pytestmark = pytest.mark.django_db


def draft(workflow="rankings", **columns):
    return make.campaign(workflow, state="draft", opened_at=None, **columns)


def body(workflow="rankings", **more):
    return {"name": "New", "workflow": workflow, "pool": make.pool().id, "guideline": make.guideline().id} | more


def unpublished():
    return Guideline.objects.create(name="empty", created_at=make.NOW)


def between(monkeypatch, other):
    """Another change comes between reading the campaign and changing it."""
    real = views.change_campaign

    def late(**values):
        monkeypatch.setattr(views, "change_campaign", real)
        other()
        return real(**values)

    monkeypatch.setattr(views, "change_campaign", late)


def test_two_changes_of_settings_lose_neither(api, monkeypatch):
    campaign = draft(slate_min=4, slate_max=9)
    between(monkeypatch, lambda: api("patch", f"campaigns/{campaign.id}/", {"slate_max": 6}))
    answer = api("patch", f"campaigns/{campaign.id}/", {"slate_min": 5})
    assert (answer["slate_min"], answer["slate_max"]) == (5, 6)


def test_two_changes_of_settings_that_do_not_fit_are_refused(api, monkeypatch):
    campaign = draft(slate_min=4, slate_max=9)
    between(monkeypatch, lambda: api("patch", f"campaigns/{campaign.id}/", {"slate_max": 5}))
    refused = api("patch", f"campaigns/{campaign.id}/", {"slate_min": 8}, status=409)
    assert refused == {"detail": str(SettingsChanged.message)}
    settings = RankingSettings.objects.get(campaign=campaign)
    assert (settings.slate_min, settings.slate_max) == (4, 5)


@pytest.mark.parametrize(
    ("names", "problem"),
    [
        ({"sltae_min": 5}, {"sltae_min": [str(NO_FIELD)]}),
        ({"settings": {"slate_min": 5}}, {"settings": [str(NO_FIELD)]}),
        ({"state": "open"}, {"state": [str(STATE_ELSEWHERE)]}),
        ({"workflow": "demonstrations"}, {"workflow": [str(WORKFLOW_FIXED)]}),
    ],
)
def test_a_field_that_would_change_nothing_is_refused(api, names, problem):
    campaign = draft()
    assert api("patch", f"campaigns/{campaign.id}/", names | {"name": "Other"}, status=400) == problem
    assert Campaign.objects.get().name == campaign.name


def test_a_setting_of_another_workflow_is_refused_in_a_list(api):
    problems = api("patch", f"campaigns/{draft().id}/", {"target_pool": 1}, status=400)["target_pool"]
    assert isinstance(problems, list)


def test_all_problems_are_named_at_once(api):
    problems = api("post", "campaigns/", {"workflow": "instructions", "name": "", "sltae_min": 5}, status=400)
    assert {"name", "pool", "guideline", "target_pool", "sltae_min"} == problems.keys()
    problems = api("patch", f"campaigns/{draft().id}/", {"name": "", "slate_min": 99}, status=400)
    assert {"name", "slate_min"} == problems.keys()


@pytest.mark.parametrize("body", [[], "x", 1, [{}]])
def test_a_body_that_is_no_object_is_refused(api, body):
    assert "non_field_errors" in api("post", "campaigns/", body, status=400)


def test_a_new_campaign_with_an_unknown_field_is_refused(api):
    assert api("post", "campaigns/", body(sltae_min=5), status=400) == {"sltae_min": [str(NO_FIELD)]}
    assert not Campaign.objects.exists()


@pytest.mark.parametrize("names", [{"tempratur": 0.1}, {"slate_min": 9}])
def test_an_unknown_field_of_a_mix_is_refused(api, names):
    campaign = draft()
    part = {"policy": make.policy().id, "count": 4}
    (name,) = names
    at = api("put", f"campaigns/{campaign.id}/mix/", {"parts": [part | names]}, status=400)
    assert at == {"parts": {"0": {name: [str(NO_FIELD)]}}}
    whole = api("put", f"campaigns/{campaign.id}/mix/", {"parts": [part]} | names, status=400)
    assert whole == {name: [str(NO_FIELD)]}


@pytest.mark.parametrize("workflow", ["rankings", "instructions", "demonstrations"])
def test_what_was_read_may_be_sent_back(api, workflow):
    campaign = make.campaign(workflow)
    read = api("get", f"campaigns/{campaign.id}/")
    assert api("patch", f"campaigns/{campaign.id}/", read | {"overlap": 3}) == read | {"overlap": 3}
    assert api("patch", f"campaigns/{campaign.id}/", {"order": "random"}, status=409)


@pytest.mark.parametrize("number", ["1e400", "-1e400", "1.5"])
@pytest.mark.parametrize("name", ["pool", "guideline", "labelers", "qualifications", "policies"])
def test_a_number_that_is_no_id_is_refused(client, manager, name, number):
    listed = f"[{number}]" if name in ("labelers", "qualifications", "policies") else number
    words = "".join(f'"{key}": "{value}", ' for key, value in body().items() if key != name)
    response = client.post(
        "/api/v1/campaigns/",
        data=f'{{{words}"{name}": {listed}}}',
        content_type="application/json",
        headers={"authorization": f"Token {make.api_token(manager)}"},
    )
    assert response.status_code == 400
    assert not Campaign.objects.exists()


def test_only_labelers_can_be_named(api, manager):
    campaign, gone = draft(), make.user(is_active=False)
    for user in (manager, make.user(Role.REVIEWER), gone):
        assert "labelers" in api("patch", f"campaigns/{campaign.id}/", {"labelers": [user.id]}, status=400)
    # Who is named already stays, and opens nothing alone.
    campaign.labelers.add(gone)
    api("patch", f"campaigns/{campaign.id}/", {"labelers": [gone.id], "name": "Other"})
    refused = api("post", f"campaigns/{campaign.id}/state/", {"to": "open"}, status=409)
    assert refused == {"detail": str(refusals.NobodyMayWork.message)}


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("change", [{"cohorts": []}, {"guideline": None}])
def test_a_campaign_does_not_open_past_a_change_that_is_under_way(change):
    campaign = draft("demonstrations")
    change = {name: value if value is not None else unpublished() for name, value in change.items()}
    outcome = []

    def open_it():
        try:
            outcome.append(change_state(campaign=Campaign.objects.get(id=campaign.id), to="open", now=make.NOW))
        except (refusals.NobodyMayWork, refusals.NothingPublished) as refused:
            outcome.append(refused)

    stale = Campaign.objects.get(id=campaign.id)
    with under_way(lambda: change_campaign(campaign=stale, **change)):
        opening = threading.Thread(target=lambda: at_once(open_it))
        opening.start()
        opening.join(timeout=1)
    opening.join(timeout=30)
    assert isinstance(outcome[0], refusals.NobodyMayWork | refusals.NothingPublished)
    assert Campaign.objects.get(id=campaign.id).state == "draft"


def test_nothing_waits_for_a_decision_in_a_closed_campaign(api, manager):
    campaign = with_tasks(make.campaign(skip_limit=1), 2)
    task = skipped_until_stopped(campaign)
    assert api("get", f"campaigns/{campaign.id}/stopped_tasks/")["count"] == 1
    change_state(campaign=campaign, to="closed", now=make.NOW)
    assert api("get", f"campaigns/{campaign.id}/stopped_tasks/")["count"] == 0
    for decide in (
        lambda: restart_task(task_id=task.id, now=make.NOW, by=manager),
        lambda: drop_task(task_id=task.id, now=make.NOW),
    ):
        with pytest.raises(refusals.NotStopped):
            decide()
