"""From the requests of a run to stored completions, with a real policy and a real database, in this process."""

import threading
import time
from collections import Counter
from datetime import timedelta
from io import StringIO

import pytest
import torch
import transformers
from django.core.management import call_command
from django.db import OperationalError, connection
from django.utils import timezone

from annotate.lib.text import text_hash
from annotate.pools.models import Prompt
from annotate.samples import gate
from annotate.samples import requests as sampling_requests
from annotate.samples import runs as sampling
from annotate.samples.gate import RESAMPLINGS
from annotate.samples.models import Completion, FinishReason, Origin, SampleRequest
from annotate.samples.spec import Quantisation
from annotate.samples.states import RequestState, RunState
from models_worker import chunk, runner
from models_worker.checkpoints import leave_room_for_others
from models_worker.engine import templates, types
from models_worker.engine.loader import forget_policies
from models_worker.engine.params import derive_seed
from models_worker.engine.transformers_engine import TransformersSampler
from models_worker.loading import load_sampler
from tests import factories as make
from tests.models_worker.runs import check_whole, pool_of, start, texts
from tests.models_worker.tiny import save_lora, save_tiny

# The watch over the leases has a database connection of its own.
pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    return save_tiny(tmp_path_factory.mktemp("tiny"))


@pytest.fixture(autouse=True)
def sent(monkeypatch):
    """Messages, caught at the edge of the process."""
    messages = []
    monkeypatch.setattr("annotate.lib.wake._send", lambda task, ids: messages.append((task, ids)))
    monkeypatch.setattr(runner, "stopping", threading.Event())
    return messages


@pytest.fixture
def sampler_calls(monkeypatch):
    """How many samples each call of the engine was asked for; `before` is called first, with the requests."""
    calls, real = [], TransformersSampler.sample

    def sample(self, requests, **hooks):
        calls.append(list(requests))
        if calls.before:
            calls.before(self, requests)
        real(self, requests, **hooks)

    calls = type("Calls", (list,), {"before": None})()
    monkeypatch.setattr(TransformersSampler, "sample", sample)
    return calls


def errors(run):
    return set(run.requests.filter(state=RequestState.FAILED).values_list("error", flat=True))


def test_a_run_is_sampled_whole_and_wakes_whoever_makes_ranking_tasks(tiny, sent, monkeypatch):
    monkeypatch.setattr(runner, "CHUNK", 16)
    # On a busy machine a chunk takes longer than the interval of the messages within it.
    monkeypatch.setattr(chunk, "TELL", float("inf"))
    run = start(tiny, 20)
    sent.clear()
    runner.sample(run.id)
    check_whole(run)
    # One message a chunk.
    assert sent == [("workflows.fill_campaigns", (run.pool_id,))] * 2


def test_a_claim_leaves_three_quarters_to_others(tiny, monkeypatch):
    monkeypatch.setattr(runner, "CHUNK", 2)
    monkeypatch.setattr(runner, "LONGEST_CHUNK", 5)
    claim, claimed = sampling_requests.claim, []

    def watched(**given):
        found = claim(**given)
        claimed.append(len(found))
        return found

    monkeypatch.setattr(sampling_requests, "claim", watched)
    run = start(tiny, 30)
    runner.sample(run.id)
    check_whole(run)
    assert claimed == [5, 5, 5, 3, 3, 2, 2, 2, 2, 1, 0]


def test_in_a_long_chunk_ranking_tasks_need_not_wait_for_its_end(tiny, sent, monkeypatch):
    monkeypatch.setattr(chunk, "TELL", 0)
    run = start(tiny, 3)
    sent.clear()
    runner.sample(run.id)
    assert sent == [("workflows.fill_campaigns", (run.pool_id,))] * 3


def test_a_completion_names_all_that_made_it(tiny):
    run = start(tiny, 1, temperature=0.9, top_p=0.8, max_new_tokens=7, stop=["zz"])
    runner.sample(run.id)
    for row in Completion.objects.filter(run=run):
        assert row.policy_revision == run.policy.revision
        assert row.parameters == {"temperature": 0.9, "top_p": 0.8, "max_new_tokens": 7, "stop": ["zz"]}
        assert row.finish_reason in (FinishReason.STOP, FinishReason.LENGTH)
        assert 1 <= row.token_count <= 7
        assert row.text_hash == text_hash(row.text)
        assert len(row.checkpoint_hash) == 64
        made = row.provenance
        assert (made["torch"], made["transformers"]) == (torch.__version__, transformers.__version__)
        assert (made["dtype"], made["engine"]) == ("float32", "transformers-arena")
        assert len(made["prompt_sha256"]) == len(made["template_sha256"]) == 64
        assert made["device"]
        assert made["prompt_tokens"] > 10
        assert made["truncated_prompt"] == 0
        assert made["sum_logprob"] < 0


def test_a_run_keeps_token_ids_and_logprobs_where_it_was_asked_to(tiny):
    pool, policy = pool_of(2), make.policy(location=str(tiny))
    kept, plain = start(tiny, pool=pool, policy=policy, keep_tokens=True), start(tiny, pool=pool, policy=policy)
    runner.sample(kept.id)
    for row in Completion.objects.filter(run=kept):
        made = row.provenance
        assert len(made["token_ids"]) == len(made["logprobs"]) == row.token_count
        assert sum(made["logprobs"]) == pytest.approx(made["sum_logprob"], abs=1e-4)
    assert not Completion.objects.filter(run=plain, provenance__has_any_keys=["token_ids", "logprobs"]).exists()
    assert texts(kept) == texts(plain)


def test_a_policy_with_an_adapter_names_both_and_neither_may_change(tiny, tmp_path):
    adapter = save_lora(tiny, tmp_path / "lora")
    policy = make.policy(location=str(tiny), adapter=str(adapter))
    run, bare = start(tiny, 1, policy=policy), start(tiny, 1)
    runner.sample(run.id)
    check_whole(run)
    made = Completion.objects.filter(run=run).first()
    assert made.checkpoint_hash == Completion.objects.filter(run=bare).first().checkpoint_hash
    assert (made.provenance["adapter_kind"], len(made.provenance["adapter_sha256"])) == ("LORA", 64)
    forget_policies()
    save_lora(tiny, adapter, seed=1)
    again = start(tiny, 1, policy=policy)
    runner.sample(again.id)
    [error] = errors(again)
    assert "Register them as a new revision" in error


@pytest.mark.parametrize(
    ("loading", "words"),
    [
        ({"adapter": "/no/such/adapter"}, "There is no folder /no/such/adapter on this worker."),
        ({"origin": Origin.HUB, "location": "a/b", "adapter": "/no/such/adapter"}, "no folder /no/such/adapter"),
        ({"quantisation": Quantisation.NF4}, "needs the package bitsandbytes"),
        ({"chat_template": "{% if %}"}, "The chat template refuses"),
    ],
)
def test_what_a_worker_cannot_load_is_refused_before_anything_is_sampled(tiny, monkeypatch, loading, words):
    monkeypatch.setattr("models_worker.engine.placement.find_spec", lambda name: None)
    run = start(tiny, 3, policy=make.policy(**{"location": str(tiny)} | loading))
    runner.sample(run.id)
    [error] = errors(run)
    assert words in error
    assert run.requests.filter(state=RequestState.FAILED).count() == 3
    assert not Completion.objects.filter(run=run).exists()


def test_only_what_is_missing_is_sampled(tiny, sampler_calls):
    run = start(tiny, 3)
    runner.sample(run.id)
    whole = texts(run)
    Completion.objects.filter(run=run, k=2).delete()
    Completion.objects.filter(run=run, k=0, prompt=run.requests.first().prompt_id).delete()
    run.requests.update(state=RequestState.WAITING, attempts=0, finished_at=None)
    type(run).objects.filter(id=run.id).update(state=RunState.RUNNING, finished_at=None)
    sampler_calls.clear()
    runner.sample(run.id)
    check_whole(run)
    assert Counter(request.k for request in sampler_calls[0]) == {2: 3, 0: 1}
    assert texts(run) == whole


def test_what_was_stored_before_the_worker_could_say_so_is_not_sampled_again(tiny, sampler_calls):
    run = start(tiny, 2)
    runner.sample(run.id)
    run.requests.update(state=RequestState.WAITING, attempts=1, finished_at=None)
    type(run).objects.filter(id=run.id).update(state=RunState.RUNNING, finished_at=None)
    sampler_calls.clear()
    runner.sample(run.id)
    check_whole(run)
    assert sampler_calls == []


def test_a_message_that_comes_again_does_nothing(tiny, sampler_calls):
    run = start(tiny, 2)
    runner.sample(run.id)
    sampler_calls.clear()
    stored = texts(run)
    runner.sample(run.id)
    assert (texts(run), sampler_calls) == (stored, [])


def test_a_message_that_comes_while_this_process_samples_does_nothing(tiny, sampler_calls):
    run = start(tiny, 2)
    sampler_calls.before = lambda *_call: runner.sample(run.id)
    runner.sample(run.id)
    check_whole(run)
    # Equal completions may be asked for once more, with another seed.
    asked = [(request.prompt_id, request.k, request.seed) for call in sampler_calls for request in call]
    assert len(set(asked)) == len(asked)


def test_the_same_seed_gives_the_same_completions_in_whatever_chunks(tiny, monkeypatch):
    # Few different answers, so that it also matters which of two equal ones gives way.
    few = {"pool": pool_of(5), "policy": make.policy(location=str(tiny)), "max_new_tokens": 1, "top_p": 0.3}
    together, apart = start(tiny, **few), start(tiny, **few)
    runner.sample(together.id)
    monkeypatch.setattr(runner, "CHUNK", 2)
    runner.sample(apart.id)
    check_whole(together)
    assert any(attempt for _text, _seed, attempt in texts(together).values())
    assert texts(together) == texts(apart)


class Killed(BaseException):
    """What no handler catches, as kill -9."""


class KillAt:
    """Ends the work instead of the n-th statement that it sends to the database."""

    def __init__(self, number=0):
        self.number, self.sent = number, 0

    def __call__(self, execute, sql, params, many, context):
        self.sent += 1
        if self.sent == self.number:
            raise Killed
        return execute(sql, params, many, context)


def test_killed_at_any_statement_a_run_ends_as_if_nothing_had_happened(tiny):
    few = {"pool": pool_of(2), "policy": make.policy(location=str(tiny)), "k": 3, "max_new_tokens": 1, "top_p": 0.3}
    undisturbed = start(tiny, **few)
    with connection.execute_wrapper(count := KillAt()):
        runner.sample(undisturbed.id)
    assert count.sent > 20
    for number in range(1, count.sent):
        run = start(tiny, **few)
        with connection.execute_wrapper(KillAt(number)), pytest.raises(Killed):
            runner.sample(run.id)
        sampling_requests.free_expired(now=timezone.now() + timedelta(minutes=2))
        runner.sample(run.id)
        check_whole(run)
        assert texts(run) == texts(undisturbed)


def expected(sampler, run, prompt):
    """What a prompt gets by the rule as it is written: whole rounds, in the order of k."""
    have, wanted = {}, list(range(run.k))
    for attempt in range(RESAMPLINGS + 1):
        again = []
        for k in wanted:
            seed = derive_seed(run.seed, run.policy.revision, str(prompt.id), k, attempt)
            rendered = sampler.policy.render(prompt.messages, max_new_tokens=run.max_new_tokens)
            asked = types.SampleRequest(
                prompt_id="", k=k, prompt_ids=rendered.ids, params=runner._params(run), seed=seed, attempt=attempt
            )
            heard = []
            sampler.sample([asked], on_result=heard.append)
            text = heard[0].text.replace("\0", "\ufffd")
            others = [gate.read(row[0]) for row in have.values()]
            if gate.flaw(gate.read(text), cut_off=False, others=others) and attempt < RESAMPLINGS:
                again.append(k)
            else:
                have[k] = (text, seed, attempt)
        wanted = again
    return have


def test_equal_completions_are_sampled_anew_and_what_stays_equal_is_stored(tiny):
    # So many prompts that among their seeds, which hang on their ids, some second attempt does bring another text.
    run = start(tiny, 24, k=6, max_new_tokens=1, top_p=0.3)
    runner.sample(run.id)
    check_whole(run)
    stored = texts(run)
    sampler = load_sampler(run.policy)
    for prompt in Prompt.objects.filter(pool=run.pool):
        assert {k: stored[prompt.text, k] for k in range(run.k)} == expected(sampler, run, prompt)
    attempts = Counter(attempt for _text, _seed, attempt in stored.values())
    assert attempts[0] > 0
    assert attempts[1] > 0
    assert max(attempts) == RESAMPLINGS


def test_an_empty_completion_is_sampled_anew_and_so_is_a_cut_off_one_where_that_is_asked_for(tiny):
    pool, policy = pool_of(6), make.policy(location=str(tiny))
    as_it_is = start(tiny, pool=pool, policy=policy, max_new_tokens=4)
    whole = start(tiny, pool=pool, policy=policy, max_new_tokens=4, resample_cut_off=True)
    runner.sample(as_it_is.id)
    cut_off = Completion.objects.filter(run=as_it_is, finish_reason=FinishReason.LENGTH)
    again = Completion.objects.filter(run=whole, finish_reason=FinishReason.LENGTH)
    assert again.count() < cut_off.count()
    # What stays cut off was tried as often as it may be.
    assert set(again.values_list("attempt", flat=True)) == {RESAMPLINGS}
    for run in (as_it_is, whole):
        check_whole(run)
        empty = [row.attempt for row in Completion.objects.filter(run=run) if not row.text.strip()]
        assert set(empty) <= {RESAMPLINGS}


def test_at_temperature_0_nothing_is_sampled_anew(tiny, sampler_calls):
    run = start(tiny, 2, k=1, temperature=0, max_new_tokens=4, resample_cut_off=True)
    runner.sample(run.id)
    check_whole(run)
    assert len(sampler_calls) == 1


def test_further_completions_of_a_prompt_are_those_of_a_larger_k(tiny):
    pool, policy = pool_of(2), make.policy(location=str(tiny))
    few, many = (start(tiny, pool=pool, policy=policy, k=k) for k in (4, 6))
    runner.sample(few.id)
    assert {key: row for key, row in texts(many).items() if key[1] < 4} == texts(few)
    first = pool.prompts.order_by("id").first()
    sampling.sample_more(run=few, extra={first.id: 2})
    few.refresh_from_db()
    assert (few.state, few.finished_at) == (RunState.RUNNING, None)
    runner.sample(few.id)
    few.refresh_from_db()
    assert few.state == RunState.DONE
    assert {key: row for key, row in texts(many).items() if key[0] == first.text or key[1] < 4} == texts(few)


def test_a_worker_without_a_gpu_leaves_to_others_what_needs_one(tiny, monkeypatch):
    run = start(tiny, 1, policy=make.policy(location=str(tiny), needs_gpu=True))
    other = start(tiny, 1)
    monkeypatch.setattr(runner.checkpoints, "has_gpu", lambda: False)
    runner.sample(run.id)
    check_whole(other)
    assert run.requests.get().state == RequestState.WAITING
    # Whoever has one hears of it from the sweep.
    monkeypatch.setattr(runner.checkpoints, "has_gpu", lambda: True)
    runner.sample(run.id)
    check_whole(run)


def test_a_policy_that_cannot_be_loaded_fails_its_run_and_no_other(tiny):
    bad = start(tiny, 3, policy=make.policy(location="/no/such/folder"))
    good = start(tiny, 2)
    runner.sample(bad.id)
    bad.refresh_from_db()
    assert bad.state == RunState.FAILED
    assert set(bad.requests.values_list("state", flat=True)) == {RequestState.FAILED}
    assert errors(bad) == {"There is no folder /no/such/folder on this worker."}
    check_whole(good)


def test_a_checkpoint_that_makes_its_libraries_raise_fails_its_run_and_no_other(tiny, tmp_path):
    save_tiny(tmp_path)
    (tmp_path / "config.json").write_text('{"model_type": "llama", "num_hidden_layers": "two"}')
    bad, good = start(tmp_path, 2), start(tiny, 2)
    runner.sample(bad.id)
    [error] = errors(bad)
    assert "cannot be loaded" in error
    check_whole(good)


def test_a_policy_whose_files_were_exchanged_is_refused(tmp_path):
    run = start(save_tiny(tmp_path), 1)
    runner.sample(run.id)
    forget_policies()
    save_tiny(tmp_path, seed=1)
    again = start(tmp_path, 1, policy=run.policy)
    runner.sample(again.id)
    [error] = errors(again)
    assert "Register them as a new revision" in error


def test_a_folder_may_be_named_from_the_checkout(tiny, settings):
    settings.BASE_DIR = tiny.parent
    run = start(tiny, 1, policy=make.policy(location=tiny.name))
    runner.sample(run.id)
    check_whole(run)


def test_a_prompt_that_does_not_fit_fails_with_a_sentence_and_the_others_are_sampled(tiny):
    pool = pool_of(2)
    long = make.prompt(pool, "word " * 300)
    run = start(tiny, pool=pool)
    runner.sample(run.id)
    request = SampleRequest.objects.get(run=run, prompt=long)
    assert (request.state, request.attempts) == (RequestState.FAILED, 1)
    assert "at most" in request.error
    assert list(run.requests.exclude(id=request.id).values_list("state", flat=True)) == [RequestState.DONE] * 2
    run.refresh_from_db()
    assert run.state == RunState.DONE


def test_an_engine_that_breaks_off_costs_attempts_and_keeps_what_was_stored(tiny, sampler_calls):
    run = start(tiny, 3)

    def break_off(_sampler, requests):
        if len(sampler_calls) == 1:
            raise RuntimeError("the device is gone")

    sampler_calls.before = break_off
    runner.sample(run.id)
    check_whole(run)
    assert set(run.requests.values_list("attempts", flat=True)) == {2}


def test_an_engine_that_only_breaks_off_fails_its_run_and_no_other(tiny, sampler_calls):
    bad, good = start(tiny, 40), start(tiny, 2)

    # Any of them: what does not pass the gate is asked for once more by itself.
    working = {str(prompt) for prompt in good.requests.values_list("prompt_id", flat=True)}

    def break_off(_sampler, requests):
        if working.isdisjoint(request.prompt_id for request in requests):
            raise RuntimeError("the device is gone")

    sampler_calls.before = break_off
    runner.sample(bad.id)
    bad.refresh_from_db()
    assert bad.state == RunState.FAILED
    assert errors(bad) == {"The sampler stopped with an error: RuntimeError: the device is gone"}
    assert len(sampler_calls) < 12
    check_whole(good)


def test_one_prompt_that_breaks_the_engine_fails_alone(tiny, sampler_calls):
    run = start(tiny, 20)
    poison = str(run.requests.order_by("id")[0].prompt_id)

    def break_off(_sampler, requests):
        if poison in {request.prompt_id for request in requests}:
            raise RuntimeError("no")

    sampler_calls.before = break_off
    runner.sample(run.id)
    states = dict(run.requests.values_list("prompt_id", "state"))
    assert states.pop(int(poison)) == RequestState.FAILED
    assert set(states.values()) == {RequestState.DONE}


def test_failed_prompts_are_sampled_after_a_retry(tiny, tmp_path):
    folder = tmp_path / "later"
    run = start(folder, 2)
    runner.sample(run.id)
    run.refresh_from_db()
    assert (run.state, len(errors(run))) == (RunState.FAILED, 1)
    save_tiny(folder)
    assert sampling.retry_failed(run=run) == 2
    runner.sample(run.id)
    check_whole(run)


def test_a_cancelled_run_stops_in_the_middle_of_a_chunk_and_keeps_what_is_stored(tiny, sampler_calls, monkeypatch):
    monkeypatch.setattr(runner, "LOOK", 0.02)
    run = start(tiny, 200, max_new_tokens=150)
    sampler_calls.before = lambda *_call: threading.Timer(0.1, cancel).start() if len(sampler_calls) == 2 else None

    def cancel():
        sampling.cancel(run=run, now=timezone.now())
        connection.close()

    runner.sample(run.id)
    run.refresh_from_db()
    assert run.state == RunState.CANCELLED
    assert len(sampler_calls) < 10
    assert 0 < Completion.objects.filter(run=run).count() < 800
    assert not run.requests.filter(state__in=[RequestState.WAITING, RequestState.LEASED]).exists()
    assert errors(run) == set()


def test_a_process_that_is_told_to_stop_gives_back_what_it_has_leased(tiny, sampler_calls):
    # More than one claim.
    run = start(tiny, 100)
    sampler_calls.before = lambda *_call: runner.stopping.set() if len(sampler_calls) == 2 else None
    runner.sample(run.id)
    run.refresh_from_db()
    assert run.state == RunState.RUNNING
    assert not run.requests.filter(state=RequestState.LEASED).exists()
    assert set(run.requests.filter(state=RequestState.WAITING).values_list("attempts", flat=True)) == {0}
    runner.stopping.clear()
    runner.sample(run.id)
    check_whole(run)


def test_leases_are_renewed_while_the_engine_is_busy(tiny, sampler_calls, monkeypatch):
    monkeypatch.setattr(runner, "LOOK", 0.02)
    monkeypatch.setattr(runner, "LEASE", timedelta(seconds=0.4))
    run = start(tiny, 2)

    def take_long(*_call):
        for _ in range(10):
            time.sleep(0.1)
            assert sampling_requests.free_expired(now=timezone.now()) == 0

    sampler_calls.before = take_long
    runner.sample(run.id)
    check_whole(run)


def test_a_watch_survives_a_database_that_is_away_for_a_moment(tiny, sampler_calls, monkeypatch):
    monkeypatch.setattr(runner, "LOOK", 0.02)
    run = start(tiny, 2)
    away, real = iter([OperationalError("away"), OperationalError("away")]), sampling_requests.renew
    renewed = []

    def renew(**values):
        for error in away:
            raise error
        renewed.append(real(**values))
        return renewed[-1]

    monkeypatch.setattr(sampling_requests, "renew", renew)
    sampler_calls.before = lambda *_call: time.sleep(0.5)
    runner.sample(run.id)
    check_whole(run)
    assert renewed[0] == 2


def test_runs_of_several_policies_are_sampled_one_after_the_other(tiny, tmp_path, sampler_calls):
    other = save_tiny(tmp_path, seed=1)
    first, second, third = start(tiny, 20), start(other, 20), start(tiny, 2)
    runner.sample(first.id)
    for run in (first, second, third):
        check_whole(run)
    runs = {str(asked.prompt_id): asked.run_id for asked in SampleRequest.objects.all()}
    order = [runs[requests[0].prompt_id] for requests in sampler_calls]
    assert order == sorted(order)


def test_the_sweep_frees_what_dead_workers_held_and_wakes_one_for_the_oldest_run(tiny, sent):
    with runner.app.connection_for_write() as broker:
        # What other tests sent may still lie in this process's broker.
        runner.app.amqp.queues["sampling"](broker.default_channel).purge()
    older, newer = start(tiny, 2), start(tiny, 1)
    now = timezone.now()
    sampling_requests.claim(run=older, worker="dead", limit=2, lease=timedelta(seconds=60), now=now)
    sent.clear()
    runner.sweep(now=now)
    assert sent == [("models_worker.sample_run", (newer.id,))]
    sent.clear()
    runner.sweep(now=now + timedelta(seconds=61))
    assert sent == [("models_worker.sample_run", (older.id,))]
    runner.sample(older.id)
    sent.clear()
    runner.sweep(now=now)
    assert sent == []


def test_the_command_samples_what_waits_without_a_broker(tiny):
    first, second = start(tiny, 2), start(tiny, 1, policy=make.policy(location="/no/such/folder"))
    out = StringIO()
    call_command("sample", stdout=out)
    check_whole(first)
    assert f"Run {first.id}: 2 prompts done, 0 failed" in out.getvalue()
    assert f"Run {second.id}: 0 prompts done, 1 failed" in out.getvalue()
    call_command("sample", stdout=out)
    assert out.getvalue().endswith("No run is waiting.\n")


def test_torch_leaves_a_core_to_others_unless_the_operator_says_otherwise(monkeypatch):
    monkeypatch.setattr("os.cpu_count", lambda: 8)
    environment = {}
    leave_room_for_others(environment)
    assert environment == {"OMP_NUM_THREADS": "7", "OMP_WAIT_POLICY": "PASSIVE"}
    environment = {"OMP_NUM_THREADS": "2"}
    leave_room_for_others(environment)
    assert environment["OMP_NUM_THREADS"] == "2"
    monkeypatch.setattr("os.cpu_count", lambda: 1)
    environment = {}
    leave_room_for_others(environment)
    assert environment["OMP_NUM_THREADS"] == "1"


# Such a template takes hours. The first renderings are fast: it is loaded as any other.
SLOW = (
    "{% if 'wind' in messages[-1].content %}{% for i in range(99999) %}{% for j in range(99999) %}{% endfor %}"
    "{% endfor %}{% endif %}{{ messages[-1].content }}"
)


@pytest.mark.parametrize("in_thread", [False, True], ids=["solo", "threads"])
def test_a_run_that_is_cancelled_does_not_wait_for_its_template(tiny, in_thread):
    """Also where the worker runs its tasks in threads, which no signal reaches."""
    run = start(tiny, 3, policy=make.policy(location=str(tiny), chat_template=SLOW))
    cancelled_at = []

    def cancel():
        sampling.cancel(run=run, now=timezone.now())
        cancelled_at.append(time.monotonic())
        connection.close()

    threading.Timer(3, cancel).start()
    if in_thread:
        worker = threading.Thread(target=lambda: (runner.sample(run.id), connection.close()))
        worker.start()
        worker.join()
    else:
        runner.sample(run.id)
    assert time.monotonic() - cancelled_at[0] < runner.LOOK + 5
    run.refresh_from_db()
    assert run.state == RunState.CANCELLED
    assert not Completion.objects.filter(run=run).exists()


def test_a_worker_told_to_stop_gives_back_what_a_slow_template_holds(tiny):
    run = start(tiny, 3, policy=make.policy(location=str(tiny), chat_template=SLOW))
    threading.Timer(3, runner.stopping.set).start()
    runner.sample(run.id)
    assert set(run.requests.values_list("state", "attempts")) == {(RequestState.WAITING, 0)}


def test_a_template_over_its_limit_fails_its_prompts_and_then_the_run(tiny, monkeypatch):
    monkeypatch.setattr(templates, "SECONDS", 0.3)
    run = start(tiny, 9, policy=make.policy(location=str(tiny), chat_template=SLOW))
    began = time.monotonic()
    runner.sample(run.id)
    assert set(run.requests.values_list("state", flat=True)) == {RequestState.FAILED}
    (error,) = errors(run)
    assert "The policy's chat template takes more than 0.3 seconds" in error
    assert "Register the policy with a simpler chat template" in error
    assert time.monotonic() - began < 9 * 5


def test_one_prompt_that_is_too_much_for_a_template_costs_no_other(tiny, monkeypatch):
    monkeypatch.setattr(templates, "SECONDS", 0.5)
    pool, group = make.pool(), make.group()
    for text in ("calm", "the wind", "quiet"):
        make.prompt(pool, text, in_group=group)
    run = start(tiny, pool=pool, policy=make.policy(location=str(tiny), chat_template=SLOW))
    runner.sample(run.id)
    states = dict(run.requests.values_list("prompt__text", "state"))
    assert states == {"calm": RequestState.DONE, "the wind": RequestState.FAILED, "quiet": RequestState.DONE}
