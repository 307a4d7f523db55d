import pytest

from annotate.accounts.models import Role
from annotate.work import leases, queries, refusals, review, submitting
from annotate.work.campaigns import change_state
from annotate.work.models import Assignment, Event, SkipReason
from annotate.work.refusals import Moved
from annotate.work.review import replace_sent_back
from annotate.work.states import CampaignState, Move, State
from tests import factories as make
from tests.factories import draft_of
from tests.work.conftest import LATER


@pytest.fixture
def reviewer(db):
    return make.user(Role.REVIEWER)


@pytest.fixture
def submitted(open_desk):
    """(desk, labeler, their answer waiting for review)"""
    desk = open_desk(review_percent=100)
    labeler = desk.labeler()
    return desk, labeler, desk.answer(labeler)


@pytest.fixture
def sent_back(submitted, reviewer):
    desk, labeler, answer = submitted
    send_back(answer, reviewer)
    return desk, labeler, answer


def accept(assignment, reviewer, comment=""):
    return review.accept(assignment_id=assignment.id, reviewer=reviewer, comment=comment, now=LATER)


def send_back(assignment, reviewer, comment="Too short."):
    return review.send_back(assignment_id=assignment.id, reviewer=reviewer, comment=comment, now=LATER)


def test_an_accepted_answer_names_its_reviewer(submitted, reviewer):
    _desk, _labeler, answer = submitted
    accept(answer, reviewer, "Good.")
    row = Assignment.objects.get(id=answer.id)
    assert (row.state, row.decided_by, row.comment) == (State.ACCEPTED, reviewer, "Good.")


def test_an_answer_is_decided_once(submitted, reviewer):
    _desk, _labeler, answer = submitted
    accept(answer, reviewer)
    with pytest.raises(Moved):
        send_back(answer, make.user(Role.REVIEWER))
    assert Assignment.objects.get(id=answer.id).decided_by == reviewer


def test_nobody_reviews_their_own_answer(submitted):
    _desk, labeler, answer = submitted
    labeler.role = Role.REVIEWER
    labeler.save()
    assert list(queries.to_review(labeler)) == []
    with pytest.raises(refusals.OwnAnswer):
        accept(answer, labeler)


@pytest.mark.parametrize("comment", ["", "  ", "\u200b", "\u2800\ufeff"])
def test_sending_back_needs_a_comment(submitted, reviewer, comment):
    _desk, _labeler, answer = submitted
    with pytest.raises(refusals.CommentNeeded):
        send_back(answer, reviewer, comment)
    assert Assignment.objects.get(id=answer.id).state == State.SUBMITTED


def test_a_sent_back_answer_is_rewritten_by_its_writer_and_reviewed_again(sent_back, reviewer):
    desk, labeler, answer = sent_back
    assert [row.comment for row in queries.sent_back(labeler)] == ["Too short."]
    held = submitting.resume(assignment_id=answer.id, labeler=labeler, now=LATER)
    again = desk.submit(held, labeler, now=LATER, replaces={"text": "old"}).assignment
    assert (again.state, again.rounds) == (State.SUBMITTED, 1)
    assert Event.objects.filter(move=Move.SUBMIT).order_by("id").last().detail == {"replaces": {"text": "old"}}
    accept(again, reviewer)
    assert Assignment.objects.get(id=answer.id).state == State.ACCEPTED


def test_a_rewritten_answer_is_reviewed_whatever_the_share_says(sent_back):
    desk, labeler, answer = sent_back
    desk.campaign.review_percent = 0
    desk.campaign.save()
    held = submitting.resume(assignment_id=answer.id, labeler=labeler, now=LATER)
    assert desk.submit(held, labeler, now=LATER).assignment.state == State.SUBMITTED


def test_nobody_else_takes_a_sent_back_answer(sent_back):
    desk, _labeler, answer = sent_back
    other = desk.labeler()
    with pytest.raises(refusals.NotYours):
        submitting.resume(assignment_id=answer.id, labeler=other, now=LATER)
    with pytest.raises(refusals.NothingLeft):
        desk.claim(other, now=LATER)


def test_the_lease_on_a_sent_back_answer_ends_in_sent_back(sent_back):
    _desk, labeler, answer = sent_back
    submitting.resume(assignment_id=answer.id, labeler=labeler, now=LATER)
    leases.sweep(now=LATER + 48 * 60 * make.MINUTE)
    row = Assignment.objects.get(id=answer.id)
    assert (row.state, row.labeler, row.comment) == (State.SENT_BACK, labeler, "Too short.")


def test_a_late_submit_of_a_resumed_answer_is_taken(sent_back):
    desk, labeler, answer = sent_back
    held = submitting.resume(assignment_id=answer.id, labeler=labeler, now=LATER)
    leases.sweep(now=LATER + 48 * 60 * make.MINUTE)
    again = desk.submit(held, labeler, now=LATER + 49 * 60 * make.MINUTE).assignment
    assert (again.id, again.state) == (answer.id, State.SUBMITTED)


def test_a_sent_back_answer_nobody_took_up_is_not_submitted_again(sent_back):
    desk, labeler, answer = sent_back
    with pytest.raises(refusals.AlreadySubmitted):
        desk.submit(answer, labeler, now=LATER)


def test_taking_it_up_again_puts_the_task_in_hand_back(open_desk, reviewer):
    desk = open_desk(tasks=2, review_percent=100)
    labeler = desk.labeler()
    answer = desk.answer(labeler)
    send_back(answer, reviewer)
    other = desk.claim(labeler)
    desk.draft(other, labeler)
    submitting.resume(assignment_id=answer.id, labeler=labeler, now=LATER)
    assert Assignment.objects.get(id=other.id).state == State.OPEN
    assert draft_of(labeler, other.task_id) is not None


def test_a_labeler_may_give_it_up_and_another_answer_is_wanted(sent_back):
    desk, labeler, answer = sent_back
    submitting.resume(assignment_id=answer.id, labeler=labeler, now=LATER)
    leases.skip(assignment_id=answer.id, labeler=labeler, reason=SkipReason.EXPERTISE, note="", now=LATER)
    row = Assignment.objects.get(id=answer.id)
    assert (row.state, row.labeler) == (State.CANCELLED, labeler)
    wanted = desk.claim(desk.labeler(), now=LATER)
    assert (wanted.task_id, wanted.slot) == (answer.task_id, 2)
    with pytest.raises(refusals.NothingLeft):
        desk.claim(labeler, now=LATER)


def test_a_manager_may_ask_somebody_else_instead(sent_back):
    desk, labeler, answer = sent_back
    manager = make.user(Role.MANAGER)
    replace_sent_back(assignment_id=answer.id, by=manager, now=LATER)
    assert desk.claim(desk.labeler(), now=LATER).task_id == answer.task_id
    with pytest.raises(Moved):
        submitting.resume(assignment_id=answer.id, labeler=labeler, now=LATER)
    with pytest.raises(Moved):
        replace_sent_back(assignment_id=answer.id, by=manager, now=LATER)


def test_a_closed_campaign_waits_for_nobody(sent_back):
    desk, labeler, answer = sent_back
    change_state(campaign=desk.campaign, to=CampaignState.CLOSED, now=LATER)
    with pytest.raises(refusals.CampaignClosed):
        submitting.resume(assignment_id=answer.id, labeler=labeler, now=LATER)
    assert Assignment.objects.get(id=answer.id).state == State.SENT_BACK
