"""Starting, cancelling and retrying a run, and how far it is."""

from datetime import timedelta

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from annotate.pools.models import Prompt
from annotate.samples import policies, queries, requests
from annotate.samples import runs as sampling
from annotate.samples.models import Completion, Origin, SampleRun
from annotate.samples.states import RequestState, RunState
from tests import factories as make
from tests.samples.conftest import NOW, claim, finish, write

pytestmark = pytest.mark.django_db


@pytest.fixture
def sent(monkeypatch):
    """Messages, caught at the edge of the process."""
    messages = []
    monkeypatch.setattr("annotate.lib.wake._send", lambda task, ids: messages.append((task, ids)))
    return messages


def states(run):
    return list(run.requests.order_by("id").values_list("state", flat=True))


def test_a_run_asks_for_every_prompt_of_its_pool_and_of_no_other(start):
    make.prompt(make.pool())
    run = start(3)
    assert run.state == RunState.RUNNING
    prompts = Prompt.objects.filter(pool=run.pool).order_by("id")
    assert list(run.requests.order_by("id").values_list("prompt", flat=True)) == [prompt.id for prompt in prompts]
    assert states(run) == [RequestState.WAITING] * 3


def test_starting_takes_as_many_statements_for_a_large_pool_as_for_a_small_one(start):
    small, large = make.pool(), make.pool()
    make.prompt(small)
    for _ in range(30):
        make.prompt(large)
    policy, counts = make.policy(), set()
    for pool in (small, large):
        with CaptureQueriesContext(connection) as statements:
            start(0, pool=pool, policy=policy)
        counts.add(len(statements))
    assert len(counts) == 1


def test_a_run_may_ask_for_some_prompts_of_its_pool(start):
    pool = make.pool()
    wanted, other, elsewhere = make.prompt(pool), make.prompt(pool), make.prompt(make.pool())
    run = start(0, pool=pool, prompts=Prompt.objects.filter(id__in=[wanted.id, elsewhere.id]))
    assert list(run.requests.values_list("prompt", flat=True)) == [wanted.id]
    run = start(0, pool=pool, prompts=Prompt.objects.filter(pool=pool).order_by("-id")[:1])
    assert list(run.requests.values_list("prompt", flat=True)) == [other.id]


def test_the_worker_is_woken_after_the_commit_and_not_by_a_refused_run(start, sent, django_capture_on_commit_callbacks):
    with django_capture_on_commit_callbacks(execute=True):
        run = start(1)
        assert sent == []
        with pytest.raises(sampling.NoPrompts):
            start(0)
    assert sent == [("models_worker.sample_run", (run.id,))]


def test_a_run_over_nothing_leaves_no_row(start):
    with pytest.raises(sampling.NoPrompts, match="no prompts"):
        start(0)
    assert not SampleRun.objects.exists()


def test_a_policy_known_by_its_imported_completions_is_not_sampled(start):
    with pytest.raises(policies.NotSampledHere):
        start(1, policy=make.policy(origin=Origin.IMPORTED, location=""))


def test_several_completions_at_temperature_0_are_refused(start):
    with pytest.raises(sampling.AllEqual):
        start(1, temperature=0.0, k=2)
    assert start(1, temperature=0.0, k=1).k == 1


def test_cancelling_ends_what_waits_and_what_is_being_sampled_and_keeps_what_is_stored(start):
    run = start(3)
    done, held = claim(run, limit=2)
    finish(run, done)
    write(run, held.prompt_id, 0)
    sampling.cancel(run=run, now=NOW)
    run.refresh_from_db()
    assert (run.state, run.finished_at) == (RunState.CANCELLED, NOW)
    assert states(run) == [RequestState.DONE, RequestState.CANCELLED, RequestState.CANCELLED]
    assert Completion.objects.filter(run=run).count() == 3
    with pytest.raises(sampling.RunEnded):
        sampling.cancel(run=run, now=NOW)


def test_what_a_worker_still_brings_after_a_cancel_is_kept_and_moves_nothing(start):
    run = start(1)
    [held] = claim(run)
    sampling.cancel(run=run, now=NOW)
    assert not finish(run, held)
    assert not requests.fail(request=held, error="too late", now=NOW)
    assert requests.renew(run=run, worker="a", lease=timedelta(hours=1), now=NOW) == 0
    assert states(run) == [RequestState.CANCELLED]
    assert Completion.objects.filter(run=run).count() == run.k


def test_failed_prompts_are_tried_again_from_the_first_attempt(start, sent, django_capture_on_commit_callbacks):
    run = start(2)
    good, bad = claim(run)
    finish(run, good)
    requests.fail(request=bad, error="no", now=NOW, final=True)
    run.refresh_from_db()
    assert run.state == RunState.DONE
    with django_capture_on_commit_callbacks(execute=True):
        assert sampling.retry_failed(run=run) == 1
    run.refresh_from_db()
    assert (run.state, run.finished_at) == (RunState.RUNNING, None)
    assert sent == [("models_worker.sample_run", (run.id,))]
    [again] = claim(run)
    assert (again.id, again.attempts, again.error) == (bad.id, 1, "")


def test_there_must_be_something_to_retry(start):
    run = start(1)
    with pytest.raises(sampling.NothingFailed):
        sampling.retry_failed(run=run)
    [held] = claim(run)
    requests.fail(request=held, error="no", now=NOW, final=True)
    run = start(1, pool=run.pool)
    sampling.cancel(run=run, now=NOW)
    with pytest.raises(sampling.RunCancelled):
        sampling.retry_failed(run=run)


def test_runs_that_wait_for_a_worker_stand_in_the_order_they_were_asked_for(start):
    busy, ended = start(1), start(1)
    first, second = start(1), start(1, now=NOW - timedelta(hours=1))
    claim(busy)
    sampling.cancel(run=ended, now=NOW)
    assert list(queries.waiting_runs()) == [second, first]


def test_progress_of_many_runs_is_one_query(start, django_assert_num_queries):
    runs = [start(2) for _ in range(3)]
    with django_assert_num_queries(1):
        assert len(queries.progress(runs, now=NOW)) == 3


def test_progress_sums_up_once_a_run_and_not_once_a_prompt(start):
    runs = [start(5) for _ in range(2)]
    for run in runs:
        for request in claim(run):
            finish(run, request)
    with CaptureQueriesContext(connection) as captured:
        queries.progress(runs, now=NOW)
    with connection.cursor() as cursor:
        cursor.execute("EXPLAIN (ANALYZE, FORMAT JSON) " + captured[0]["sql"])
        [[[plan]]] = cursor.fetchall()
    loops = [node["Actual Loops"] for node in nodes(plan["Plan"]) if node["Node Type"] == "Aggregate"]
    assert loops == [len(runs)] * 2


def nodes(plan):
    yield plan
    for below in plan.get("Plans", []):
        yield from nodes(below)


def test_progress_counts_prompts_tokens_pace_and_the_time_left(start):
    run = start(6, k=2)
    first, second, third, _fourth = claim(run, limit=4)
    finish(run, first)
    requests.fail(request=second, error="no", now=NOW, final=True)
    write(run, third.prompt_id, 0, at=NOW + timedelta(seconds=4), tokens=10)
    seen = queries.progress([run], now=NOW + timedelta(seconds=10))[run.id]
    assert (seen.waiting, seen.leased, seen.done, seen.failed, seen.cancelled) == (2, 2, 1, 1, 0)
    assert (seen.prompts, seen.completions, seen.completions_wanted, seen.percent) == (6, 3, 12, 25)
    assert seen.tokens == 20
    # 20 tokens and 3 completions in the 10 seconds since the first; 4 prompts of 2 are still to come.
    assert seen.tokens_per_second == pytest.approx(2.0)
    assert seen.seconds_left == pytest.approx(8 / 0.3)


def test_the_pace_is_of_the_last_minute_and_afterwards_of_the_whole(start):
    run = start(2, k=2)
    first, second = claim(run)
    finish(run, first)
    write(run, second.prompt_id, 0, at=NOW + timedelta(seconds=100), tokens=30)
    seen = queries.progress([run], now=NOW + timedelta(seconds=120))[run.id]
    assert seen.tokens_per_second == pytest.approx(30 / 60)
    assert queries.progress([run], now=NOW + timedelta(hours=1))[run.id].seconds_left is None
    write(run, second.prompt_id, 1, at=NOW + timedelta(seconds=100), tokens=10)
    requests.finish(request=second, now=NOW)
    run.refresh_from_db()
    seen = queries.progress([run], now=NOW + timedelta(hours=1))[run.id]
    assert (seen.percent, seen.seconds_left) == (100, None)
    assert seen.tokens_per_second == pytest.approx(50 / 100)


def test_progress_before_anything_is_written(start):
    run = start(2)
    seen = queries.progress([run], now=NOW)[run.id]
    assert (seen.percent, seen.tokens, seen.tokens_per_second, seen.seconds_left) == (0, 0, None, None)


def test_failures_are_told_apart_by_their_sentence(start):
    run = start(3)
    for request, error in zip(claim(run), ("too long", "broken", "too long"), strict=True):
        requests.fail(request=request, error=error, now=NOW, final=True)
    assert list(queries.failures(run)) == [("too long", 2), ("broken", 1)]


def test_what_prompts_have_of_their_completions(start):
    run = start(3, k=2)
    first, second, third = claim(run)
    finish(run, first)
    write(run, second.prompt_id, 1)
    assert set(queries.stored(run, [first.prompt_id, second.prompt_id, third.prompt_id])) == {
        first.prompt_id,
        second.prompt_id,
    }
    assert set(queries.stored(run, [second.prompt_id])[second.prompt_id]) == {1}


def test_completions_of_a_prompt_imported_first_then_run_by_run(start, django_assert_num_queries):
    run = start(1, k=2)
    prompt = run.requests.get().prompt
    later = start(0, pool=run.pool, k=2)
    write(later, prompt.id, 0)
    imported = make.completion(prompt, make.policy())
    second, first = write(run, prompt.id, 1), write(run, prompt.id, 0)
    with django_assert_num_queries(1):
        found = [(row, row.policy.name) for row in queries.completions_of(prompt)]
    assert [row for row, _name in found][:3] == [imported, first, second]
