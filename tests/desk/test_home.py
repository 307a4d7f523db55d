import pytest
from django.db import transaction
from django.urls import reverse

from annotate.accounts.models import Cohort, User
from annotate.work import review
from annotate.work.campaigns import change_state
from annotate.work.models import Assignment
from annotate.work.states import CampaignState
from tests import factories as make
from tests.desk.conftest import NOW


def test_it_lists_the_campaigns_open_to_me_with_what_is_left(labeler, demonstrations):
    campaign = demonstrations(prompts=3, overlap=2)
    page = labeler(campaign).get("home").content.decode()
    assert campaign.name in page
    assert "3 tasks left" in page


def test_what_i_answered_and_skipped_is_not_left_to_me(labeler, demonstrations):
    campaign = demonstrations(prompts=3, overlap=2)
    me = labeler(campaign)
    me.submit(me.take(campaign), text="An answer")
    me.post("skip", me.take(campaign).id, data={"skip-sent": "1", "skip-reason": "unclear"})
    # The skip took the third task for me, which I hold.
    page = me.get("home").content.decode()
    assert 'data-fact="nothing-left"' in page
    assert "Continue" in page
    assert "1 answer today" in page


def test_it_says_how_many_answers_a_day_they_may_give_and_offers_no_more(labeler, demonstrations):
    campaign = demonstrations(prompts=3)
    me = labeler(campaign)
    User.objects.filter(id=me.user.id).update(daily_cap=1)
    page = me.get("home")
    assert (page.context["today"], page.context["most"]) == (0, 1)
    me.submit(me.take(campaign), text="An answer")
    page = me.get("home").content.decode()
    assert 'data-fact="enough"' in page
    assert f"/desk/campaigns/{campaign.id}/next/" not in page


def test_many_tasks_are_not_counted_to_the_end(labeler, demonstrations):
    me = labeler(demonstrations(prompts=101, overlap=2))
    assert "100 tasks or more" in me.get("home").content.decode()


@pytest.mark.parametrize("state", [CampaignState.PAUSED, CampaignState.CLOSED, CampaignState.DRAFT])
def test_campaigns_that_are_not_open_are_not_listed(labeler, demonstrations, state):
    opened = None if state == CampaignState.DRAFT else NOW
    closed = NOW if state == CampaignState.CLOSED else None
    campaign = demonstrations(state=state, opened_at=opened, closed_at=closed)
    assert campaign.name not in labeler(campaign).get("home").content.decode()


def test_campaigns_of_others_are_not_listed(labeler, demonstrations):
    held_out, named = demonstrations(cohorts=[Cohort.HELD_OUT]), demonstrations()
    named.labelers.add(make.user())
    page = labeler(held_out, named).get("home").content.decode()
    assert held_out.name not in page
    assert named.name not in page


def test_an_empty_desk_says_so(labeler):
    assert 'data-fact="no-work"' in labeler().get("home").content.decode()


def test_a_guideline_not_yet_acknowledged_comes_before_the_work(labeler, demonstrations):
    campaign = demonstrations()
    page = labeler().get("home").content.decode()
    assert reverse("desk:guideline", args=[campaign.id]) in page
    assert f"/desk/campaigns/{campaign.id}/next/" not in page


def test_what_i_hold_stays_in_reach_when_its_campaign_is_paused(labeler, demonstrations):
    campaign = demonstrations()
    me = labeler(campaign)
    held = me.take(campaign)
    change_state(campaign=campaign, to=CampaignState.PAUSED, now=NOW)
    page = me.get("home").content.decode()
    assert f"/desk/tasks/{held.id}/" in page


def test_a_sent_back_answer_stands_there_with_the_comment(labeler, demonstrations):
    campaign = demonstrations(review_percent=100)
    me = labeler(campaign)
    held = me.take(campaign)
    me.submit(held, text="Too long")
    send_back(held, "Please say it in **one** line.")
    page = me.get("home").content.decode()
    assert "Please say it in <strong>one</strong> line." in page
    assert f"/desk/tasks/{held.id}/resume/" in page


@pytest.mark.parametrize("campaigns", [1, 3])
def test_the_queries_do_not_grow_with_the_campaigns(labeler, demonstrations, django_assert_num_queries, campaigns):
    opened = [demonstrations(prompts=2, review_percent=100) for _ in range(campaigns)]
    me = labeler(*opened)
    for campaign in opened:
        returned = me.take(campaign)
        me.submit(returned, text="An answer")
        send_back(returned, "Again")
        me.take(campaign)
    # Session, user; held, campaigns, versions, left (ahead, then behind), answered today, sent back.
    with django_assert_num_queries(9):
        me.get("home")


def send_back(assignment: Assignment, comment: str) -> None:
    with transaction.atomic():
        review.send_back(assignment_id=assignment.id, reviewer=make.user("reviewer"), comment=comment, now=NOW)
