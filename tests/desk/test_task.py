"""The page of one task."""

from datetime import timedelta

import pytest
from django.db import transaction
from django.template.loader import get_template
from django.urls import reverse
from django.utils import timezone

from annotate.desk.forms import NO_REASON, SkipForm
from annotate.pools.models import Kind
from annotate.work import leases, refusals
from annotate.work.models import Assignment, Skip
from annotate.work.review import send_back
from annotate.work.states import Move, State
from annotate.workflows.table import WORKFLOWS
from tests import factories as make
from tests.desk.conftest import filled, publish


def page(me, assignment):
    response = me.get("task", assignment.id)
    assert response.status_code == 200
    return response.content.decode()


@pytest.mark.parametrize("workflow", WORKFLOWS.values(), ids=WORKFLOWS)
def test_every_workflow_names_templates_that_exist(workflow):
    assert get_template(workflow.task_template)
    assert get_template(workflow.answer_template)


def test_it_shows_the_prompt_beside_the_guideline_of_the_claim(labeler, demonstrations):
    campaign = demonstrations()
    me = labeler(campaign)
    held = me.take(campaign)
    publish(campaign.guideline, "Rules that came later.")
    shown = page(me, held)
    assert held.task.prompt.text in shown
    assert "Be helpful, truthful and harmless." in shown
    assert "Rules that came later." not in shown


def test_a_conversation_is_shown_turn_by_turn(labeler):
    pool = make.pool()
    turns = [
        {"role": "system", "content": "You teach cooking."},
        {"role": "user", "content": "What is roux?"},
        {"role": "assistant", "content": "Flour and **fat**."},
        {"role": "user", "content": "And lumps?"},
    ]
    make.prompt(pool, "What is roux?", messages=turns)
    campaign = filled(make.campaign(over=pool))
    me = labeler(campaign)
    shown = page(me, me.take(campaign))
    assert [part.split('"')[0] for part in shown.split('data-role="')[1:]] == ["system", "user", "assistant", "user"]
    assert "Flour and <strong>fat</strong>." in shown


def test_a_few_shot_prompt_shows_its_examples_and_hides_the_answer_that_is_asked(labeler):
    pool = make.pool()
    pairs = [{"query": "Good film", "response": "Positive"}, {"query": "Bad film", "response": "Unfavourable"}]
    shots = {"instruction": "Give the sentiment", "pairs": pairs}
    make.prompt(pool, "Give the sentiment", kind=Kind.FEW_SHOT, shots=shots)
    campaign = filled(make.campaign(over=pool))
    me = labeler(campaign)
    shown = page(me, me.take(campaign))
    assert all(text in shown for text in ("Give the sentiment", "Good film", "Positive", "Bad film"))
    assert "Unfavourable" not in shown


def test_what_a_prompt_contains_does_nothing(labeler):
    pool = make.pool()
    make.prompt(pool, "<script>alert(1)</script> ![x](https://evil.example/x.png) [y](javascript:alert(2))")
    campaign = filled(make.campaign(over=pool))
    me = labeler(campaign)
    shown = page(me, me.take(campaign))
    assert "<script>alert" not in shown
    assert 'src="https://evil' not in shown
    assert 'href="javascript' not in shown


def test_loading_the_page_is_a_sign_of_life(labeler, demonstrations):
    campaign = demonstrations()
    me = labeler(campaign)
    held = me.take(campaign)
    Assignment.objects.update(leased_until=timezone.now() + timedelta(seconds=5))
    page(me, held)
    assert Assignment.objects.get(id=held.id).leased_until > timezone.now() + timedelta(minutes=25)


def test_two_tabs_are_one_task(labeler, demonstrations):
    campaign = demonstrations(prompts=3)
    me = labeler(campaign)
    assert me.take(campaign).id == me.take(campaign).id


def test_each_page_has_a_key_of_its_own(labeler, demonstrations):
    campaign = demonstrations()
    me = labeler(campaign)
    held = me.take(campaign)
    keys = {me.get("task", held.id).context["submit_key"] for _ in range(3)}
    assert len(keys) == 3


def test_the_page_of_an_answered_task_is_its_answer(labeler, demonstrations):
    campaign = demonstrations()
    me = labeler(campaign)
    held = me.take(campaign)
    me.submit(held, text="An answer")
    assert me.get("task", held.id).url == reverse("desk:answer", args=[held.id])


def test_a_heartbeat_says_until_when(labeler, demonstrations):
    campaign = demonstrations(lease_minutes=10)
    me = labeler(campaign)
    held = me.take(campaign)
    response = me.post("renew", held.id)
    until = Assignment.objects.get(id=held.id).leased_until
    assert response.json() == {"leased_until": until.isoformat(timespec="milliseconds").replace("+00:00", "Z")}


def test_a_heartbeat_of_a_lost_lease_names_the_cause(labeler, demonstrations):
    campaign = demonstrations()
    me, quick = labeler(campaign), labeler(campaign)
    held = me.take(campaign)

    def answer():
        response = me.post("renew", held.id)
        return response.status_code, response.json()

    leases.sweep(now=timezone.now() + timedelta(days=1))
    assert answer() == (409, {"words": str(refusals.LeaseEnded.message)})
    quick.take(campaign)
    assert answer() == (409, {"words": str(refusals.LeaseLost.message)})


@pytest.mark.parametrize("percent", [0, 100])
@pytest.mark.parametrize("name", ["skip", "release"])
def test_a_tab_that_was_left_open_says_that_the_task_is_submitted(labeler, demonstrations, name, percent):
    campaign = demonstrations(review_percent=percent)
    me = labeler(campaign)
    held = me.take(campaign)
    me.submit(held, text="An answer")
    response = me.post(name, held.id, data={"skip-sent": "1", "skip-reason": "other", "text": "Another"})
    assert str(refusals.AlreadySubmitted.message) in me.client.get(response.url).content.decode()
    assert me.post("renew", held.id).json() == {"words": str(refusals.AlreadySubmitted.message)}


@pytest.mark.parametrize(("minutes", "seconds"), [(1, 20), (2, 40), (3, 60), (30, 60), (1440, 60)])
def test_heartbeats_come_three_times_a_lease_and_every_minute(labeler, demonstrations, minutes, seconds):
    campaign = demonstrations(lease_minutes=minutes)
    me = labeler(campaign)
    assert f'data-renew-seconds="{seconds}"' in page(me, me.take(campaign))


def test_a_skip_needs_a_reason_and_leads_to_another_task(labeler, demonstrations):
    campaign = demonstrations(prompts=2)
    me = labeler(campaign)
    held = me.take(campaign)
    bare = me.post("skip", held.id, data={"skip-sent": "1"})
    assert bare.status_code == 422
    assert str(NO_REASON) in bare.content.decode()
    response = me.post("skip", held.id, data={"skip-sent": "1", "skip-reason": "unclear", "skip-note": "Who is he?"})
    skip = Skip.objects.get()
    assert (skip.task_id, skip.reason, skip.note) == (held.task_id, "unclear", "Who is he?")
    other = Assignment.objects.get(state=State.LEASED)
    assert response.url == reverse("desk:task", args=[other.id])
    assert other.task_id != held.task_id


def test_a_skipped_task_says_so_on_its_page_and_to_its_forms_and_scripts(labeler, demonstrations):
    campaign = demonstrations(prompts=2)
    me, other = labeler(campaign), labeler(campaign)
    held = me.take(campaign)
    me.save(held, text="Half a sentence")
    reason = {"skip-sent": "1", "skip-reason": "unclear"}
    me.post("skip", held.id, data=reason)
    assert other.take(campaign).id == held.id
    again = me.client.get(me.post("skip", held.id, data=reason).url)
    lost = [page(me, held), me.submit(held, text="Late").content.decode()]
    for html in lost:
        assert 'data-lost="skipped"' in html
    assert str(refusals.Skipped.message) in again.content.decode()
    assert "Half a sentence" in lost[0]
    told = [me.post("renew", held.id), me.submit_by_script(held, text="Late")]
    assert [response.json()["words"] for response in told] == [str(refusals.Skipped.message)] * 2


def test_without_javascript_the_skip_button_sends_the_form_and_its_text_is_kept(labeler, demonstrations):
    campaign = demonstrations()
    me = labeler(campaign)
    held = me.take(campaign)
    response = me.post("skip", held.id, data={"text": "Half a sentence", "submit_key": "x"})
    assert response.status_code == 200
    assert str(SkipForm.base_fields["reason"].label) in response.content.decode()
    assert "Half a sentence" in page(me, held)
    assert not Skip.objects.exists()


def test_a_task_put_back_goes_to_others_and_its_text_is_kept(labeler, demonstrations):
    campaign = demonstrations()
    me, other = labeler(campaign), labeler(campaign)
    held = me.take(campaign)
    response = me.post("release", held.id, data={"text": "Half a sentence", "submit_key": "x", "then": "stop"})
    assert response.url == reverse("desk:home")
    assert Assignment.objects.get(id=held.id).state == State.OPEN
    assert "Half a sentence" in page(me, held)
    assert other.take(campaign).id == held.id
    assert "Half a sentence" not in page(other, held)


@pytest.mark.parametrize("name", ["skip", "release"])
def test_what_is_not_held_any_more_cannot_be_given_back(labeler, demonstrations, name):
    campaign = demonstrations()
    me, quick = labeler(campaign), labeler(campaign)
    held = me.take(campaign)
    leases.sweep(now=timezone.now() + timedelta(days=1))
    quick.take(campaign)
    response = me.post(name, held.id, data={"skip-sent": "1", "skip-reason": "other"})
    assert response.url == reverse("desk:home")
    assert str(refusals.LeaseLost.message) in me.client.get(response.url).content.decode()
    assert Assignment.objects.get(id=held.id).labeler == quick.user


def test_a_sent_back_answer_is_taken_up_with_its_text_and_the_comment(labeler, demonstrations):
    campaign = demonstrations(prompts=2, review_percent=100)
    me = labeler(campaign)
    first = me.take(campaign)
    me.submit(first, text="Rather long")
    with transaction.atomic():
        send_back(assignment_id=first.id, reviewer=make.user("reviewer"), comment="Be *brief*", now=make.NOW)
    response = me.post("resume", first.id)
    assert response.url == reverse("desk:task", args=[first.id])
    shown = page(me, first)
    assert "Rather long" in shown
    assert "Be <em>brief</em>" in shown
    # The task that was held meanwhile went back: one task at a time.
    assert Assignment.objects.filter(labeler=me.user, state=State.LEASED).count() == 1


def test_what_was_not_sent_back_is_not_taken_up(labeler, demonstrations):
    campaign = demonstrations()
    me = labeler(campaign)
    held = me.take(campaign)
    me.submit(held, text="Good")
    assert me.post("resume", held.id).url == reverse("desk:home")
    assert Assignment.objects.get(id=held.id).state == State.ACCEPTED


@pytest.mark.parametrize(("kind", "queries"), [("demonstrations", 4), ("rankings", 6), ("instructions", 4)])
def test_the_queries_of_a_page_are_counted(request, labeler, django_assert_num_queries, kind, queries):
    campaign = request.getfixturevalue(kind)(2)
    me = labeler(campaign)
    held = me.take(campaign)
    page(me, held)
    # Session, user; the assignment with all around it and the draft; the lease's renewal. A ranking's order and texts.
    with django_assert_num_queries(queries):
        page(me, held)


def test_a_claim_leaves_its_event(labeler, demonstrations):
    campaign = demonstrations()
    me = labeler(campaign)
    held = me.take(campaign)
    assert list(held.events.values_list("move", "actor")) == [(Move.CLAIM, me.user.id)]
