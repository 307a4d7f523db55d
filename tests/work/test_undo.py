"""Taking the last submit back. What the benches do with the text stands in tests/desk/test_undo.py."""

from datetime import timedelta

import pytest
from django.conf import settings
from django.db.transaction import TransactionManagementError

from annotate.accounts.models import Role
from annotate.work import leases, queries, refusals, submitting
from annotate.work.campaigns import change_campaign, change_state, settle
from annotate.work.models import Assignment, Event, Hand
from annotate.work.review import accept
from annotate.work.rules import needs_review
from annotate.work.states import CampaignState, Move, State
from tests import factories as make
from tests.work.conftest import LATER, NOW
from tests.work.test_races import at_once

SOON = NOW + make.MINUTE


def test_the_answer_is_in_work_again_as_if_it_had_not_been_submitted(open_desk):
    desk = open_desk()
    labeler = desk.labeler()
    answer = desk.answer(labeler)
    desk.undo(answer, labeler, now=SOON)
    row = Assignment.objects.get(id=answer.id)
    assert (row.state, row.labeler, row.hand) == (State.LEASED, labeler, Hand.ACTIVE)
    assert (row.submitted_at, row.submit_key, row.decided_at, row.needs_review) == (None, None, None, False)
    assert row.leased_until == SOON + 30 * make.MINUTE
    moves = [event.move for event in queries.history(row)]
    assert moves == [Move.CLAIM, Move.SUBMIT, Move.ACCEPT, Move.TAKE_BACK, Move.UNDO]
    assert desk.claim(labeler).id == answer.id
    assert desk.submit(answer, labeler).assignment.state == State.ACCEPTED


def test_what_waits_for_review_is_undone_in_one_move(open_desk):
    desk = open_desk(review_percent=100)
    labeler = desk.labeler()
    answer = desk.answer(labeler)
    desk.undo(answer, labeler)
    assert [event.move for event in queries.history(answer)] == [Move.CLAIM, Move.SUBMIT, Move.UNDO]


def test_an_answer_that_was_taken_back_is_drawn_again(open_desk):
    """Else a long wait for a verdict would tell a labeler that the answer is not reviewed, in time to replace it."""
    desk = open_desk(review_percent=50)
    labeler = desk.labeler()
    held, drawn = desk.claim(labeler), set()
    for second in range(64):
        now = NOW + timedelta(seconds=second)
        answer = desk.submit(held, labeler, now=now).assignment
        row = Assignment.objects.get(id=answer.id)
        assert row.needs_review == needs_review(row.id, row.submitted_at, 50, settings.SECRET_KEY)
        drawn.add(row.needs_review)
        desk.undo(answer, labeler, now=now)
    assert drawn == {True, False}


@pytest.mark.parametrize(("percent", "drawn"), [(0, False), (100, True)])
def test_a_share_of_all_or_nothing_stays_so_after_an_undo(open_desk, percent, drawn):
    desk = open_desk(review_percent=percent)
    labeler = desk.labeler()
    held = desk.claim(labeler)
    for second in range(5):
        now = NOW + timedelta(seconds=second)
        answer = desk.submit(held, labeler, now=now).assignment
        assert Assignment.objects.get(id=answer.id).needs_review is drawn
        desk.undo(answer, labeler, now=now)


def reviewed(desk, answer, _labeler):
    accept(assignment_id=answer.id, reviewer=make.user(Role.REVIEWER), comment="", now=NOW)


def sent_back(desk, answer, _labeler):
    desk.send_back(answer)


def followed(desk, _answer, labeler):
    desk.answer(labeler, now=SOON)


def settled(desk, _answer, _labeler):
    settle(campaigns=[desk.campaign.id], now=NOW)


def closed(desk, _answer, _labeler):
    change_state(campaign=desk.campaign, to=CampaignState.CLOSED, now=NOW)


def too_old(desk, _answer, _labeler):
    change_campaign(campaign=desk.campaign, undo_minutes=1)


def final(desk, _answer, _labeler):
    change_campaign(campaign=desk.campaign, undo_minutes=0)


def undone(desk, answer, labeler):
    desk.undo(answer, labeler)


@pytest.mark.parametrize("built", [reviewed, sent_back, followed, settled, closed, too_old, final, undone])
def test_what_somebody_built_on_is_not_undone(open_desk, built):
    desk = open_desk(tasks=2, review_percent=100)
    labeler = desk.labeler()
    answer = desk.answer(labeler)
    built(desk, answer, labeler)
    before = Assignment.objects.values().get(id=answer.id)
    assert not submitting.can_undo(Assignment.objects.select_related("campaign").get(id=answer.id), labeler, LATER)
    with pytest.raises(refusals.UndoOver):
        desk.undo(answer, labeler, now=NOW + 2 * make.MINUTE)
    assert Assignment.objects.values().get(id=answer.id) == before


def test_it_is_undone_by_its_labeler_alone_and_with_the_benchs_answer(open_desk):
    desk = open_desk()
    labeler = desk.labeler()
    answer = desk.answer(labeler)
    with pytest.raises(refusals.NotYours):
        desk.undo(answer, desk.labeler())


@pytest.mark.django_db(transaction=True)
def test_an_undo_without_a_transaction_is_a_bug(open_desk):
    desk = open_desk()
    labeler = desk.labeler()
    answer = desk.answer(labeler)
    with pytest.raises(TransactionManagementError):
        submitting.undo(assignment_id=answer.id, labeler=labeler, now=NOW)


def test_what_was_claimed_after_it_lies_ahead_and_what_lay_ahead_goes_to_others(open_desk):
    desk = open_desk(tasks=4)
    labeler = desk.labeler()
    answer = desk.answer(labeler)
    work, ahead = desk.claim(labeler), desk.ahead(labeler)
    desk.undo(answer, labeler)
    held = dict(Assignment.objects.filter(state=State.LEASED).values_list("hand", "id"))
    assert held == {Hand.ACTIVE: answer.id, Hand.PREFETCHED: work.id}
    assert desk.claim(desk.labeler()).id == ahead.id


def test_the_submit_that_was_undone_is_not_this_submit_again(open_desk):
    desk = open_desk()
    labeler = desk.labeler()
    held = desk.claim(labeler)
    key = desk.submit(held, labeler).assignment.submit_key
    desk.undo(held, labeler)
    assert desk.submit(held, labeler, key=key).repeated is False


def test_a_second_version_is_undone_to_a_sent_back_answer_in_work(open_desk):
    desk = open_desk(review_percent=100)
    labeler = desk.labeler()
    answer = desk.answer(labeler)
    desk.send_back(answer)
    submitting.resume(assignment_id=answer.id, labeler=labeler, now=NOW)
    desk.submit(answer, labeler, now=SOON)
    desk.undo(answer, labeler, now=SOON)
    leases.sweep(now=LATER)
    row = Assignment.objects.get(id=answer.id)
    assert (row.state, row.labeler, row.rounds) == (State.SENT_BACK, labeler, 1)
    assert desk.submit(answer, labeler, now=LATER).assignment.state == State.SUBMITTED


def test_an_undone_task_that_is_put_back_is_the_labelers_again_in_any_of_its_slots(open_desk):
    """The queue was searched in vain while the task was answered; then it is open again, and its other slot too."""
    desk = open_desk(overlap=2)
    labeler, other = desk.labeler(), desk.labeler()
    answer = desk.answer(labeler)
    for _ in range(2):
        with pytest.raises(refusals.NothingLeft):
            desk.claim(labeler)
    desk.undo(answer, labeler)
    desk.release(answer, labeler)
    assert desk.claim(other).id == answer.id
    assert desk.claim(labeler).task_id == answer.task_id


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("_round", range(4))
def test_an_export_that_settles_at_once_either_sees_the_answer_for_good_or_not_at_all(open_desk, _round):
    desk = open_desk()
    labeler = desk.labeler()
    answer = desk.answer(labeler)

    def export():
        settle(campaigns=[desk.campaign.id], now=SOON)
        return Assignment.objects.filter(state=State.ACCEPTED).count()

    seen, outcome = at_once(export, lambda: desk.undo(answer, labeler))
    assert seen == (1 if isinstance(outcome, refusals.UndoOver) else 0)
    assert Assignment.objects.filter(state=State.ACCEPTED).count() == seen


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("_round", range(4))
def test_undo_against_everything_that_could_build_on_it(open_desk, _round):
    desk = open_desk(tasks=4, review_percent=100)
    labeler, reviewer = desk.labeler(), make.user(Role.REVIEWER)
    answer, work, ahead = desk.answer(labeler), desk.claim(labeler), desk.ahead(labeler)
    outcomes = at_once(
        lambda: desk.undo(answer, labeler),
        lambda: accept(assignment_id=answer.id, reviewer=reviewer, comment="", now=NOW),
        lambda: desk.release_prefetched(labeler),
        lambda: desk.submit(work, labeler, now=SOON),
        lambda: leases.sweep(now=NOW),
    )
    undone = not isinstance(outcomes[0], Exception)
    assert undone or isinstance(outcomes[0], refusals.UndoOver)
    state = Assignment.objects.get(id=answer.id).state
    assert state == (State.LEASED if undone else State.ACCEPTED) or state == State.SUBMITTED
    assert isinstance(outcomes[3], submitting.Submission)
    assert Event.objects.filter(assignment=ahead, move=Move.RELEASE).count() == 1
