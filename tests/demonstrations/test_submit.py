"""What the engine's submit means for a demonstration."""

from datetime import timedelta
from uuid import uuid4

import pytest
from django.db import transaction
from django.http import QueryDict

from annotate.demonstrations.models import Demonstration
from annotate.demonstrations.workflow import DEMONSTRATIONS
from annotate.work import leases, refusals, submitting
from annotate.work.campaigns import change_state
from annotate.work.models import Event
from annotate.work.review import send_back
from annotate.work.states import CampaignState, Move, State
from annotate.work.workflow import BadAnswer
from tests import factories as make

pytestmark = pytest.mark.django_db
NOW = make.NOW
LATER = NOW + timedelta(hours=2)


@pytest.fixture
def campaign():
    return make.campaign(over=pool_of_one(), overlap=2, review_percent=100)


def pool_of_one():
    pool = make.pool()
    make.prompt(pool)
    return pool


def holding(campaign):
    DEMONSTRATIONS.fill(campaign=campaign, now=NOW)
    labeler = make.user()
    make.acknowledge(labeler, campaign)
    return labeler, leases.claim(campaign_id=campaign.id, labeler=labeler, now=NOW)


def submit(assignment, labeler, text, *, key=None, now=NOW):
    data = QueryDict(mutable=True)
    data["text"] = text
    return DEMONSTRATIONS.submit(
        assignment_id=assignment.id, labeler=labeler, typed=data, submit_key=key or uuid4(), now=now
    )


def shown_text(assignment, labeler, draft=None):
    page = DEMONSTRATIONS.show(assignment=assignment, labeler=labeler, draft=draft, now=NOW)
    return page["form"]["text"].value()


def sent_back(assignment):
    with transaction.atomic():
        send_back(assignment_id=assignment.id, reviewer=make.user("reviewer"), comment="Shorter", now=NOW)


def test_the_answer_is_stored_with_its_submit(campaign):
    labeler, held = holding(campaign)
    submit(held, labeler, " A frog.\r\n")
    row = Demonstration.objects.get()
    assert (row.assignment_id, row.text, row.written_at) == (held.id, " A frog.", NOW)
    assert row.assignment.state == State.SUBMITTED


def test_a_repeated_submit_changes_nothing(campaign):
    labeler, held = holding(campaign)
    key = uuid4()
    submit(held, labeler, "First", key=key)
    assert submit(held, labeler, "Second", key=key, now=LATER).repeated
    assert Demonstration.objects.get().text == "First"


def test_a_bad_answer_comes_back_as_it_was_typed_and_submits_nothing(campaign):
    labeler, held = holding(campaign)
    with pytest.raises(BadAnswer) as bad:
        submit(held, labeler, "  \u200b ")
    assert bad.value.context["form"]["text"].value() == "  \u200b "
    held.refresh_from_db()
    assert held.state == State.LEASED


def test_a_refused_submit_stores_no_answer(campaign):
    labeler, held = holding(campaign)
    leases.release(assignment_id=held.id, labeler=labeler, now=NOW)
    change_state(campaign=campaign, to=CampaignState.CLOSED, now=NOW)
    with pytest.raises(refusals.LeaseLost):
        submit(held, labeler, "Too late")
    assert not Demonstration.objects.exists()


def test_after_an_expired_lease_the_answer_goes_with_the_slot_it_got(campaign):
    labeler, held = holding(campaign)
    leases.sweep(now=LATER)
    _quick, taken = holding(campaign)
    assert taken.id == held.id
    outcome = submit(held, labeler, "Late")
    assert outcome.assignment.id != held.id
    assert Demonstration.objects.get().assignment_id == outcome.assignment.id


def test_an_answer_written_again_takes_the_place_of_the_first_which_the_event_keeps(campaign):
    labeler, held = holding(campaign)
    submit(held, labeler, "First")
    sent_back(held)
    submitting.resume(assignment_id=held.id, labeler=labeler, now=NOW)
    submit(held, labeler, "Second")
    assert Demonstration.objects.get().text == "Second"
    assert Event.objects.filter(move=Move.SUBMIT).latest("id").detail == {"replaces": {"text": "First"}}


def test_a_sent_back_answer_is_there_to_be_written_again_but_a_draft_of_it_comes_first(campaign):
    labeler, held = holding(campaign)
    submit(held, labeler, "First")
    sent_back(held)
    resumed = submitting.resume(assignment_id=held.id, labeler=labeler, now=NOW)
    assert shown_text(resumed, labeler) == "First"
    assert shown_text(resumed, labeler, QueryDict("text=Draft")) == "Draft"


def test_nobody_is_shown_what_somebody_else_wrote(campaign):
    labeler, held = holding(campaign)
    submit(held, labeler, "Mine")
    held.refresh_from_db()
    held.rounds = 1
    assert shown_text(held, make.user()) == ""


def test_acceptance_needs_no_transaction_of_its_callers(campaign):
    labeler, held = holding(campaign)
    submit(held, labeler, "Good")
    accepted = DEMONSTRATIONS.accept(
        assignment_id=held.id, reviewer=make.user("reviewer"), comment="Thank you", now=NOW
    )
    assert (accepted.state, accepted.comment) == (State.ACCEPTED, "Thank you")


def test_the_answer_is_shown_with_its_length(campaign):
    labeler, held = holding(campaign)
    outcome = submit(held, labeler, "Two words")
    shown = DEMONSTRATIONS.answer(assignment=outcome.assignment)
    assert (shown["text"], shown["length"].words) == ("Two words", 2)
