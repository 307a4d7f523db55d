"""A labeler takes their last submit back."""

import pytest
from django.db import transaction
from django.urls import reverse
from django.utils import timezone

from annotate.demonstrations.models import Demonstration
from annotate.desk.views.answers import UNDONE
from annotate.instructions.actions import become_prompt, sweep
from annotate.instructions.models import Instruction
from annotate.rankings.models import Placing, Ranking
from annotate.work.campaigns import change_state, settle
from annotate.work.models import Assignment, Draft, Event, Hand
from annotate.work.refusals import UndoOver
from annotate.work.review import accept
from annotate.work.states import Move, State
from tests import factories as make
from tests.desk.conftest import make_prompts, marks, undo_of


def undo(me, assignment):
    return me.post("undo", assignment.id)


def test_the_text_is_in_the_form_again_and_counts_no_more(labeler, demonstrations):
    campaign = demonstrations(prompts=1)
    me = labeler(campaign)
    held = me.take(campaign)
    me.submit(held, text="Too fast")
    assert undo(me, held).url == reverse("desk:task", args=[held.id])
    held.refresh_from_db()
    assert (held.state, held.labeler, held.submitted_at, held.submit_key) == (State.LEASED, me.user, None, None)
    assert not Demonstration.objects.exists()
    assert "Too fast" in me.get("task", held.id).content.decode()
    assert [event.move for event in Event.objects.order_by("id")][-2:] == [Move.TAKE_BACK, Move.UNDO]
    me.submit(held, text="In peace")
    assert Demonstration.objects.get().text == "In peace"


@pytest.mark.parametrize("kind", ["demonstrations", "rankings", "instructions"])
def test_an_undo_that_comes_twice_leads_to_the_task_twice(request, labeler, kind):
    answer = {"text": "Write a poem about a frog.", "category": "generation", "reasons": ["unclear"], **marks(4)}
    campaign = request.getfixturevalue(kind)(prompts=1)
    me = labeler(campaign)
    held = me.take(campaign)
    me.submit(held, **answer)
    assert [undo(me, held).url for _click in range(2)] == [reverse("desk:task", args=[held.id])] * 2
    page = me.get("task", held.id).content.decode()
    assert str(UNDONE) in page
    assert str(UndoOver.message) not in page


def test_an_answer_that_waits_for_review_is_taken_back_too(labeler, demonstrations):
    campaign = demonstrations(prompts=1, review_percent=100)
    me = labeler(campaign)
    held = me.take(campaign)
    me.submit(held, text="Too fast")
    undo(me, held)
    held.refresh_from_db()
    assert (held.state, held.needs_review) == (State.LEASED, False)


def test_what_was_claimed_after_it_stays_ready_ahead_with_its_text(labeler, demonstrations):
    campaign = demonstrations(prompts=3)
    me = labeler(campaign)
    first = me.take(campaign)
    me.submit(first, text="Too fast")
    second = Assignment.objects.get(state=State.LEASED)
    me.save(second, text="Begun")
    undo(me, first)
    second.refresh_from_db()
    assert (second.state, second.hand) == (State.LEASED, Hand.PREFETCHED)
    me.submit(first, text="In peace")
    second.refresh_from_db()
    assert second.hand == Hand.ACTIVE
    assert "Begun" in me.get("task", second.id).content.decode()


def test_a_ranking_is_back_with_its_marks(labeler, rankings):
    campaign = rankings(k=4)
    me = labeler(campaign)
    held = me.take(campaign)
    me.get("task", held.id)
    me.submit(held, **marks(4, places="2113", ratings="4771"), note="Close")
    undo(me, held)
    assert not Ranking.objects.exists()
    assert not Placing.objects.exists()
    body = Draft.objects.get().body
    assert [body[f"rating-{letter}"] for letter in "ABCD"] == [["4"], ["7"], ["7"], ["1"]]
    assert [body[f"place-{letter}"] for letter in "ABCD"] == [["2"], ["1"], ["1"], ["3"]]
    assert body["note"] == ["Close"]


REWRITTEN = {"text": "Write about two frogs.", "category": "generation", "reasons": ["unclear"], "note": ""}


def test_nobody_builds_on_an_instruction_while_it_can_be_taken_back(labeler, instructions):
    campaign = instructions()
    me = labeler(campaign)
    held = me.take(campaign)
    me.submit(held, **REWRITTEN)
    sweep(now=timezone.now())
    assert not campaign.instructionsettings.target_pool.prompts.exists()
    undo(me, held)
    assert not Instruction.objects.exists()
    assert Draft.objects.get().body["text"] == ["Write about two frogs."]
    make_prompts()
    assert not campaign.instructionsettings.target_pool.prompts.exists()


def test_an_instruction_that_is_a_prompt_stays(labeler, instructions):
    campaign = instructions()
    me = labeler(campaign)
    held = me.take(campaign)
    me.submit(held, **REWRITTEN)
    make_prompts()
    undo(me, held)
    held.refresh_from_db()
    assert held.state == State.ACCEPTED
    assert Instruction.objects.get().prompt is not None


def test_one_that_earlier_versions_made_a_prompt_at_the_submit_stays(labeler, instructions):
    campaign = instructions()
    me = labeler(campaign)
    held = me.take(campaign)
    me.submit(held, **REWRITTEN)
    become_prompt(instruction=Instruction.objects.get(), now=timezone.now())
    undo(me, held)
    held.refresh_from_db()
    assert held.state == State.ACCEPTED
    assert str(UndoOver.message) in me.get("home").content.decode()


def test_of_two_equal_instructions_each_is_taken_back_whichever_came_first(labeler, instructions):
    campaign = instructions(prompts=2)
    first, second = labeler(campaign), labeler(campaign)
    mine, equal = first.take(campaign), second.take(campaign)
    first.submit(mine, **REWRITTEN)
    second.submit(equal, **REWRITTEN)
    undo(first, mine)
    mine.refresh_from_db()
    assert mine.state == State.LEASED
    make_prompts()
    assert campaign.instructionsettings.target_pool.prompts.get().author == second.user


@pytest.mark.parametrize("why", ["late", "later answer", "decided", "read by an export", "final", "closed"])
def test_what_somebody_built_on_stays(labeler, demonstrations, why):
    campaign = demonstrations(prompts=3, review_percent=100, undo_minutes=0 if why == "final" else 5)
    me = labeler(campaign)
    held = me.take(campaign)
    me.submit(held, text="Stands")
    if why == "late":
        Assignment.objects.filter(id=held.id).update(submitted_at=timezone.now() - 6 * make.MINUTE)
    elif why == "later answer":
        me.submit(Assignment.objects.get(state=State.LEASED), text="Another")
    elif why == "decided":
        with transaction.atomic():
            accept(assignment_id=held.id, reviewer=make.user("reviewer"), comment="", now=timezone.now())
    elif why == "read by an export":
        settle(campaigns=[campaign.id], now=timezone.now())
    elif why == "closed":
        change_state(campaign=campaign, to="closed", now=timezone.now())
    before = Assignment.objects.values().get(id=held.id)
    assert undo_of(held) not in me.get("answer", held.id).content.decode()
    assert undo(me, held).url == reverse("desk:home")
    assert str(UndoOver.message) in me.get("home").content.decode()
    assert Assignment.objects.values().get(id=held.id) == before
    assert Demonstration.objects.get(assignment=held).text == "Stands"


def test_the_answers_page_offers_it_while_it_is_possible(labeler, demonstrations):
    campaign = demonstrations(prompts=1)
    me = labeler(campaign)
    held = me.take(campaign)
    me.submit(held, text="Too fast")
    assert undo_of(held) in me.get("answer", held.id).content.decode()
