"""A leased job is one worker's at a time, and nobody's for ever."""

import threading
from dataclasses import replace
from datetime import timedelta

import pytest
from django.db import connection, transaction

from annotate.lib.jobs import Jobs, LeaseLost
from annotate.samples.models import ServerProbe
from annotate.samples.states import ProbeState
from tests import factories as make

NOW = make.NOW
UNTIL = NOW + timedelta(minutes=1)
LATER = UNTIL + timedelta(minutes=1)
JOBS = Jobs(
    model=ServerProbe,
    waiting=ProbeState.WAITING,
    running=ProbeState.RUNNING,
    done=ProbeState.DONE,
    failed=ProbeState.FAILED,
    claim_columns=("worker", "attempts"),
    max_attempts=2,
)

pytestmark = pytest.mark.django_db


def wait(count):
    for _ in range(count):
        make.server_policy()


def claim(worker="a", *, now=NOW, until=UNTIL):
    return JOBS.claim(rows=JOBS.free(now=now).order_by("id"), until=until, worker=worker)


def states():
    return list(ServerProbe.objects.order_by("id").values_list("state", flat=True))


def test_a_claim_is_stored_and_returned():
    wait(2)
    claimed, stored = claim(), ServerProbe.objects.earliest("id")
    columns = ["id", "state", "leased_until", "worker", "attempts"]
    assert [getattr(claimed, name) for name in columns] == [getattr(stored, name) for name in columns]
    assert (stored.state, stored.leased_until, stored.attempts) == (ProbeState.RUNNING, UNTIL, 1)
    assert claim().id != claimed.id
    assert claim() is None


def test_a_claim_takes_two_queries_and_one_where_nothing_is_free(django_assert_num_queries):
    wait(1)
    with transaction.atomic():
        with django_assert_num_queries(4):  # Two of them are the savepoint.
            claim()
        with django_assert_num_queries(3):
            claim()


def test_without_a_limit_there_is_no_column_to_count_in():
    uncounted = replace(JOBS, max_attempts=None)
    wait(1)
    assert uncounted.claim(rows=uncounted.free(now=NOW), until=UNTIL, worker="a").attempts == 0
    uncounted.release(rows=ServerProbe.objects.all())
    assert ServerProbe.objects.get().attempts == 0


def test_a_lease_is_over_at_its_end_and_not_before():
    wait(1)
    first = claim("first")
    assert claim("second", now=UNTIL - timedelta(microseconds=1)) is None
    assert claim("second", now=UNTIL, until=LATER)
    assert not JOBS.held(job=first).exists()


def test_a_renewed_lease_keeps_others_away_for_longer():
    wait(1)
    job = claim()
    assert JOBS.renew(rows=JOBS.held(job=job), until=LATER, stage=3) == 1
    assert claim("b", now=UNTIL) is None
    assert ServerProbe.objects.get().stage == 3


@pytest.mark.parametrize(
    "change",
    [
        lambda rows: JOBS.renew(rows=rows, until=LATER),
        lambda rows: JOBS.finish(rows=rows, found_at=NOW),
        lambda rows: JOBS.fail(rows=rows, error="It broke."),
        lambda rows: JOBS.release(rows=rows),
        lambda rows: JOBS.retry(rows=rows),
    ],
)
def test_a_worker_that_lost_its_lease_changes_nothing(change):
    wait(1)
    late = claim("late")
    claim("next", now=LATER, until=LATER)
    before = ServerProbe.objects.values().get()
    assert change(JOBS.held(job=late)) == 0
    assert ServerProbe.objects.values().get() == before
    with pytest.raises(LeaseLost):
        JOBS.lock(job=late)


def test_the_same_worker_cannot_continue_an_earlier_claim():
    wait(1)
    early = claim("a")
    again = claim("a", now=LATER, until=LATER)
    assert not JOBS.held(job=early).exists()
    assert JOBS.held(job=again).exists()


@pytest.mark.parametrize(
    ("end", "state", "attempts"),
    [
        (lambda rows: JOBS.finish(rows=rows, found_at=NOW), ProbeState.DONE, 1),
        (lambda rows: JOBS.fail(rows=rows, error="It broke."), ProbeState.FAILED, 1),
        (lambda rows: JOBS.release(rows=rows), ProbeState.WAITING, 0),
        (lambda rows: JOBS.retry(rows=rows), ProbeState.WAITING, 1),
    ],
)
def test_an_end_takes_the_lease_away(end, state, attempts):
    wait(1)
    job = claim()
    assert end(JOBS.held(job=job)) == 1
    job.refresh_from_db()
    assert (job.state, job.leased_until, job.attempts) == (state, None, attempts)


def test_expired_jobs_are_free_again_until_they_have_stopped_enough_workers():
    wait(3)
    claim()
    JOBS.retry(rows=JOBS.held(job=claim()))
    claim("second attempt")
    assert JOBS.free_expired(rows=ServerProbe.objects.all(), error="It stopped two.", now=NOW) == (0, 0)
    assert JOBS.free_expired(rows=ServerProbe.objects.all(), error="It stopped two.", now=UNTIL) == (1, 1)
    assert states() == [ProbeState.WAITING, ProbeState.FAILED, ProbeState.WAITING]
    assert ServerProbe.objects.get(state=ProbeState.FAILED).error == "It stopped two."


def together(count, work):
    """Run `work(number)` in `count` threads that start at the same time. Returns the results."""
    barrier, results = threading.Barrier(count), {}

    def run(number):
        try:
            barrier.wait()
            results[number] = work(number)
        finally:
            connection.close()

    threads = [threading.Thread(target=run, args=(number,)) for number in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return [results[number] for number in range(count)]


@pytest.mark.django_db(transaction=True)
def test_workers_that_claim_concurrently_never_get_the_same_job():
    wait(12)

    def work(number):
        held = []
        while job := claim(str(number)):
            held.append(job.id)
        return held

    held = [job_id for ids in together(4, work) for job_id in ids]
    assert sorted(held) == sorted(ServerProbe.objects.values_list("id", flat=True))


@pytest.mark.django_db(transaction=True)
def test_a_claim_does_not_wait_for_a_row_that_another_transaction_has_locked():
    wait(2)
    first, second = ServerProbe.objects.order_by("id")
    locked, release = threading.Event(), threading.Event()

    def lock():
        try:
            with transaction.atomic():
                ServerProbe.objects.select_for_update().get(id=first.id)
                locked.set()
                assert release.wait(30)
        finally:
            connection.close()

    thread = threading.Thread(target=lock)
    thread.start()
    try:
        assert locked.wait(30)
        assert claim().id == second.id
        assert claim() is None
    finally:
        release.set()
        thread.join()


@pytest.mark.django_db(transaction=True)
def test_a_job_that_expires_goes_to_one_of_its_next_workers_or_stays_with_the_one_that_renews():
    for _ in range(5):
        ServerProbe.objects.all().delete()
        wait(1)
        job = claim("old")

        def work(number, job=job):
            if number == 0:
                return JOBS.renew(rows=JOBS.held(job=job), until=LATER)
            return claim(str(number), now=UNTIL, until=LATER) is not None

        assert sum(together(4, work)) == 1


@pytest.mark.django_db(transaction=True)
def test_a_locked_job_keeps_others_away_until_the_transaction_ends():
    wait(1)
    job = claim("old")
    with transaction.atomic():
        JOBS.lock(job=job)
        (other,) = together(1, lambda _number: claim("new", now=LATER, until=LATER))
        assert other is None
        JOBS.finish(rows=JOBS.held(job=job), found_at=NOW)
    assert states() == [ProbeState.DONE]


@pytest.mark.django_db(transaction=True)
def test_transactions_that_lock_several_jobs_form_no_deadlock():
    wait(8)
    while claim():
        pass

    def work(number):
        order = "id" if number % 2 else "-id"
        for _ in range(5):
            with transaction.atomic():
                JOBS.renew(rows=JOBS.in_order(rows=ServerProbe.objects.order_by(order)), until=LATER)
        return True

    assert all(together(4, work))
