"""What other tools get wrong, each by name. Those that need a race are in test_races.py."""

from uuid import uuid4

import pytest
from django.db import IntegrityError, connection, transaction

from annotate.demonstrations import actions as bench
from annotate.demonstrations.models import Demonstration
from annotate.work import leases, queue, refusals
from annotate.work.models import Assignment, Order, Seat
from annotate.work.states import State
from tests.factories import draft_of
from tests.work.conftest import LATER, NOW


def test_a_unique_constraint_that_null_switches_off(open_desk):
    """Slots without a labeler are many to a task, and still each number is there once."""
    desk = open_desk(overlap=3)
    first, second, _third = Assignment.objects.order_by("slot")
    assert first.labeler is second.labeler is None
    with pytest.raises(IntegrityError, match="assignment_slot_once"), transaction.atomic():
        Assignment.objects.filter(id=second.id).update(slot=first.slot)
    desk.claim(desk.labeler())


def test_the_second_rater_overwrites_the_first(open_desk):
    desk = open_desk(overlap=2)
    for text in ("One opinion.", "Another."):
        labeler = desk.labeler()
        held = desk.claim(labeler)
        bench.submit(assignment_id=held.id, labeler=labeler, text=text, submit_key=uuid4(), now=NOW)
    assert sorted(Demonstration.objects.values_list("text", flat=True)) == ["Another.", "One opinion."]


def test_a_reservation_that_is_never_released(open_desk):
    desk = open_desk(tasks=2)
    gone = desk.labeler()
    held = {desk.claim(gone).id, desk.ahead(gone).id}
    assert leases.sweep(now=LATER) == 2
    assert {desk.answer(desk.labeler(), now=LATER).id for _ in range(2)} == held


def test_text_destroyed_when_a_lease_ends(open_desk):
    desk = open_desk(tasks=2)
    labeler, quick = desk.labeler(), desk.labeler()
    held, ahead = desk.claim(labeler), desk.ahead(labeler)
    for row in (held, ahead):
        desk.draft(row, labeler, f"for {row.id}")
    leases.sweep(now=LATER)
    for _ in range(2):
        desk.answer(quick, now=LATER)
    for row in (held, ahead):
        assert draft_of(labeler, row.task_id).body == {"text": f"for {row.id}"}


@pytest.mark.parametrize("order", Order.values)
def test_a_full_scan_for_every_next_task(open_desk, order):
    """However much somebody has answered, the search for their next task reads one row of one index."""
    desk = open_desk(tasks=60, overlap=3, order=order)
    labeler = desk.labeler()
    for _ in range(30):
        desk.answer(labeler)
    seat = Seat.objects.get(labeler=labeler)
    values = {"campaign": desk.campaign.id, "labeler": labeler.id, "languages": ["en"]}
    with connection.cursor() as cursor:
        # What PostgreSQL knows of a table may come from the rows of another test.
        # In a table of a few rows any plan is cheap.
        cursor.execute("ANALYZE work_assignment")
        for way in ("seqscan", "bitmapscan", "sort"):
            cursor.execute(f"SET LOCAL enable_{way} = off")
        explained = f"EXPLAIN (ANALYZE, FORMAT JSON) {queue.SQL['take_next_slot']}"
        cursor.execute(explained, values | {"after": seat.cursor, "up_to": queue.END})
        plan = cursor.fetchone()[0][0]["Plan"]
    while plan["Node Type"] != "Index Scan":
        plan = plan["Plans"][-1]
    passed_by = plan.get("Rows Removed by Filter", 0)
    assert plan["Index Name"] == "assignment_open"
    # Depth first, the other slots of the task that was answered last stand between.
    assert passed_by <= 2
    assert plan["Actual Rows"] == 1


def test_work_in_flight_not_counted_against_the_overlap(open_desk):
    desk = open_desk(overlap=2)
    for _ in range(2):
        labeler = desk.labeler()
        desk.claim(labeler)
    with pytest.raises(refusals.NothingLeft):
        desk.claim(desk.labeler())
    assert set(Assignment.objects.values_list("state", flat=True)) == {State.LEASED}
