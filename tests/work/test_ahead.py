"""The second hand: the next task, leased ahead while one is worked on."""

import pytest

from annotate.accounts.models import Role
from annotate.guidelines.models import GuidelineVersion
from annotate.work import leases, refusals, submitting
from annotate.work.campaigns import change_state
from annotate.work.models import Assignment, Event, Hand
from annotate.work.states import CampaignState, Move, State
from tests import factories as make
from tests.work.conftest import LATER, NOW
from tests.work.test_races import at_once

SOON = NOW + 10 * make.MINUTE


def publish(guideline):
    return GuidelineVersion.objects.create(
        guideline=guideline, number=2, body="New.", created_by=make.user(Role.MANAGER), created_at=NOW, published_at=NOW
    )


def test_it_is_another_task_under_a_lease_of_its_own(open_desk):
    desk = open_desk(tasks=2, overlap=2)
    labeler = desk.labeler()
    work, ahead = desk.claim(labeler), desk.ahead(labeler, now=SOON)
    assert work.task_id != ahead.task_id
    assert Assignment.objects.get(id=ahead.id).leased_until == SOON + 30 * make.MINUTE
    assert desk.claim(labeler).id == work.id


def test_without_a_task_in_work_there_is_none(open_desk):
    desk = open_desk(tasks=2)
    with pytest.raises(refusals.LeaseLost):
        desk.ahead(desk.labeler())
    assert not Event.objects.exists()


def test_neither_asking_again_nor_a_heartbeat_prolongs_it(open_desk):
    desk = open_desk(tasks=3)
    labeler = desk.labeler()
    work, ahead = desk.claim(labeler), desk.ahead(labeler)
    end = Assignment.objects.get(id=ahead.id).leased_until
    assert desk.ahead(labeler, now=SOON).id == ahead.id
    assert leases.renew(assignment_id=ahead.id, labeler=labeler, now=SOON) == end
    assert leases.renew(assignment_id=work.id, labeler=labeler, now=SOON) > end
    assert Assignment.objects.get(id=ahead.id).leased_until == end


def test_the_next_claim_takes_it_into_work_under_the_guideline_of_then(open_desk):
    desk = open_desk(tasks=3)
    labeler = desk.labeler()
    work, ahead = desk.claim(labeler), desk.ahead(labeler)
    desk.submit(work, labeler)
    newest = publish(desk.campaign.guideline)
    with pytest.raises(refusals.NotAcknowledged):
        desk.claim(labeler)
    make.acknowledge(labeler, desk.campaign)
    assert desk.claim(labeler, now=SOON).id == ahead.id
    row = Assignment.objects.get(id=ahead.id)
    assert (row.hand, row.claimed_at, row.guideline_version) == (Hand.ACTIVE, SOON, newest)
    assert row.leased_until == SOON + 30 * make.MINUTE


def test_whoever_puts_it_down_gives_it_to_others(open_desk):
    desk = open_desk(tasks=2)
    labeler = desk.labeler()
    work, ahead = desk.claim(labeler), desk.ahead(labeler)
    desk.release_prefetched(labeler)
    desk.release_prefetched(labeler)
    assert Assignment.objects.get(id=work.id).labeler == labeler
    assert desk.claim(desk.labeler()).id == ahead.id
    assert Event.objects.filter(move=Move.RELEASE).count() == 1


def test_it_expires_by_itself_while_the_one_in_work_is_renewed(open_desk):
    desk = open_desk(tasks=2)
    labeler = desk.labeler()
    work, ahead = desk.claim(labeler), desk.ahead(labeler)
    leases.renew(assignment_id=work.id, labeler=labeler, now=SOON)
    assert leases.sweep(now=NOW + 35 * make.MINUTE) == 1
    row = Assignment.objects.get(id=ahead.id)
    assert (row.state, row.hand, row.labeler) == (State.OPEN, Hand.ACTIVE, None)


def test_it_can_be_handed_in_released_and_skipped_like_the_other(open_desk):
    desk = open_desk(tasks=5)
    labeler = desk.labeler()
    desk.claim(labeler)
    answered = desk.submit(desk.ahead(labeler), labeler).assignment
    assert Assignment.objects.get(id=answered.id).hand == Hand.ACTIVE
    released = desk.ahead(labeler)
    desk.release(released, labeler)
    again = desk.ahead(labeler)
    assert again.id == released.id
    desk.skip(again, labeler)
    assert desk.ahead(labeler).id not in {released.id, answered.id}


@pytest.mark.parametrize("state", [CampaignState.PAUSED, CampaignState.CLOSED])
def test_a_campaign_that_stops_hands_out_neither_it_nor_a_new_one(open_desk, state):
    desk = open_desk(tasks=3)
    idle, prepared = desk.labeler(), desk.labeler()
    desk.claim(idle)
    work, ahead = desk.claim(prepared), desk.ahead(prepared)
    change_state(campaign=desk.campaign, to=state, now=NOW)
    with pytest.raises(refusals.CampaignNotOpen):
        desk.ahead(idle)
    desk.submit(work, prepared)
    with pytest.raises(refusals.CampaignNotOpen):
        desk.claim(prepared)
    leases.sweep(now=LATER)
    assert Assignment.objects.get(id=ahead.id).labeler is None


def test_a_sent_back_answer_that_came_to_lie_ahead_stays_its_writers(open_desk):
    """Undo lays what was in work ahead: a sent-back answer too, and however its lease ends it stays one."""
    desk = open_desk(tasks=6, review_percent=100, undo_minutes=60)
    endings = [
        lambda labeler, _row: desk.release_prefetched(labeler),
        lambda labeler, row: desk.release(row, labeler),
        lambda _labeler, _row: leases.sweep(now=LATER),
    ]
    for end in endings:
        labeler = desk.labeler()
        back = desk.answer(labeler)
        desk.send_back(back)
        last = desk.answer(labeler, now=SOON)
        submitting.resume(assignment_id=back.id, labeler=labeler, now=SOON)
        desk.undo(last, labeler, now=SOON)
        assert Assignment.objects.get(id=back.id).hand == Hand.PREFETCHED
        end(labeler, back)
        row = Assignment.objects.get(id=back.id)
        assert (row.state, row.labeler, row.rounds, row.hand) == (State.SENT_BACK, labeler, 1, Hand.ACTIVE)


def test_a_sent_back_answer_ahead_is_given_up_or_makes_room_for_a_further_undo(open_desk):
    desk = open_desk(tasks=4, review_percent=100, undo_minutes=60)
    labeler = desk.labeler()
    backs = [desk.answer(labeler), desk.answer(labeler)]
    last = desk.answer(labeler, now=SOON)
    for back in backs:
        desk.send_back(back)
    submitting.resume(assignment_id=backs[0].id, labeler=labeler, now=SOON)
    desk.undo(last, labeler, now=SOON)
    desk.submit(last, labeler, now=SOON)
    submitting.resume(assignment_id=backs[1].id, labeler=labeler, now=SOON)
    desk.undo(last, labeler, now=SOON)
    assert Assignment.objects.get(id=backs[0].id).state == State.SENT_BACK
    desk.skip(backs[1], labeler, now=SOON)
    assert Assignment.objects.get(id=backs[1].id).state == State.CANCELLED


@pytest.mark.django_db(transaction=True)
def test_two_tabs_that_prefetch_at_once_get_one_lease(open_desk):
    desk = open_desk(tasks=6)
    labeler = desk.labeler()
    work = desk.claim(labeler)
    outcomes = at_once(*[lambda: desk.ahead(labeler)] * 4)
    assert len({outcome.id for outcome in outcomes} - {work.id}) == 1
    assert Assignment.objects.filter(labeler=labeler).count() == 2


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("_round", range(3))
def test_put_down_against_the_claim_that_takes_it_into_work(open_desk, _round):
    desk = open_desk(tasks=4)
    labeler = desk.labeler()
    work, ahead = desk.claim(labeler), desk.ahead(labeler)
    desk.submit(work, labeler)
    _nothing, claimed, _swept = at_once(
        lambda: desk.release_prefetched(labeler), lambda: desk.claim(labeler), lambda: leases.sweep(now=NOW)
    )
    held = Assignment.objects.get(labeler=labeler, state=State.LEASED)
    assert (held.id, held.hand) == (claimed.id, Hand.ACTIVE)
    assert Event.objects.filter(assignment=ahead, move=Move.RELEASE).exists() == (claimed.id != ahead.id) or (
        claimed.id == ahead.id
    )
