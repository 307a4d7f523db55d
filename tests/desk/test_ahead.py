"""The task after this one: leased and loaded while the labeler still works."""

import re

import pytest

from annotate.work.campaigns import change_state
from annotate.work.models import Assignment, Hand
from annotate.work.refusals import NothingLeft
from annotate.work.states import CampaignState, State
from tests import factories as make
from tests.desk.conftest import publish


def ahead(me, campaign) -> Assignment:
    response = me.post("ahead", campaign.id)
    assert response.status_code == 200, response.content.decode()
    return Assignment.objects.get(id=int(response.json()["page"].rstrip("/").rsplit("/", 1)[1]))


def test_the_next_task_is_leased_beside_the_one_in_work(labeler, demonstrations):
    campaign = demonstrations(prompts=3)
    me = labeler(campaign)
    held = me.take(campaign)
    row = ahead(me, campaign)
    assert (row.state, row.labeler, row.hand) == (State.LEASED, me.user, Hand.PREFETCHED)
    assert row.id != held.id
    assert ahead(me, campaign).id == row.id


def test_its_page_may_stay_in_the_browser_until_the_lease_ends_and_no_other_page_may(labeler, demonstrations):
    campaign = demonstrations(prompts=2, lease_minutes=10)
    me = labeler(campaign)
    held, row = me.take(campaign), ahead(me, campaign)
    kept = me.get("task", row.id, ahead="")
    private, seconds = kept["Cache-Control"].split(", ")
    assert {private, re.sub(r"\d+", "", seconds)} == {"private", "max-age="}
    assert 0 < int(seconds.split("=")[1]) <= 600
    assert row.task.prompt.text in kept.content.decode()
    for response in (me.get("task", row.id), me.get("task", held.id), me.get("task", held.id, ahead="")):
        assert "no-store" in response["Cache-Control"]


def test_looking_at_it_does_not_prolong_it(labeler, demonstrations):
    campaign = demonstrations(prompts=2)
    me = labeler(campaign)
    me.take(campaign)
    until = ahead(me, campaign).leased_until
    row = ahead(me, campaign)
    me.get("task", row.id, ahead="")
    me.post("renew", row.id)
    assert Assignment.objects.get(id=row.id).leased_until == until


def test_the_submit_leads_to_it_and_makes_it_the_one_in_work(labeler, demonstrations):
    campaign = demonstrations(prompts=3)
    me = labeler(campaign)
    held, row = me.take(campaign), ahead(me, campaign)
    response = me.post(
        "submit", held.id, data={"submit_key": "b" * 32, "text": "An answer"}, headers={"accept": "application/json"}
    )
    assert response.json() == {"next": f"/desk/tasks/{row.id}/", "undo": f"/desk/answers/{held.id}/undo/"}
    row.refresh_from_db()
    assert row.hand == Hand.ACTIVE


def test_whoever_stops_gives_it_back(labeler, demonstrations):
    campaign = demonstrations(prompts=2)
    me = labeler(campaign)
    held, row = me.take(campaign), ahead(me, campaign)
    me.submit(held, text="An answer", then="stop")
    assert Assignment.objects.get(id=row.id).state == State.OPEN


def test_it_does_not_stand_on_the_labelers_first_page(labeler, demonstrations):
    campaign = demonstrations(prompts=2)
    me = labeler(campaign)
    held, row = me.take(campaign), ahead(me, campaign)
    page = me.get("home").content.decode()
    assert f"/desk/tasks/{held.id}/" in page
    assert f"/desk/tasks/{row.id}/" not in page


def test_without_a_task_in_work_there_is_none_ahead(labeler, demonstrations):
    campaign = demonstrations(prompts=2)
    response = labeler(campaign).post("ahead", campaign.id)
    assert (response.status_code, response.json()["page"]) == (200, None)
    assert not Assignment.objects.filter(state=State.LEASED).exists()


def test_where_nothing_is_left_there_is_none_ahead(labeler, demonstrations):
    campaign = demonstrations(prompts=1)
    me = labeler(campaign)
    me.take(campaign)
    response = me.post("ahead", campaign.id)
    # Not a fault, or the browser's console would name one on every last task.
    assert (response.status_code, response.json()["page"]) == (200, None)
    assert response.json()["words"] == str(NothingLeft.message)


@pytest.mark.parametrize(
    ("state", "then"), [(CampaignState.PAUSED, State.OPEN), (CampaignState.CLOSED, State.CANCELLED)]
)
def test_what_is_ahead_in_a_campaign_that_stops_is_not_handed_out_but_given_back(labeler, demonstrations, state, then):
    campaign = demonstrations(prompts=2)
    me = labeler(campaign)
    held, row = me.take(campaign), ahead(me, campaign)
    change_state(campaign=campaign, to=state, now=make.NOW)
    assert me.submit(held, text="An answer").url == "/desk/"
    row.refresh_from_db()
    assert (row.state, row.labeler) == (then, None)


def test_a_guideline_published_meanwhile_is_read_first(labeler, demonstrations):
    campaign = demonstrations(prompts=2)
    me = labeler(campaign)
    held, row = me.take(campaign), ahead(me, campaign)
    version = publish(campaign.guideline, "New words.")
    assert me.submit(held, text="An answer").url == f"/desk/campaigns/{campaign.id}/guideline/"
    me.post("guideline", campaign.id, data={"version": version.id})
    row.refresh_from_db()
    assert (row.hand, row.guideline_version) == (Hand.ACTIVE, version)
