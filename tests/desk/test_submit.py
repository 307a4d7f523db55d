"""Handing a task in, and all that may come in between."""

import threading
from datetime import timedelta
from uuid import uuid4

import pytest
from django.db import connection, transaction
from django.urls import reverse
from django.utils import timezone

from annotate.accounts.models import Qualification
from annotate.demonstrations.models import Demonstration
from annotate.desk.views.tasks import SUBMITTED
from annotate.instructions.models import Instruction
from annotate.rankings.models import Ranking
from annotate.work import filling, leases, refusals, slots
from annotate.work.campaigns import change_campaign, change_state
from annotate.work.models import Assignment, Draft, Event, Task
from annotate.work.review import replace_sent_back, send_back
from annotate.work.states import CampaignState, Move, State
from tests import factories as make
from tests.desk.conftest import Labeler, marks, publish
from tests.factories import draft_of


def test_a_submit_leads_straight_to_the_next_task(labeler, demonstrations):
    campaign = demonstrations(prompts=2)
    me = labeler(campaign)
    first = me.take(campaign)
    response = me.submit(first, text="An answer")
    second = Assignment.objects.get(labeler=me.user, state=State.LEASED)
    assert response.url == reverse("desk:task", args=[second.id]) + "#id_text"
    assert second.id != first.id


def test_who_stops_holds_nothing(labeler, demonstrations):
    campaign = demonstrations(prompts=2)
    me = labeler(campaign)
    response = me.submit(me.take(campaign), text="An answer", then="stop")
    assert response.url == reverse("desk:home")
    assert not Assignment.objects.filter(state=State.LEASED).exists()


def test_after_the_last_task_home_says_that_nothing_is_left(labeler, demonstrations):
    campaign = demonstrations()
    me = labeler(campaign)
    response = me.submit(me.take(campaign), text="An answer")
    page = me.client.get(response.url).content.decode()
    assert str(SUBMITTED) in page
    assert str(refusals.NothingLeft.message) in page


def test_a_doubled_submit_answers_as_the_first_did(labeler, demonstrations):
    campaign = demonstrations(prompts=3)
    me = labeler(campaign)
    held, key = me.take(campaign), uuid4()
    first, second = (me.submit(held, key=key, text="An answer") for _ in range(2))
    assert (first.status_code, second.status_code) == (302, 302)
    assert first.url == second.url
    assert Demonstration.objects.count() == 1
    assert Event.objects.filter(move=Move.SUBMIT).count() == 1


@pytest.mark.django_db(transaction=True)
def test_two_clicks_at_the_same_moment_submit_once_and_see_the_same(labeler, demonstrations):
    campaign = demonstrations(prompts=3)
    me = labeler(campaign)
    held, key = me.take(campaign), uuid4()
    tabs = [Labeler(me.user) for _ in range(4)]
    answers, barrier = [], threading.Barrier(len(tabs))

    def click(tab):
        barrier.wait()
        answers.append(tab.submit(held, key=key, text="An answer"))
        connection.close()

    threads = [threading.Thread(target=click, args=(tab,)) for tab in tabs]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert {answer.status_code for answer in answers} == {302}
    assert len({answer.url for answer in answers}) == 1
    assert Demonstration.objects.count() == 1
    assert Assignment.objects.filter(labeler=me.user, state=State.LEASED).count() == 1


def test_a_second_tab_of_a_task_already_submitted_keeps_its_text_on_the_page(labeler, demonstrations):
    campaign = demonstrations()
    me = labeler(campaign)
    held = me.take(campaign)
    me.submit(held, text="First tab")
    response = me.submit(held, text="Second tab")
    assert response.status_code == 409
    assert str(refusals.AlreadySubmitted.message) in response.content.decode()
    assert "no longer yours" not in response.content.decode()
    assert "Second tab" in response.content.decode()
    assert Demonstration.objects.get().text == "First tab"


def test_a_bad_answer_comes_back_whole_and_the_lease_stays(labeler, demonstrations):
    campaign = demonstrations()
    me = labeler(campaign)
    held = me.take(campaign)
    response = me.submit(held, text="x" * 100_001)
    page = response.content.decode()
    assert response.status_code == 422
    assert "x" * 100_001 in page
    assert "100,001 characters" in page
    assert Assignment.objects.get(id=held.id).state == State.LEASED


def test_the_page_that_comes_back_keeps_its_key(labeler, demonstrations):
    campaign = demonstrations()
    me = labeler(campaign)
    held, key = me.take(campaign), uuid4()
    assert str(key) in me.submit(held, key=key, text="").content.decode()


@pytest.mark.parametrize("key", ["", "no-uuid", "'; --"])
def test_a_form_without_its_key_is_no_form(labeler, demonstrations, key):
    campaign = demonstrations()
    me = labeler(campaign)
    held = me.take(campaign)
    assert me.post("submit", held.id, data={"text": "An answer", "submit_key": key}).status_code == 400
    assert not Demonstration.objects.exists()


def test_after_an_expired_lease_the_submit_is_taken_while_a_slot_is_free(labeler, demonstrations):
    campaign = demonstrations()
    me = labeler(campaign)
    held = me.take(campaign)
    expire()
    page = me.get("task", held.id)
    assert 'data-fact="late"' in page.content.decode()
    assert me.submit(held, text="Late but whole").status_code == 302
    assert Demonstration.objects.get().assignment.labeler == me.user


def test_where_the_slot_went_to_somebody_else_the_text_is_shown_for_copying_and_kept(labeler, demonstrations):
    campaign = demonstrations()
    late, quick = labeler(campaign), labeler(campaign)
    held = late.take(campaign)
    expire()
    quick.submit(quick.take(campaign), text="Quick")
    response = late.submit(held, text="Two hours of work <b>here</b>")
    page = response.content.decode()
    assert response.status_code == 409
    assert str(refusals.LeaseLost.message) in page
    assert "Two hours of work &lt;b&gt;here&lt;/b&gt;" in page
    assert draft_of(late.user, held.task_id).body == {"text": ["Two hours of work <b>here</b>"]}
    assert "Two hours of work" in late.get("task", held.id).content.decode()


def test_what_somebody_else_wrote_is_not_on_the_page_of_who_came_late(labeler, demonstrations):
    campaign = demonstrations()
    late, quick = labeler(campaign), labeler(campaign)
    held = late.take(campaign)
    expire()
    taken = quick.take(campaign)
    quick.save(taken, text="Quick's secret draft")
    assert "secret" not in late.get("task", held.id).content.decode()
    quick.submit(taken, text="Quick's secret answer")
    assert "secret" not in late.get("task", held.id).content.decode()
    assert late.get("answer", held.id).status_code == 404


def test_a_late_submit_that_took_another_slot_leads_to_its_own_answer(labeler, demonstrations):
    campaign = demonstrations(overlap=2)
    late, quick = labeler(campaign), labeler(campaign)
    held = late.take(campaign)
    expire()
    assert quick.take(campaign).id == held.id
    late.submit(held, text="Late")
    mine = Demonstration.objects.get().assignment
    assert mine.id != held.id
    assert late.get("task", held.id).url == reverse("desk:answer", args=[mine.id])


def test_a_lease_taken_away_mid_task_by_a_closed_campaign_keeps_the_text(labeler, demonstrations):
    campaign = demonstrations()
    me = labeler(campaign)
    held = me.take(campaign)
    change_state(campaign=campaign, to=CampaignState.CLOSED, now=timezone.now())
    expire()
    assert me.submit(held, text="For nothing?").status_code == 409
    assert draft_of(me.user, held.task_id).body == {"text": ["For nothing?"]}


def closed(campaign, _held):
    change_state(campaign=campaign, to=CampaignState.CLOSED, now=timezone.now())


def for_others(campaign, _held):
    change_campaign(campaign=campaign, qualifications=[Qualification.objects.create(name="medicine")])


def stopped(_campaign, held):
    Task.objects.filter(id=held.task_id).update(stopped_at=timezone.now())
    with transaction.atomic():
        slots.stop_slots([held.task_id], now=timezone.now())


def less_wanted(campaign, held):
    other = Labeler(make.user())
    make.acknowledge(other.user, campaign)
    other.submit(other.take(campaign), text="Enough")
    change_campaign(campaign=campaign, overlap=1)
    while filling.match_overlap(campaign=campaign, now=timezone.now()):
        pass


CAUSES = [
    (closed, refusals.ClosedMeanwhile),
    (for_others, refusals.NotOpenToYou),
    (stopped, refusals.TaskStopped),
    (less_wanted, refusals.NotWanted),
]


@pytest.mark.parametrize(("end", "refusal"), CAUSES, ids=[end.__name__ for end, _refusal in CAUSES])
def test_a_late_labeler_is_told_the_true_cause_everywhere(labeler, demonstrations, end, refusal):
    campaign = demonstrations(overlap=2)
    me = labeler(campaign)
    held = me.take(campaign)
    end(campaign, held)
    expire()
    shown = [
        me.get("task", held.id),
        me.submit(held, text="Late"),
        me.submit_by_script(held, text="Late"),
        me.post("renew", held.id),
        me.client.get(me.post("skip", held.id, data={"skip-sent": "1", "skip-reason": "other"}).url),
        me.client.get(me.post("release", held.id, data={"text": "Late"}).url),
    ]
    assert [response.status_code for response in shown] == [200, 409, 409, 409, 200, 200]
    for response in shown:
        shown_causes = [cause for _end, cause in CAUSES if str(cause.message) in response.content.decode()]
        assert shown_causes == [refusal]
    assert "Late" in me.get("task", held.id).content.decode()
    assert draft_of(me.user, held.task_id).body == {"text": ["Late"]}


def resumed_too_long_ago(labeler, demonstrations):
    """A labeler and their answer, which was sent back and taken up again, and whose lease then ended."""
    campaign = demonstrations(review_percent=100)
    me = labeler(campaign)
    held = me.take(campaign)
    me.submit(held, text="First")
    with transaction.atomic():
        send_back(assignment_id=held.id, reviewer=make.user("reviewer"), comment="Again", now=timezone.now())
    me.post("resume", held.id)
    expire()
    return me, held


def test_an_answer_that_others_are_asked_for_instead_is_not_called_submitted(labeler, demonstrations):
    me, held = resumed_too_long_ago(labeler, demonstrations)
    replace_sent_back(assignment_id=held.id, by=make.user("manager"), now=timezone.now())
    assert str(refusals.LeaseLost.message) in me.submit(held, text="Second").content.decode()
    assert draft_of(me.user, held.task_id).body == {"text": ["Second"]}


def test_a_resumed_answer_whose_time_ended_is_still_taken(labeler, demonstrations):
    me, held = resumed_too_long_ago(labeler, demonstrations)
    assert me.submit(held, text="Second").status_code == 302
    assert Demonstration.objects.get().text == "Second"
    assert Assignment.objects.get(id=held.id).state == State.SUBMITTED


def told_without_a_lease(me, held):
    """What the heartbeat and the buttons of an open page say, once its lease is gone."""
    yield me.post("renew", held.id)
    yield me.client.get(me.post("skip", held.id, data={"skip-sent": "1", "skip-reason": "other"}).url)
    yield me.client.get(me.post("release", held.id, data={"text": "Second"}).url)


def as_it_was(_held):
    pass


def asked_of_others(held):
    replace_sent_back(assignment_id=held.id, by=make.user("manager"), now=timezone.now())


AFTER_A_RESUME = [(as_it_was, refusals.LeaseEnded), (asked_of_others, refusals.LeaseLost)]


@pytest.mark.parametrize(("end", "refusal"), AFTER_A_RESUME, ids=lambda one: one.__name__)
def test_a_resumed_answer_whose_time_ended_is_called_what_a_submit_finds(labeler, demonstrations, end, refusal):
    me, held = resumed_too_long_ago(labeler, demonstrations)
    end(held)
    for response in told_without_a_lease(me, held):
        assert str(refusal.message) in response.content.decode()
    assert me.submit(held, text="Second").status_code == (302 if refusal is refusals.LeaseEnded else 409)


def test_a_tab_from_before_the_answer_was_sent_back_says_that_it_is_submitted(labeler, demonstrations):
    campaign = demonstrations(review_percent=100, overlap=2)
    me = labeler(campaign)
    held = me.take(campaign)
    me.submit(held, text="First")
    with transaction.atomic():
        send_back(assignment_id=held.id, reviewer=make.user("reviewer"), comment="Again", now=timezone.now())
    # The task's other slot is free, but not for them.
    for response in told_without_a_lease(me, held):
        assert str(refusals.AlreadySubmitted.message) in response.content.decode()


def test_a_paused_campaign_lets_people_finish(labeler, demonstrations):
    campaign = demonstrations(prompts=2)
    me = labeler(campaign)
    held = me.take(campaign)
    change_state(campaign=campaign, to=CampaignState.PAUSED, now=timezone.now())
    response = me.submit(held, text="Finished")
    assert response.url == reverse("desk:home")
    assert Demonstration.objects.get().text == "Finished"


def test_a_new_guideline_is_to_be_read_before_the_next_task(labeler, demonstrations):
    campaign = demonstrations(prompts=2)
    me = labeler(campaign)
    held = me.take(campaign)
    old = held.guideline_version_id
    publish(campaign.guideline, "Be brief, too.")
    response = me.submit(held, text="Under the old one")
    assert response.url == reverse("desk:guideline", args=[campaign.id])
    assert Assignment.objects.get(id=held.id).guideline_version_id == old


def test_the_draft_goes_with_the_submit(labeler, demonstrations):
    campaign = demonstrations()
    me = labeler(campaign)
    held = me.take(campaign)
    me.save(held, text="Half")
    me.submit(held, text="Whole")
    assert not Draft.objects.exists()


def test_every_kind_of_work_is_submitted_the_same_way(labeler, demonstrations, rankings, instructions):
    written, ranked, edited = demonstrations(), rankings(k=5), instructions()
    me = labeler(written, ranked, edited)
    assert me.submit(me.take(written), text="An answer").status_code == 302
    assert me.submit(me.take(ranked), **marks(5)).status_code == 302
    assert me.submit(me.take(edited), text="Better", reasons=["unclear"], category="other").status_code == 302
    assert (Demonstration.objects.count(), Ranking.objects.count(), Instruction.objects.count()) == (1, 1, 1)


def test_a_script_is_told_where_to_go_on(labeler, demonstrations):
    campaign = demonstrations(prompts=2)
    me = labeler(campaign)
    held, key = me.take(campaign), uuid4()
    first, again = (me.submit_by_script(held, key=key, text="An answer") for _ in range(2))
    second = Assignment.objects.get(labeler=me.user, state=State.LEASED)
    assert first.json()["next"] == again.json()["next"] == reverse("desk:task", args=[second.id])
    assert Demonstration.objects.count() == 1
    assert me.submit_by_script(second, text="Another", then="stop").json()["next"] == reverse("desk:home")


@pytest.mark.parametrize(
    "accept", ["", "*/*", "text/html,application/xhtml+xml,*/*;q=0.8", "text/html, application/json"]
)
def test_a_browser_that_sends_the_form_itself_gets_pages(labeler, demonstrations, accept):
    campaign = demonstrations()
    me = labeler(campaign)
    data = {"submit_key": str(uuid4()), "text": "An answer"}
    response = me.post("submit", me.take(campaign).id, data=data, headers={"accept": accept} if accept else {})
    assert (response.status_code, response.url) == (302, reverse("desk:home"))


def test_a_script_is_told_why_an_answer_is_refused(labeler, demonstrations, rankings):
    written, ranked = demonstrations(), rankings(k=4)
    me, quick = labeler(written, ranked), labeler(written)
    held, board = me.take(written), me.take(ranked)
    bad = me.submit_by_script(board, **marks(4) | {"place-B": "", "rating-C": "8"})
    assert bad.status_code == 422
    assert bad.json() == {"words": "Put candidate B in a place. Rate candidate C from 1 to 7."}
    assert draft_of(me.user, board.task_id).body["place-A"] == ["1"]
    assert me.submit_by_script(held, key="none", text="An answer").status_code == 400
    expire()
    quick.take(written)
    lost = me.submit_by_script(held, text="Late")
    assert (lost.status_code, lost.json()) == (409, {"words": str(refusals.LeaseLost.message)})
    assert draft_of(me.user, held.task_id).body == {"text": ["Late"]}


def test_who_may_not_go_on_has_submitted_all_the_same(labeler, demonstrations):
    campaign = demonstrations(prompts=2)
    me = labeler(campaign)
    held = me.take(campaign)
    campaign.cohorts = []
    campaign.save()
    assert me.submit_by_script(held, text="The last one").json()["next"] == reverse("desk:home")
    assert Demonstration.objects.get().text == "The last one"


def test_submitted_is_said_once_where_the_same_submit_came_twice(labeler, demonstrations):
    campaign = demonstrations(prompts=2)
    me = labeler(campaign)
    held, key = me.take(campaign), uuid4()
    for _ in range(2):
        response = me.submit(held, key=key, text="An answer")
    assert [str(message) for message in me.client.get(response.url).context["messages"]] == [str(SUBMITTED)]


def expire() -> None:
    leases.sweep(now=timezone.now() + timedelta(days=1))
