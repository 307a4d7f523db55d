"""Claiming prompts of a run, keeping what a sampler brings, and getting back what a dead worker held."""

import threading
from datetime import timedelta
from importlib import import_module

import pytest
from django.apps import apps
from django.db import IntegrityError, connection, transaction

from annotate.samples import requests as sampling_requests
from annotate.samples import runs
from annotate.samples.models import Completion, FinishReason, SampleRequest, SampleRun
from annotate.samples.states import RequestState, RunState
from tests.samples.conftest import LEASE, NOW, claim, finish, write

LATER = NOW + LEASE


def state(request):
    return SampleRequest.objects.get(id=request.id).state


@pytest.mark.django_db
def test_a_claim_leases_the_oldest_prompts_of_its_run(start):
    run, other = start(3), start(3)
    first = claim(run, limit=2)
    assert [request.run_id for request in first] == [run.id, run.id]
    assert [request.id for request in first] == sorted(run.requests.values_list("id", flat=True))[:2]
    assert {(request.worker, request.leased_until, request.attempts) for request in first} == {("a", NOW + LEASE, 1)}
    assert len(claim(run, worker="b")) == 1
    assert claim(run, worker="c") == []
    assert len(claim(other)) == 3


@pytest.mark.django_db
def test_a_prompt_on_its_last_attempt_is_leased_alone(start):
    run = start(4)
    for _ in range(sampling_requests.MAX_ATTEMPTS - 1):
        [killer] = claim(run, limit=1)
        sampling_requests.free_expired(now=LATER)
    rest = [request for request in run.requests.order_by("id") if request.id != killer.id]
    assert [request.id for request in claim(run)] == [killer.id]
    assert [request.id for request in claim(run)] == [request.id for request in rest]


@pytest.mark.django_db
def test_a_renewed_lease_does_not_expire_and_only_its_worker_renews_it(start):
    run = start(2)
    [mine], [theirs] = claim(run, worker="a", limit=1), claim(run, worker="b", limit=1)
    assert sampling_requests.renew(run=run, worker="a", lease=LEASE, now=NOW + timedelta(seconds=30)) == 1
    assert sampling_requests.free_expired(now=LATER) == 1
    assert (state(mine), state(theirs)) == (RequestState.LEASED, RequestState.WAITING)


@pytest.mark.django_db
def test_what_a_stopping_worker_gives_back_is_no_failed_attempt(start):
    run = start(2)
    claim(run, worker="a", limit=1), claim(run, worker="b", limit=1)
    assert sampling_requests.release(run=run, worker="a") == 1
    assert sorted(run.requests.values_list("state", "attempts", "worker")) == [
        (RequestState.LEASED, 1, "b"),
        (RequestState.WAITING, 0, "a"),
    ]


@pytest.mark.django_db
def test_a_completion_is_stored_with_all_that_made_it(start):
    run = start(1)
    row = write(run, run.requests.get().prompt_id, 1, "The  capital")
    assert (row.policy, row.run, row.k, row.text) == (run.policy, run, 1, "The  capital")
    assert (row.token_count, row.finish_reason, row.seed, row.attempt) == (5, FinishReason.STOP, 101, 0)
    assert (row.policy_revision, row.checkpoint_hash) == (run.policy.revision, "c" * 64)
    assert (row.parameters, row.provenance, row.created_at) == ({"temperature": 1.0}, {"engine": "test"}, NOW)


@pytest.mark.django_db
def test_a_completion_is_stored_once_and_the_first_one_stays(start):
    run = start(1)
    prompt_id = run.requests.get().prompt_id
    write(run, prompt_id, 0, "first")
    assert write(run, prompt_id, 0, "second").text == "first"
    assert Completion.objects.count() == 1


@pytest.mark.django_db
def test_a_text_is_stored_exactly_as_it_was_written(start):
    texts = ["", " \n", "\u200b", "  Two\r\nlines  \n\n", "cafe\u0301 x²", "    a()\n\tb()"]
    run = start(1, k=len(texts))
    [request] = claim(run)
    stored = [write(run, request.prompt_id, k, text) for k, text in enumerate(texts)]
    assert [row.text for row in stored] == texts
    assert sampling_requests.finish(request=request, now=NOW)


@pytest.mark.django_db
def test_what_postgresql_cannot_store_is_replaced_and_nothing_else_is(start):
    run = start(1, k=2)
    prompt_id = run.requests.get().prompt_id
    assert write(run, prompt_id, 0, " a\x00b ").text == " a\ufffdb "
    assert write(run, prompt_id, 1, "half \ud83d, whole \ud83d\ude00").text == "half \ufffd, whole 😀"


@pytest.mark.django_db
def test_a_prompt_is_done_only_with_all_its_completions(start):
    run = start(1, k=2)
    [request] = claim(run)
    write(run, request.prompt_id, 0)
    assert not sampling_requests.finish(request=request, now=NOW)
    write(run, request.prompt_id, 1)
    assert sampling_requests.finish(request=request, now=LATER)
    run.refresh_from_db()
    assert (state(request), run.state, run.finished_at) == (RequestState.DONE, RunState.DONE, LATER)


@pytest.mark.django_db
def test_a_run_is_done_when_nothing_waits_and_nobody_samples(start):
    run = start(3)
    [first], [second] = claim(run, worker="a", limit=1), claim(run, worker="b", limit=1)
    finish(run, first)
    run.refresh_from_db()
    assert run.state == RunState.RUNNING
    [third] = claim(run)
    sampling_requests.fail(request=third, error="no", now=NOW, final=True)
    run.refresh_from_db()
    assert run.state == RunState.RUNNING
    finish(run, second)
    run.refresh_from_db()
    assert run.state == RunState.DONE


@pytest.mark.django_db
def test_a_worker_that_lost_its_lease_moves_nothing_of_the_next_one(start):
    run = start(1)
    [lost] = claim(run, worker="a")
    sampling_requests.free_expired(now=LATER)
    [held] = claim(run, worker="b", now=LATER)
    assert not finish(run, lost)
    assert not sampling_requests.fail(request=lost, error="too late", now=LATER, final=True)
    assert state(held) == RequestState.LEASED
    assert sampling_requests.finish(request=held, now=LATER)


@pytest.mark.django_db
def test_a_prompt_fails_after_three_attempts_with_the_last_reason(start):
    run = start(1)
    for attempt in range(1, sampling_requests.MAX_ATTEMPTS + 1):
        [request] = claim(run)
        assert request.attempts == attempt
        sampling_requests.fail(request=request, error=f"reason {attempt}", now=NOW)
    assert claim(run) == []
    request.refresh_from_db()
    run.refresh_from_db()
    assert (request.state, request.error, run.state) == (RequestState.FAILED, "reason 3", RunState.FAILED)


@pytest.mark.django_db
def test_a_failed_run_runs_again_when_its_prompts_are_tried_again(start):
    run = start(1)
    [request] = claim(run)
    sampling_requests.fail(request=request, error="no", now=NOW, final=True)
    runs.retry_failed(run=run)
    run.refresh_from_db()
    assert (run.state, run.finished_at) == (RunState.RUNNING, None)
    [request] = claim(run)
    finish(run, request)
    run.refresh_from_db()
    assert run.state == RunState.DONE


@pytest.mark.django_db
def test_the_migration_marks_old_runs_that_ended_without_a_completion(start):
    failed, mixed, done = start(1), start(2), start(1)
    for run in (failed, mixed):
        [request] = claim(run, limit=1)
        sampling_requests.fail(request=request, error="no", now=NOW, final=True)
    for run in (mixed, done):
        [request] = claim(run)
        finish(run, request)
    SampleRun.objects.update(state=RunState.DONE)
    import_module("annotate.samples.migrations.0003_failed_runs").mark_failed(apps, None)
    states = dict(SampleRun.objects.values_list("id", "state"))
    assert states == {failed.id: RunState.FAILED, mixed.id: RunState.DONE, done.id: RunState.DONE}


@pytest.mark.django_db
def test_a_prompt_that_cannot_be_sampled_fails_at_once(start):
    run = start(1)
    [request] = claim(run)
    sampling_requests.fail(request=request, error="too long", now=NOW, final=True)
    assert state(request) == RequestState.FAILED


@pytest.mark.django_db
def test_what_nobody_could_sample_fails_together_and_in_its_run_alone(start):
    run, other = start(4), start(2)
    [theirs], _mine = claim(run, worker="b", limit=1), claim(run, worker="a", limit=1)
    assert sampling_requests.fail_rest(run=run, worker="a", error="no such folder", now=NOW) == 3
    assert state(theirs) == RequestState.LEASED
    assert set(run.requests.exclude(id=theirs.id).values_list("state", "error", "finished_at")) == {
        (RequestState.FAILED, "no such folder", NOW)
    }
    assert set(other.requests.values_list("state", flat=True)) == {RequestState.WAITING}
    finish(run, theirs)
    run.refresh_from_db()
    assert run.state == RunState.DONE


@pytest.mark.django_db
def test_a_prompt_that_takes_its_worker_down_three_times_fails_with_a_sentence(start):
    run = start(2)
    [good] = claim(run, worker="b", limit=1)
    finish(run, good)
    for _ in range(sampling_requests.MAX_ATTEMPTS):
        [killer] = claim(run)
        sampling_requests.free_expired(now=LATER)
    killer.refresh_from_db()
    run.refresh_from_db()
    assert (killer.state, run.state) == (RequestState.FAILED, RunState.DONE)
    assert killer.error == "The worker stopped three times while it sampled this prompt."


@pytest.mark.django_db
def test_a_run_whose_worker_dies_before_it_writes_anything_fails_as_a_whole(start):
    run, other = start(50), start(1)
    for _ in range(sampling_requests.MAX_ATTEMPTS):
        claim(run, limit=2)
        sampling_requests.free_expired(now=LATER)
    run.refresh_from_db()
    assert run.state == RunState.FAILED
    assert run.requests.filter(state=RequestState.FAILED, error__contains="more memory").count() == 49
    assert other.requests.get().state == RequestState.WAITING


@pytest.mark.django_db
def test_a_lease_that_is_not_over_is_left_alone(start):
    run = start(1)
    claim(run)
    assert sampling_requests.free_expired(now=LATER - timedelta(seconds=1)) == 0
    assert sampling_requests.free_expired(now=LATER) == 1
    assert sampling_requests.free_expired(now=LATER) == 0


@pytest.mark.django_db
def test_the_database_refuses_a_sampled_completion_without_its_seed(start):
    run = start(1)
    row = write(run, run.requests.get().prompt_id, 0)
    with pytest.raises(IntegrityError), transaction.atomic():
        Completion.objects.filter(id=row.id).update(seed=None)


def together(count, work):
    """Run `work(number)` in so many threads that start at once. Returns what they returned."""
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
def test_workers_that_claim_at_once_share_the_prompts(start):
    run = start(24)

    def work(number):
        held = []
        while claimed := claim(run, worker=str(number), limit=2):
            held += [request.id for request in claimed]
        return held

    held = [request_id for ids in together(6, work) for request_id in ids]
    assert len(held) == len(set(held)) == 24


@pytest.mark.django_db(transaction=True)
def test_workers_that_finish_the_last_prompts_at_once_close_the_run(start):
    for _ in range(5):
        run = start(4)
        requests = claim(run)
        for request in requests:
            for k in range(run.k):
                write(run, request.prompt_id, k)
        together(4, lambda number, held=requests: sampling_requests.finish(request=held[number], now=NOW))
        run.refresh_from_db()
        assert run.state == RunState.DONE


@pytest.mark.django_db(transaction=True)
def test_two_workers_that_bring_the_same_completions_store_each_once(start):
    run = start(3, k=3)
    prompt_ids = list(run.requests.values_list("prompt_id", flat=True))

    def work(number):
        for prompt_id in prompt_ids:
            for k in range(run.k):
                write(run, prompt_id, k, f"by {number}")

    together(4, work)
    assert Completion.objects.count() == 9


@pytest.mark.django_db(transaction=True)
def test_cancel_renew_claim_finish_and_sweep_at_once_never_wait_in_a_circle(start):
    for _ in range(5):
        run = start(12)
        held = claim(run, limit=6)

        def work(number, run=run, held=held):
            match number:
                case 0:
                    runs.cancel(run=run, now=NOW)
                case 1:
                    sampling_requests.renew(run=run, worker="a", lease=LEASE, now=NOW)
                case 2:
                    claim(run, worker="b", limit=4)
                case 3:
                    for request in reversed(held):
                        finish(run, request)
                case 4:
                    sampling_requests.free_expired(now=LATER)
            return True

        assert all(together(5, work))
        assert not run.requests.filter(state__in=[RequestState.WAITING, RequestState.LEASED]).exists()
