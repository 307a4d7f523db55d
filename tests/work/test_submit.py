from uuid import uuid4

import pytest
from django.db import transaction
from django.db.transaction import TransactionManagementError

from annotate.work import drafts, leases, refusals, submitting
from annotate.work.campaigns import change_state
from annotate.work.models import Assignment, Draft, Event
from annotate.work.review import send_back
from annotate.work.states import CampaignState, Move, State
from tests import factories as make
from tests.work.conftest import LATER, NOW


def test_an_answer_that_needs_no_review_is_accepted_at_once(open_desk):
    desk = open_desk()
    labeler = desk.labeler()
    row = Assignment.objects.get(id=desk.answer(labeler).id)
    assert (row.state, row.decided_by, row.decided_at, row.leased_until) == (State.ACCEPTED, None, NOW, None)
    assert list(Event.objects.order_by("id").values_list("move", flat=True)) == [Move.CLAIM, Move.SUBMIT, Move.ACCEPT]


def test_an_answer_to_be_reviewed_waits(open_desk):
    desk = open_desk(review_percent=100)
    row = Assignment.objects.get(id=desk.answer(desk.labeler()).id)
    assert (row.state, row.needs_review, row.decided_at) == (State.SUBMITTED, True, None)


def test_the_reviewed_share_is_drawn_near_the_wish(open_desk):
    desk = open_desk(tasks=200, review_percent=30)
    labeler = desk.labeler()
    waiting = sum(desk.answer(labeler).state == State.SUBMITTED for _ in range(200))
    assert 35 <= waiting <= 85


def test_a_repeated_submit_answers_as_the_first_did(open_desk):
    desk = open_desk()
    labeler, key = desk.labeler(), uuid4()
    held = desk.claim(labeler)
    first = desk.submit(held, labeler, key=key)
    again = desk.submit(held, labeler, key=key, now=LATER)
    assert (first.repeated, again.repeated) == (False, True)
    assert again.assignment.submitted_at == NOW
    assert Event.objects.filter(move=Move.SUBMIT).count() == 1


def test_another_submit_of_an_answered_task_is_refused(open_desk):
    desk = open_desk()
    labeler = desk.labeler()
    answered = desk.answer(labeler)
    with pytest.raises(refusals.AlreadySubmitted):
        desk.submit(answered, labeler)


def test_the_draft_goes_with_the_submit_and_a_late_autosave_does_not_bring_it_back(open_desk):
    desk = open_desk()
    labeler = desk.labeler()
    held = desk.claim(labeler)
    desk.draft(held, labeler)
    desk.submit(held, labeler)
    with pytest.raises(refusals.AlreadySubmitted):
        desk.draft(held, labeler)
    assert not Draft.objects.exists()


def test_after_an_expired_lease_nobody_swept_the_answer_is_taken(open_desk):
    desk = open_desk()
    labeler = desk.labeler()
    held = desk.claim(labeler)
    assert desk.submit(held, labeler, now=LATER).assignment.id == held.id


def test_after_a_swept_lease_the_slot_is_taken_back_if_it_is_free(open_desk):
    desk = open_desk()
    labeler = desk.labeler()
    held = desk.claim(labeler)
    leases.sweep(now=LATER)
    row = Assignment.objects.get(id=desk.submit(held, labeler, now=LATER).assignment.id)
    assert (row.id, row.state, row.labeler) == (held.id, State.ACCEPTED, labeler)
    assert row.guideline_version is not None
    moves = list(Event.objects.order_by("id").values_list("move", flat=True))
    assert moves == [Move.CLAIM, Move.EXPIRE, Move.CLAIM, Move.SUBMIT, Move.ACCEPT]


def test_after_a_swept_lease_another_slot_of_the_task_serves_as_well(open_desk):
    desk = open_desk(overlap=2)
    late, quick = desk.labeler(), desk.labeler()
    held = desk.claim(late)
    leases.sweep(now=LATER)
    assert desk.claim(quick, now=LATER).id == held.id
    taken = desk.submit(held, late, now=LATER).assignment
    assert taken.id != held.id
    assert taken.task_id == held.task_id


def test_a_late_submit_is_taken_while_the_labeler_holds_another_task(open_desk):
    desk = open_desk(tasks=2)
    labeler, other = desk.labeler(), desk.labeler()
    first = desk.claim(labeler)
    leases.sweep(now=LATER)
    taken = desk.claim(other, now=LATER)
    second = desk.claim(labeler, now=LATER)
    leases.release(assignment_id=taken.id, labeler=other, now=LATER)
    assert second.id != first.id == taken.id
    assert desk.submit(first, labeler, now=LATER).assignment.state == State.ACCEPTED
    assert Assignment.objects.get(id=second.id).state == State.LEASED


def test_where_no_slot_is_left_the_late_submit_is_refused_and_the_draft_kept(open_desk):
    desk = open_desk()
    late, quick = desk.labeler(), desk.labeler()
    held = desk.claim(late)
    desk.draft(held, late, "precious")
    leases.sweep(now=LATER)
    desk.answer(quick, now=LATER)
    with pytest.raises(refusals.LeaseLost):
        desk.submit(held, late, now=LATER)
    assert Draft.objects.get(labeler=late).body == {"text": "precious"}
    assert Assignment.objects.get(id=held.id).labeler == quick


def test_a_late_submit_into_a_closed_campaign_is_refused(open_desk):
    desk = open_desk()
    labeler = desk.labeler()
    held = desk.claim(labeler)
    change_state(campaign=desk.campaign, to=CampaignState.CLOSED, now=NOW)
    leases.sweep(now=LATER)
    assert Assignment.objects.get(id=held.id).state == State.CANCELLED
    with pytest.raises(refusals.LeaseLost):
        desk.submit(held, labeler, now=LATER)


def test_somebody_elses_task_cannot_be_submitted(open_desk):
    desk = open_desk(tasks=2)
    holder, thief = desk.labeler(), desk.labeler()
    held = desk.claim(holder)
    with pytest.raises(refusals.NotYours):
        desk.submit(held, thief)
    assert Assignment.objects.get(id=held.id).labeler == holder


def test_a_key_of_somebody_else_answers_nothing(open_desk):
    desk = open_desk(tasks=2)
    first, second, key = desk.labeler(), desk.labeler(), uuid4()
    desk.submit(desk.claim(first), first, key=key)
    held = desk.claim(second)
    with pytest.raises(refusals.KeyTaken):
        desk.submit(held, second, key=key)
    assert Assignment.objects.get(id=held.id).state == State.LEASED


@pytest.mark.django_db(transaction=True)
def test_a_submit_outside_a_transaction_is_a_bug(open_desk):
    desk = open_desk()
    labeler = desk.labeler()
    held = desk.claim(labeler)
    with pytest.raises(TransactionManagementError):
        submitting.submit(assignment_id=held.id, labeler=labeler, submit_key=uuid4(), now=NOW)


def test_the_queries_of_a_submit_are_counted(open_desk, django_assert_num_queries):
    desk = open_desk(tasks=5, overlap=3)
    labeler = desk.labeler()
    held = desk.claim(labeler)
    with transaction.atomic(), django_assert_num_queries(2):
        submitting.submit(assignment_id=held.id, labeler=labeler, submit_key=uuid4(), now=make.NOW)


def test_the_key_of_another_task_hands_nothing_in(open_desk):
    desk = open_desk(tasks=2)
    labeler, key = desk.labeler(), uuid4()
    desk.submit(desk.claim(labeler), labeler, key=key)
    with pytest.raises(refusals.KeyTaken):
        desk.submit(desk.claim(labeler), labeler, key=key)


@pytest.mark.parametrize("resumed", [False, True])
def test_a_page_from_before_the_sending_back_is_not_taken_for_a_repeated_submit(open_desk, resumed):
    desk = open_desk(review_percent=100)
    labeler, key = desk.labeler(), uuid4()
    answered = desk.submit(desk.claim(labeler), labeler, key=key).assignment
    with transaction.atomic():
        send_back(assignment_id=answered.id, reviewer=make.user("reviewer"), comment="Shorter.", now=NOW)
    if resumed:
        submitting.resume(assignment_id=answered.id, labeler=labeler, now=NOW)
    with pytest.raises(refusals.KeyTaken):
        desk.submit(answered, labeler, key=key)


def test_a_draft_is_measured_with_the_names_of_its_fields(open_desk):
    desk = open_desk()
    labeler = desk.labeler()
    held = desk.claim(labeler)
    with pytest.raises(refusals.DraftTooLong):
        drafts.save_draft(task_id=held.task_id, labeler=labeler, body={"n" * 1_000_001: ""}, now=NOW)
