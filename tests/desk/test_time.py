"""Active seconds, as the pages report them."""

from datetime import timedelta
from uuid import uuid4

import pytest
from django.utils import timezone

from annotate.work import times
from annotate.work.models import Assignment, PageVisit, Stopwatch


def worked(me, assignment, *, seconds):
    """The labeler's stopwatch stood still for so long."""
    now = timezone.now()
    Stopwatch.objects.update_or_create(labeler=me.user, defaults={"counted_until": now - timedelta(seconds=seconds)})


def test_the_heartbeat_tells_the_time_and_the_answer_keeps_it(labeler, demonstrations):
    campaign = demonstrations()
    me = labeler(campaign)
    held, page = me.take(campaign), uuid4()
    worked(me, held, seconds=100)
    me.post("renew", held.id, data={"active": f"{page}:40.5"}, content_type="application/json")
    assert PageVisit.objects.get().seconds == pytest.approx(40.5)
    worked(me, held, seconds=100)
    me.submit(held, text="An answer", active=f"{page}:61")
    assert Assignment.objects.get().active_seconds == 61


SITTING = "7b61cb40-3eaf-4cda-a151-0b90851aa2d8"


@pytest.mark.parametrize("told", ["", "nonsense", "1:2", f"{SITTING}:much", f"{SITTING}:-5", f"{SITTING}:nan"])
def test_what_is_no_time_is_not_counted_and_stops_nobody(labeler, demonstrations, told):
    campaign = demonstrations()
    me = labeler(campaign)
    held = me.take(campaign)
    assert me.post("renew", held.id, data={"active": told}, content_type="application/json").status_code == 200
    assert me.submit(held, text="An answer", active=told).status_code == 302
    assert Assignment.objects.get().active_seconds is None


def test_the_time_of_an_answer_written_again_goes_on(labeler, demonstrations):
    campaign = demonstrations()
    me = labeler(campaign)
    held = me.take(campaign)
    worked(me, held, seconds=100)
    me.submit(held, text="Too fast", active=f"{uuid4()}:30")
    me.post("undo", held.id)
    worked(me, held, seconds=100)
    me.submit(held, text="In peace", active=f"{uuid4()}:20")
    assert Assignment.objects.get().active_seconds == 50


def test_a_page_cannot_tell_more_than_has_passed(labeler, demonstrations):
    campaign = demonstrations()
    me = labeler(campaign)
    held = me.take(campaign)
    now = timezone.now()
    times.count(task_id=held.task_id, labeler=me.user, visit=uuid4(), total=5, now=now)
    later = now + timedelta(seconds=10)
    times.count(task_id=held.task_id, labeler=me.user, visit=uuid4(), total=9_000, now=later)
    assert sum(visit.seconds for visit in PageVisit.objects.all()) == pytest.approx(15)
