import pytest

from annotate.accounts.models import Role
from annotate.work import leases, queries, refusals
from annotate.work.models import Assignment, Draft, Event, Skip, SkipReason
from annotate.work.states import Move, State
from tests import factories as make
from tests.factories import draft_of
from tests.work.conftest import LATER, NOW


def test_a_heartbeat_moves_the_end_of_the_lease(open_desk):
    desk = open_desk()
    labeler = desk.labeler()
    held = desk.claim(labeler)
    soon = NOW + 20 * make.MINUTE
    until = leases.renew(assignment_id=held.id, labeler=labeler, now=soon)
    assert until == soon + desk.campaign.lease_minutes * make.MINUTE
    assert Assignment.objects.get(id=held.id).leased_until == until


def test_a_heartbeat_after_the_sweep_says_that_the_lease_is_lost(open_desk):
    desk = open_desk()
    labeler = desk.labeler()
    held = desk.claim(labeler)
    leases.sweep(now=LATER)
    with pytest.raises(refusals.LeaseLost):
        leases.renew(assignment_id=held.id, labeler=labeler, now=LATER)


def test_somebody_else_can_neither_renew_release_skip_nor_draft(open_desk):
    desk = open_desk(tasks=2)
    held = desk.claim(desk.labeler())
    thief = desk.labeler()
    with pytest.raises(refusals.NotYours):
        leases.renew(assignment_id=held.id, labeler=thief, now=NOW)
    with pytest.raises(refusals.NotYours):
        leases.release(assignment_id=held.id, labeler=thief, now=NOW)
    with pytest.raises(refusals.NotYours):
        leases.skip(assignment_id=held.id, labeler=thief, reason=SkipReason.OTHER, note="", now=NOW)
    with pytest.raises(refusals.NotYours):
        desk.draft(held, thief)
    assert Assignment.objects.get(id=held.id).state == State.LEASED
    assert not Draft.objects.exists()


def test_the_sweep_frees_ended_leases_only_and_keeps_the_text(open_desk):
    desk = open_desk(tasks=2)
    gone, busy = desk.labeler(), desk.labeler()
    lost = desk.claim(gone)
    desk.draft(lost, gone)
    kept = desk.claim(busy, now=LATER)
    assert leases.sweep(now=LATER) == 1
    assert Assignment.objects.get(id=lost.id).state == State.OPEN
    assert Assignment.objects.get(id=kept.id).state == State.LEASED
    assert draft_of(gone, lost.task_id).body == {"text": "half a sentence"}
    event = Event.objects.get(move=Move.EXPIRE)
    assert event.detail["labeler"] == gone.id
    assert leases.sweep(now=LATER) == 0


def test_whoever_lost_the_lease_gets_the_task_back_with_the_text(open_desk):
    desk = open_desk(tasks=2)
    labeler = desk.labeler()
    lost = desk.claim(labeler)
    desk.draft(lost, labeler)
    leases.sweep(now=LATER)
    assert desk.claim(labeler, now=LATER).id == lost.id


def test_text_is_still_saved_after_the_lease_ended(open_desk):
    desk = open_desk()
    labeler, quick = desk.labeler(), desk.labeler()
    lost = desk.claim(labeler)
    leases.sweep(now=LATER)
    desk.claim(quick, now=LATER)
    desk.draft(lost, labeler, "typed on", now=LATER)
    assert draft_of(labeler, lost.task_id).body == {"text": "typed on"}
    assert draft_of(quick, lost.task_id) is None


def test_a_draft_of_a_novel_is_refused(open_desk):
    desk = open_desk()
    labeler = desk.labeler()
    held = desk.claim(labeler)
    with pytest.raises(refusals.DraftTooLong):
        desk.draft(held, labeler, "x" * 1_000_001)


def test_a_released_task_goes_back_and_its_draft_stays(open_desk):
    desk = open_desk()
    labeler, other = desk.labeler(), desk.labeler()
    held = desk.claim(labeler)
    desk.draft(held, labeler)
    leases.release(assignment_id=held.id, labeler=labeler, now=NOW)
    assert desk.claim(other).id == held.id
    assert draft_of(labeler, held.task_id) is not None


def test_a_skipped_task_goes_to_others_and_does_not_come_back(open_desk):
    desk = open_desk(tasks=1, overlap=2)
    labeler, other = desk.labeler(), desk.labeler()
    held = desk.claim(labeler)
    skip = leases.skip(assignment_id=held.id, labeler=labeler, reason=SkipReason.UNCLEAR, note="What?", now=NOW)
    assert (skip.task_id, skip.note) == (held.task_id, "What?")
    with pytest.raises(refusals.NothingLeft):
        desk.claim(labeler)
    assert desk.claim(other).id == held.id


def test_a_task_that_is_not_held_cannot_be_skipped(open_desk):
    desk = open_desk()
    labeler = desk.labeler()
    held = desk.claim(labeler)
    leases.release(assignment_id=held.id, labeler=labeler, now=NOW)
    with pytest.raises(refusals.LeaseLost):
        leases.skip(assignment_id=held.id, labeler=labeler, reason=SkipReason.OTHER, note="", now=NOW)
    assert not Skip.objects.exists()


def test_the_desk_lists_what_is_held_in_a_fixed_number_of_queries(open_desk, django_assert_num_queries):
    desks = [open_desk() for _ in range(3)]
    labeler = make.user(Role.LABELER)
    for desk in desks:
        make.acknowledge(labeler, desk.campaign)
        desk.claim(labeler)
    with django_assert_num_queries(1):
        assert [row.task.prompt.text for row in queries.held(labeler)]
