"""A manager starts a sampling run, watches it, cancels it, tries again what failed."""

from datetime import timedelta

import pytest
from django.urls import reverse
from django.utils import timezone

from annotate.samples import policies, requests
from annotate.samples import runs as sampling
from annotate.samples.models import FinishReason, SampleRun
from annotate.samples.states import RequestState, RunState
from tests import factories as make
from tests.studio.conftest import fact, told, words

FORM = {"k": 2, "temperature": 1.0, "top_p": 1.0, "max_new_tokens": 32, "stop": "", "seed": ""}


@pytest.fixture
def pool(db):
    pool = make.pool("Bakery")
    make.prompt(pool)
    return pool


@pytest.fixture
def run(pool):
    return started(pool)


def started(pool, **fields):
    values = {"k": 2, "temperature": 1.0, "top_p": 1.0, "max_new_tokens": 32, "stop": ["\n\n"], "seed": 7}
    return sampling.start(pool=pool, policy=make.policy(), by=None, now=timezone.now(), **(values | fields))


def sampled(run, *, failing=""):
    """A worker takes all prompts of the run and writes their completions, or fails at each for good."""
    claimed = requests.claim(run=run, worker="w", limit=9, lease=timedelta(minutes=1), now=timezone.now())
    for request in claimed:
        if failing:
            requests.fail(request=request, error=failing, now=timezone.now(), final=True)
            continue
        for k in range(run.k):
            written = requests.Written(
                k=k,
                text=f"Completion *{k}*",
                token_count=5,
                finish_reason=FinishReason.STOP,
                seed=k,
                attempt=0,
                parameters={},
                checkpoint_hash="",
                provenance={},
            )
            requests.store(run=run, prompt_id=request.prompt_id, written=written, now=timezone.now())
        requests.finish(request=request, now=timezone.now())


def address(name, run):
    return reverse(f"studio:{name}", args=[run.id])


@pytest.mark.django_db
def test_what_is_missing_is_said_before_the_form(studio):
    assert reverse("studio:pool-new") in words(studio.get(reverse("studio:run-new")))
    make.pool()
    assert reverse("studio:policy-new") in words(studio.get(reverse("studio:run-new")))


def test_the_form_starts_from_the_current_policy_and_the_pool_asked_for(studio, pool):
    other, current = make.policy(), make.policy()
    policies.move_current(stage="sft", policy=current, by=None, now=make.NOW)
    form = studio.get(reverse("studio:run-new"), {"pool": pool.id}).context["form"]
    assert (form["policy"].value(), int(form["pool"].value())) == (current.id, pool.id)
    form = studio.get(reverse("studio:run-new"), {"pool": "x", "policy": other.id}).context["form"]
    assert (int(form["policy"].value()), form["pool"].value()) == (other.id, None)


def test_a_form_becomes_a_run_with_a_request_a_prompt(studio, manager, pool):
    response = studio.post(reverse("studio:run-new"), FORM | {"pool": pool.id, "policy": make.policy().id})
    run = SampleRun.objects.get()
    assert response.url == address("run", run)
    assert (run.created_by, run.k, run.requests.count()) == (manager, 2, 1)


def test_a_refusal_stands_above_the_form(studio):
    form = FORM | {"pool": make.pool().id, "policy": make.policy().id}
    response = studio.post(reverse("studio:run-new"), form)
    assert response.context["form"].non_field_errors() == [str(sampling.NoPrompts.message)]
    assert not SampleRun.objects.exists()


def test_progress_is_asked_for_until_the_end_and_then_the_page_is_loaded(studio, run):
    response = studio.get(address("run-progress", run))
    assert f'hx-get="{address("run-progress", run)}"' in words(response)
    assert "0 of 2" in words(response)
    assert "a free worker; the run starts by itself" in words(response)
    assert "HX-Refresh" not in response
    sampled(run)
    response = studio.get(address("run-progress", run))
    assert "2 of 2" in words(response)
    assert "hx-get" not in words(response)
    assert response["HX-Refresh"] == "true"


def test_the_page_shows_what_was_asked_and_what_was_written(studio, run):
    sampled(run)
    text = words(studio.get(address("run", run)))
    assert r"<code>\n\n</code>" in text
    assert "Completion *1*" in text  # stars around a number may be a product
    assert "k 1 · 5 tokens · Ended by itself" in text


def test_a_run_says_why_it_waits(studio, pool, run):
    type(run.policy).objects.filter(id=run.policy_id).update(needs_gpu=True)
    assert fact(studio.get(address("run", run)), "waits") == "a worker with a GPU"
    other = started(pool)
    requests.claim(run=run, worker="w", limit=1, lease=timedelta(minutes=1), now=timezone.now())
    assert f"run {run.id}, which the workers are sampling" in words(studio.get(address("run", other)))
    assert fact(studio.get(address("run", run)), "waits") is None


def test_cancelling(studio, run):
    assert studio.get(address("run-cancel", run)).url == address("run", run)
    run.refresh_from_db()
    assert run.state == RunState.RUNNING
    studio.post(address("run-cancel", run))
    run.refresh_from_db()
    assert run.state == RunState.CANCELLED
    assert told(studio.post(address("run-cancel", run), follow=True))[-1] == str(sampling.RunEnded.message)


def test_what_failed_is_told_and_tried_again(studio, run):
    sampled(run, failing="The prompt is too long.")
    text = words(studio.get(address("run", run)))
    assert "1 prompt failed" in text
    assert "The prompt is too long." in text
    studio.post(address("run-retry", run))
    assert run.requests.get().state == RequestState.WAITING
    assert told(studio.post(address("run-retry", run), follow=True))[-1] == str(sampling.NothingFailed.message)


def test_the_list_costs_the_same_queries_however_long_it_is(studio, pool, django_assert_num_queries):
    for rows in (1, 2):
        for _ in range(rows):
            started(pool)
        # Session, user, count, runs, progress.
        with django_assert_num_queries(5):
            response = studio.get(reverse("studio:runs"))
    assert [progress.completions_wanted for _run, progress in response.context["rows"]] == [2, 2, 2]


def test_the_list_keeps_itself_up_to_date_while_something_runs(studio, run):
    part = reverse("studio:runs-progress")
    assert f'hx-get="{part}?page=1"' in words(studio.get(part))
    sampled(run)
    assert "hx-get" not in words(studio.get(part))


@pytest.mark.django_db
def test_an_empty_list_says_what_to_do(studio):
    assert "Start the first run" in words(studio.get(reverse("studio:runs")))


def test_the_first_completions_of_a_running_run_come_by_themselves(studio, run):
    page = reverse("studio:run", args=[run.id])
    assert f'hx-get="{page}" hx-select="#completions"' in words(studio.get(page))
    sampled(run)
    assert "hx-select" not in words(studio.get(page))
