"""A labeler takes their last submit back."""

import pytest
from django.db import transaction
from django.urls import reverse
from django.utils import timezone

from annotate.demonstrations.models import Demonstration
from annotate.edits.models import Instruction
from annotate.pools import actions as pools
from annotate.pools.models import Prompt, QuarantineEvent, Source, Split
from annotate.rankings.models import Placing, Ranking
from annotate.work import actions
from annotate.work.models import Assignment, Draft, Event, Hand
from annotate.work.quarantine import release
from annotate.work.states import Move, State
from annotate.workflows import readmit
from tests import factories as make
from tests.desk.conftest import marks
from tests.pools.test_add_prompt import customer_of, draft


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
    assert (second.state, second.hand) == (State.LEASED, Hand.AHEAD)
    me.submit(first, text="In peace")
    second.refresh_from_db()
    assert second.hand == Hand.WORK
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


def test_an_instruction_takes_its_prompt_with_it(labeler, edits):
    campaign = edits()
    me = labeler(campaign)
    held = me.take(campaign)
    me.submit(held, text="Write about two frogs.", category="generation", reasons=["unclear"], note="")
    written = Prompt.objects.get(author=me.user)
    undo(me, held)
    assert not Instruction.objects.exists()
    assert not Prompt.objects.filter(id=written.id).exists()
    assert Draft.objects.get().body["text"] == ["Write about two frogs."]


def test_an_instruction_that_is_somebodys_task_already_stays(labeler, edits, demonstrations):
    campaign = edits()
    me = labeler(campaign)
    held = me.take(campaign)
    me.submit(held, text="Write about two frogs.", category="generation", reasons=["unclear"], note="")
    other = make.campaign(over=campaign.target_pool)
    actions.add_tasks(campaign=other, prompts=campaign.target_pool.prompts.all(), now=make.NOW)
    undo(me, held)
    held.refresh_from_db()
    assert held.state == State.ACCEPTED
    assert Instruction.objects.get().prompt is not None


def test_an_instruction_that_stands_for_an_equal_one_stays_until_that_is_taken_back(labeler, edits):
    campaign = edits(prompts=2)
    first, second = labeler(campaign), labeler(campaign)
    fields = {"text": "Write about two frogs.", "category": "generation", "reasons": ["unclear"], "note": ""}
    mine, equal = first.take(campaign), second.take(campaign)
    first.submit(mine, **fields)
    second.submit(equal, **fields)
    undo(first, mine)
    assert Prompt.objects.filter(text="Write about two frogs.", author=first.user).exists()
    undo(second, equal)
    undo(first, mine)
    assert not Prompt.objects.filter(text="Write about two frogs.").exists()
    for held in (mine, equal):
        held.refresh_from_db()
        assert held.state == State.LEASED


def test_an_instruction_whose_prompt_is_in_quarantine_takes_it_along(labeler, edits):
    campaign = edits()
    me = labeler(campaign)
    held = me.take(campaign)
    equal = pools.add_prompt(pool=make.pool(), draft=draft("Write about two frogs.", **other_side(held)), now=make.NOW)
    me.submit(held, text="Write about two frogs.", category="generation", reasons=["unclear"], note="")
    written = Prompt.objects.get(author=me.user)
    assert written.quarantine_twin == equal
    undo(me, held)
    assert not Prompt.objects.filter(id=written.id).exists()
    assert not QuarantineEvent.objects.exists()


def test_a_copy_in_quarantine_can_be_used_once_the_instruction_it_equals_is_taken_back(labeler, edits):
    campaign = edits()
    me = labeler(campaign)
    held = me.take(campaign)
    me.submit(held, text="Write about two frogs.", category="generation", reasons=["unclear"], note="")
    copy = pools.add_prompt(pool=make.pool(), draft=draft("Write about two frogs.", **other_side(held)), now=make.NOW)
    assert copy.quarantine_twin.author == me.user
    undo(me, held)
    assert not Prompt.objects.filter(author=me.user).exists()
    assert not release(prompt_id=copy.id, by=None, now=make.NOW, readmit=readmit).quarantined_at


def other_side(held):
    """A customer on the other side of the split than the prompt that is rewritten."""
    (side,) = set(Split.values) - {held.task.prompt.group.split}
    return {"source": Source.CUSTOMER, "source_user": customer_of(side)}


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
            actions.accept(assignment_id=held.id, reviewer=make.user("reviewer"), comment="", now=timezone.now())
    elif why == "read by an export":
        actions.settle(campaigns=[campaign.id], now=timezone.now())
    elif why == "closed":
        actions.change_state(campaign=campaign, to="closed", now=timezone.now())
    before = Assignment.objects.values().get(id=held.id)
    assert "Take it back" not in me.get("answer", held.id).content.decode()
    assert undo(me, held).url == reverse("desk:home")
    assert "cannot be taken back any more" in me.get("home").content.decode()
    assert Assignment.objects.values().get(id=held.id) == before
    assert Demonstration.objects.get(assignment=held).text == "Stands"


def test_the_answers_page_offers_it_while_it_is_possible(labeler, demonstrations):
    campaign = demonstrations(prompts=1)
    me = labeler(campaign)
    held = me.take(campaign)
    me.submit(held, text="Too fast")
    assert "Take it back" in me.get("answer", held.id).content.decode()
