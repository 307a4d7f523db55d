"""Runs of policies behind a server, from the requests to the stored completions, over real HTTP."""

import json
import logging
import threading
from collections import Counter
from datetime import timedelta

import pytest
from django.core import serializers
from django.db import connection
from django.utils import timezone

from annotate.samples import probes, requests
from annotate.samples.models import Completion, Policy, SampleRequest, SampleRun, ServerProbe
from annotate.samples.states import RequestState, RunState
from models_worker import runner, servers
from tests import factories as make
from tests.models_worker.runs import check_completions, check_whole, pool_of, start, texts
from tests.models_worker.test_runner import KillAt, Killed, errors
from tests.models_worker.unreliable import HANG, HASTY, Says, completion, refusal, unreliable_server

pytestmark = pytest.mark.django_db(transaction=True)

KEY = "sk-7f3a-very-secret"


@pytest.fixture(autouse=True)
def sent(monkeypatch):
    """Messages, caught at the edge of the process; and a process that nobody has told to stop."""
    messages = []
    monkeypatch.setattr("annotate.lib.wake._send", lambda task, ids: messages.append((task, ids)))
    monkeypatch.setattr(runner, "stopping", threading.Event())
    monkeypatch.setattr(servers, "Patience", lambda seconds: HASTY)
    monkeypatch.setattr(servers, "PROBING", HASTY)
    return messages


@pytest.fixture
def peer():
    with unreliable_server() as server:
        yield server


@pytest.fixture
def policy(peer):
    return make.server_policy(peer.url)


def run_of(policy, size=3, **given):
    return start(None, size, policy=policy, **given)


def test_a_run_is_sampled_whole_and_each_completion_names_what_made_it(peer, policy, monkeypatch):
    monkeypatch.setenv("SERVER_KEY_LAB", KEY)
    Policy.objects.update(key_name="SERVER_KEY_LAB")
    run = run_of(policy, 20, temperature=0.9, top_p=0.8, max_new_tokens=7, stop=["zz"])
    runner.sample(run.id)
    check_whole(run)
    # The probe came first, and so it is known that the same seed gives the same text.
    for row in Completion.objects.filter(run=run):
        assert row.parameters == {"temperature": 0.9, "top_p": 0.8, "max_new_tokens": 7, "stop": ["zz"]}
        assert (row.token_count, row.finish_reason, row.checkpoint_hash) == (7, "length", "")
        made = row.provenance
        assert (made["engine"], made["url"], made["endpoint"], made["model"]) == ("openai", peer.url, "chat", "tiny")
        assert (made["served_model"], made["system_fingerprint"]) == ("tiny@7", "fp_1")
        assert (made["reproducible"], made["seed_sent"], made["requests_sent"]) == (True, True, 1)
        assert (made["prompt_tokens"], made["sum_logprob"]) == (9, None)
        assert len(made["prompt_sha256"]) == 64
    asked = [asked for asked in peer.asked if asked.body.get("stop") == ["zz"]]
    assert Counter(each.body["seed"] for each in asked) == Counter(
        Completion.objects.filter(run=run).values_list("seed", flat=True)
    )
    assert {each.headers["Authorization"] for each in peer.asked} == {f"Bearer {KEY}"}


def test_equal_completions_are_sampled_anew_with_another_seed(peer, policy):
    # As many texts as there are seeds' last digits: now and then two of a prompt are equal.
    peer.script = lambda asked: completion(asked, f"text {asked.body['seed'] % 5}")
    run = run_of(policy, 8)
    runner.sample(run.id)
    check_whole(run)
    stored = texts(run)
    assert any(attempt for _text, _seed, attempt in stored.values())
    assert all(text == f"text {seed % 5}" for text, seed, _attempt in stored.values())


def test_killed_in_the_middle_a_run_goes_on_from_what_is_stored(peer, policy):
    runner.probe()
    undisturbed = run_of(policy, pool=pool_of(2))
    with connection.execute_wrapper(count := KillAt()):
        runner.sample(undisturbed.id)
    # Some statements through the run, from its first claim to its last completion.
    for number in range(8, count.sent, 15):
        run = run_of(policy, pool=undisturbed.pool)
        with connection.execute_wrapper(KillAt(number)), pytest.raises(Killed):
            runner.sample(run.id)
        stored = texts(run)
        requests.free_expired(now=timezone.now() + timedelta(minutes=2))
        runner.sample(run.id)
        check_whole(run)
        assert texts(run) == texts(undisturbed)
        assert stored.items() <= texts(run).items()


def test_a_refused_prompt_fails_alone_and_one_without_an_answer_is_tried_again(peer, policy):
    def answer(asked):
        if "Prompt 1" in asked.prompt:
            return refusal(400, "Too long.")
        if "Prompt 2" in asked.prompt and asked.time <= HASTY.tries:
            return refusal(500, "no memory")
        return completion(asked)

    peer.script = answer
    run = run_of(policy)
    runner.sample(run.id)
    run.refresh_from_db()
    failed = run.requests.get(state=RequestState.FAILED)
    assert (failed.attempts, failed.error.partition(": ")[2]) == (1, "Too long. (400)")
    done = run.requests.filter(state=RequestState.DONE)
    assert (run.state, sorted(done.values_list("attempts", flat=True))) == (RunState.DONE, [1, 2])


def test_what_the_probe_found_is_heeded_and_what_the_server_does_not_tell_is_not_made_up(peer, policy):
    def answer(asked):
        if "seed" in asked.body:
            return refusal(422, "seed?")
        return completion(asked, str(asked.time), usage=None, system_fingerprint=None)

    peer.script = answer
    run = run_of(policy, 1)
    runner.sample(run.id)
    check_whole(run)
    row = Completion.objects.first()
    assert (row.token_count, row.provenance["prompt_tokens"], row.provenance["system_fingerprint"]) == (None, None, "")
    assert (row.provenance["seed_sent"], row.provenance["reproducible"]) == (False, False)


def test_what_the_operator_did_not_allow_fails_the_run_in_words(peer, policy):
    Policy.objects.update(location="http://gpu1:8000/v1")
    run = run_of(policy)
    runner.sample(run.id)
    [error] = errors(run)
    assert "may not call gpu1:8000" in error
    assert ServerProbe.objects.get().error == error
    assert peer.asked == []


def test_what_no_prompt_would_change_fails_the_run_and_keeps_what_is_stored(peer, policy):
    peer.script = lambda asked: refusal(404, "Not here.") if "Prompt 2" in asked.prompt else completion(asked)
    bad, good = run_of(policy), run_of(policy, pool=pool_of(1))
    runner.sample(bad.id)
    bad.refresh_from_db()
    assert bad.state == RunState.DONE
    [error] = errors(bad)
    assert "Not here. (404)" in error
    check_completions(bad)
    check_whole(good)


def test_a_cancelled_run_leaves_the_server_alone_at_once(peer, policy):
    run = run_of(policy)

    def cancel(asked):
        if "Prompt 0" in asked.prompt or asked.body.get("seed") in (11, 12, 13, 14):
            return completion(asked)
        SampleRun.objects.filter(id=run.id).update(state=RunState.CANCELLED, finished_at=timezone.now())
        connection.close()
        return HANG

    peer.script = cancel
    runner.sample(run.id)
    assert not run.requests.filter(state=RequestState.FAILED).exists()
    check_completions(run)


def test_the_key_is_in_no_row_no_log_and_no_message(peer, monkeypatch, caplog, sent):
    monkeypatch.setenv("SERVER_KEY_LAB", KEY)
    caplog.set_level(logging.DEBUG)
    policy = make.server_policy(peer.url, key_name="SERVER_KEY_LAB")
    said = {"Prompt 0": refusal(400, f"key {KEY}"), "Prompt 1": Says(500, KEY.encode()), "Prompt 2": None}

    def answer(asked):
        bad = next((says for name, says in said.items() if asked.prompt.startswith(name)), None)
        return bad or completion(asked, model=KEY)

    peer.script = answer
    runner.sample(run_of(policy).id)
    peer.script = lambda asked: refusal(401, f"Wrong key {KEY}")
    runner.sample(run_of(policy).id)
    probes.ask(policy=policy, now=timezone.now())
    runner.probe()
    rows = [*SampleRequest.objects.all(), *ServerProbe.objects.all(), *Policy.objects.all(), *Completion.objects.all()]
    assert len(rows) > 10
    assert KEY not in serializers.serialize("json", rows) + caplog.text + json.dumps(sent)
