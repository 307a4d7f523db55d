"""Asking a server: one result a request, whatever the server does."""

import logging
import subprocess
import sys
import threading
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest
from django.conf import settings

from models_worker.engine import server as http
from models_worker.engine.chat import ChatError, Template
from models_worker.engine.openai_engine import OpenAISampler, prompt_text
from models_worker.engine.types import SampleRequest, SamplerUnusable, SamplingParams
from tests.models_worker.tiny import sample_all
from tests.models_worker.unreliable import HANG, HANG_UP, HASTY, LONG, Says, completion, refusal, unreliable_server

KEY = "sk-7f3a-very-secret"


@pytest.fixture
def peer():
    with unreliable_server() as server:
        yield server


def sampler_of(server, *, concurrency=4, patience=HASTY):
    return OpenAISampler(server, concurrency=concurrency, patience=patience)


def requests_for(server, prompts=3, k=2, **params):
    return [
        SampleRequest(
            prompt_id=f"p{number}",
            k=each,
            prompt_ids=(),
            params=SamplingParams(**{"max_new_tokens": 40} | params),
            seed=100 * number + each,
            prompt_text=prompt_text(server, [{"role": "user", "content": f"Prompt {number}"}]),
        )
        for number in range(prompts)
        for each in range(k)
    ]


def sampled(server, patience=HASTY, **asked):
    return sample_all(sampler_of(server, patience=patience), requests_for(server, **asked))


def test_a_request_is_one_completion_with_its_own_seed_and_key(peer):
    results = sampled(peer.server(key=KEY))
    assert len({result.text for result in results.values()}) == 6
    assert sorted(asked.body["seed"] for asked in peer.asked) == [0, 1, 100, 101, 200, 201]
    for asked in peer.asked:
        assert (asked.path, asked.headers["Authorization"]) == ("/v1/chat/completions", f"Bearer {KEY}")
        assert asked.body["messages"] == [{"role": "user", "content": asked.prompt}]
        assert {name: asked.body[name] for name in asked.body if name not in ("messages", "seed")} == {
            "model": "tiny",
            "temperature": 1.0,
            "top_p": 1.0,
            "max_tokens": 40,
        }
    result = results["p1", 0]
    assert (result.finish_reason, result.token_count, result.prompt_tokens) == ("stop", 16, 9)
    assert (result.token_ids, result.sum_logprob) == ((), None)
    assert result.provenance == {
        "served_model": "tiny@7",
        "system_fingerprint": "fp_1",
        "server_finish_reason": "stop",
        "seed_sent": True,
        "requests_sent": 1,
    }


def test_what_a_server_does_not_take_is_not_sent(peer):
    sampled(peer.server(takes_seed=False, limit="max_completion_tokens"), prompts=1, k=1)
    [asked] = peer.asked
    assert not {"seed", "max_tokens", "stop"} & asked.body.keys()
    assert asked.body["max_completion_tokens"] == 40
    assert "Authorization" not in asked.headers


def first_time(says):
    return lambda asked: says if asked.time == 1 else completion(asked)


@pytest.mark.parametrize(
    "says",
    [
        refusal(500, "out of memory"),
        refusal(503),
        refusal(429, "slow down", Retry_After="0"),
        refusal(429, "slow down"),
        refusal(408),
        Says(body=b"<html>the proxy's own page</html>"),
        Says(body={"choices": []}),
        Says(body=b'{"choices": [{"message": {"con'),
        Says(body=b"x" * 100, half=True),
        HANG_UP,
    ],
    ids=[
        "500",
        "503",
        "429 with Retry-After",
        "429",
        "408",
        "no JSON",
        "no choice",
        "cut JSON",
        "half a body",
        "hangs up",
    ],
)
def test_what_may_pass_is_asked_again_with_the_same_seed(peer, says):
    peer.script = first_time(says)
    results = sampled(peer.server())
    assert {result.finish_reason for result in results.values()} == {"stop"}
    assert {result.provenance["requests_sent"] for result in results.values()} == {2}
    assert len(peer.asked) == 12
    peer.script = completion
    assert {at: result.text for at, result in sampled(peer.server()).items()} == {
        at: result.text for at, result in results.items()
    }


@pytest.mark.parametrize("says", [HANG, Says(body=b"x" * 100, drip=True)], ids=["silent", "a byte now and then"])
def test_an_answer_that_does_not_end_is_not_waited_for(peer, says):
    peer.script = lambda asked: says
    result = sampled(peer.server(), patience=replace(HASTY, seconds=0.3, tries=2), prompts=1, k=1)["p0", 0]
    assert result.error.endswith("gave no whole answer within 0.3 seconds.")
    assert not result.final


def test_a_server_that_goes_on_failing_is_given_up_with_its_words(peer):
    peer.script = lambda asked: refusal(500, "no GPU") if asked.prompt == "Prompt 2" else completion(asked)
    results = sampled(peer.server())
    assert results["p2", 0].error.endswith(": no GPU (500)")
    assert not results["p2", 0].final
    assert results["p1", 0].finish_reason == "stop"
    assert len([asked for asked in peer.asked if asked.prompt == "Prompt 2"]) == 2 * HASTY.tries


def test_a_server_that_says_later_is_not_failing_but_not_asked_for_ever(peer):
    # More often than a failure would be tried.
    peer.script = lambda asked: refusal(429, "busy", Retry_After="0") if asked.time <= 6 else completion(asked)
    assert sampled(peer.server(), prompts=1, k=1)["p0", 0].provenance["requests_sent"] == 7
    # Longer than patience lasts: the whole wait would be in vain.
    peer.script = lambda asked: refusal(429, "come back tomorrow", Retry_After="86400")
    peer.asked.clear()
    assert sampled(peer.server(), prompts=1, k=1)["p0", 0].error.endswith(": come back tomorrow (429)")
    assert len(peer.asked) == 1


def test_retry_after_is_a_number_of_seconds_or_a_date():
    assert http._seconds("2.5") == 2.5
    assert http._seconds("-1") == 0
    date = format_datetime(datetime.now(UTC) + timedelta(hours=1), usegmt=True)
    assert 3500 < http._seconds(date) <= 3600
    assert [http._seconds(text) for text in ("", "soon")] == [None, None]


@pytest.mark.parametrize(
    ("says", "words"),
    [
        (refusal(400, "The prompt is longer than 512 tokens."), "refuses this prompt: The prompt is longer than 512"),
        (Says(422, {"detail": [{"msg": "Unexpected keys", "loc": ["body"]}]}), "Unexpected keys (422)"),
        (Says(413, b"too\n\n large"), "too large (413)"),
        (Says(418), "it answered 418 and no more."),
    ],
)
def test_a_refused_prompt_fails_alone_and_at_once(peer, says, words):
    peer.script = lambda asked: says if asked.prompt == "Prompt 1" else completion(asked)
    results = sampled(peer.server())
    assert words in results["p1", 0].error
    assert results["p1", 0].final
    assert {at for at, result in results.items() if result.finish_reason == "error"} == {("p1", 0), ("p1", 1)}
    assert len(peer.asked) == 6


@pytest.mark.parametrize(
    ("reason", "text", "outcome"),
    [
        ("content_filter", "", ("error", True)),
        ("tool_calls", "", ("error", False)),
        ("length", None, ("error", True)),
        ("eos_token", "Yes.", ("stop", False)),
        ("max_tokens", "Yes.", ("length", False)),
        (None, "Yes.", ("stop", False)),
    ],
)
def test_the_many_words_for_why_a_text_ends(peer, reason, text, outcome):
    choice = {"finish_reason": reason, "message": {"content": text}}
    peer.script = lambda asked: Says(body={"choices": [choice], "usage": None})
    result = sampled(peer.server(), prompts=1, k=1)["p0", 0]
    assert (result.finish_reason, result.final) == outcome
    assert result.token_count is None


@pytest.mark.parametrize(
    ("says", "words"),
    [
        (refusal(401, f"Wrong key: {KEY}."), "refuses the key: Wrong key: [key]. (401)"),
        (refusal(403, "not yours"), "refuses access: not yours"),
        (refusal(404, "The model `tiny` does not exist."), "knows no such address or model: The model `tiny`"),
        (refusal(402), "wants to be paid"),
        (refusal(307, Location="http://elsewhere.example/v1"), "sends on to http://elsewhere.example/v1."),
        (Says(429, {"error": {"message": "Pay.", "code": "insufficient_quota"}}), "no more quota: Pay. (429)"),
    ],
)
def test_what_no_request_would_change_is_raised(peer, says, words):
    peer.script = lambda asked: says
    sampler = sampler_of(peer.server(key=KEY), concurrency=1)
    with pytest.raises(SamplerUnusable) as raised:
        sampler.sample(requests_for(sampler.server), on_result=pytest.fail)
    assert words in str(raised.value)
    assert len(peer.asked) == 1


def test_a_server_that_answers_nothing_at_all_is_given_up(peer):
    peer.script = lambda asked: HANG_UP
    sampler = sampler_of(peer.server(), concurrency=1, patience=replace(HASTY, tries=1))
    results = []
    with pytest.raises(SamplerUnusable, match="32 requests in a row got no answer"):
        sampler.sample(requests_for(sampler.server, prompts=40, k=1), on_result=results.append)
    assert len(results) == 31


def test_nobody_there_is_said_in_words(peer):
    server = peer.server()
    peer.close()
    assert "cannot be reached" in sampled(server, prompts=1, k=1)["p0", 0].error


def test_as_many_requests_as_allowed_are_under_way_and_never_more(peer):
    # Nobody is answered before four are there: with fewer at a time this would end in a broken barrier.
    together = threading.Barrier(4, timeout=LONG)

    def meet(asked):
        together.wait()
        return completion(asked)

    peer.script = meet
    sampled(peer.server(), prompts=4, k=4)
    assert peer.most == 4


@pytest.mark.parametrize("concurrency", [1, 8])
def test_what_is_asked_for_in_the_middle_is_sampled_too(peer, concurrency):
    sampler, results = sampler_of(peer.server(), concurrency=concurrency), {}
    asked = requests_for(sampler.server, prompts=3, k=2)
    late = [replace(each, k=each.k + 10) for each in asked]

    def hear(result):
        assert (result.prompt_id, result.k) not in results
        results[result.prompt_id, result.k] = result
        return [late.pop() for _each in range(min(2, len(late)))]

    sampler.sample(asked, on_result=hear)
    assert len(results) == 12
    assert not any(result.error for result in results.values())


def test_cancelling_leaves_what_is_under_way_and_the_server_notices(peer):
    arrived = threading.Event()

    def hang(asked):
        if asked.prompt == "Prompt 0":
            return completion(asked)
        arrived.set()
        return HANG

    peer.script = hang
    sampler, results = sampler_of(peer.server(), concurrency=2), []
    sampler.sample(requests_for(sampler.server, k=1), on_result=results.append, cancelled=arrived.is_set)
    assert [result.prompt_id for result in results] in ([], ["p0"])
    hung = [asked for asked in peer.asked if asked.prompt != "Prompt 0"]
    assert all(asked.abandoned.wait(LONG) for asked in hung)
    assert len(hung) <= 2


def test_what_breaks_in_the_middle_is_raised_and_leaves_nothing_running(peer):
    def stop(_result):
        raise KeyError("the database")

    sampler = sampler_of(peer.server())
    with pytest.raises(KeyError):
        sampler.sample(requests_for(sampler.server), on_result=stop)


def test_the_key_is_in_no_log_and_no_error(peer, caplog):
    caplog.set_level(logging.DEBUG)
    for name in ("httpx2", "httpcore2"):
        caplog.set_level(logging.DEBUG, name)
    said = [refusal(400, f"key {KEY}"), refusal(500, f"key {KEY}"), Says(body=KEY.encode()), HANG_UP]
    peer.script = lambda asked: said[int(asked.prompt[-1])]
    server = peer.server(key=KEY)
    results = sampled(server, prompts=4, k=1)
    assert all(result.error for result in results.values())
    assert caplog.records
    assert KEY not in f"{caplog.text} {results} {server} {sampler_of(server).provenance}"


def test_stop_strings_that_a_server_leaves_are_cut_here(peer):
    peer.script = lambda asked: completion(replace(asked, body=asked.body | {"stop": []}), "one END two STOP three")
    result = sampled(peer.server(), prompts=1, k=1, stop=("STOP", "END", "a", "b", "c"))["p0", 0]
    assert (result.text, result.finish_reason) == ("one ", "stop")
    assert peer.asked[0].body["stop"] == ["STOP", "END", "a", "b"]


def test_a_base_model_is_sent_a_text_and_its_next_turn_is_cut(peer):
    peer.script = lambda asked: completion(asked, " An answer.\n\nUser: And now?")
    server = peer.server(
        endpoint="completions", examples=({"role": "user", "content": "A"}, {"role": "assistant", "content": "B"})
    )
    result = sampled(server, prompts=1, k=1)["p0", 0]
    assert (result.text, result.finish_reason) == ("An answer.", "stop")
    [asked] = peer.asked
    assert asked.path == "/v1/completions"
    assert asked.body["prompt"] == "User: A\n\nAssistant: B\n\nUser: Prompt 0\n\nAssistant:"
    assert asked.body["stop"] == ["\n\nUser:", "\nUser:"]


def test_a_prompt_s_own_system_message_stands_for_that_of_the_examples(peer):
    system, user, assistant = ({"role": role, "content": role} for role in ("system", "user", "assistant"))
    own = {"role": "system", "content": "own"}
    server = peer.server(examples=(system, user, assistant))
    assert prompt_text(server, [user]) == prompt_text(peer.server(), [system, user, assistant, user])
    assert prompt_text(server, [own, user]) == prompt_text(peer.server(), [own, user, assistant, user])


def test_a_prompt_that_cannot_be_put_is_refused_in_words(peer):
    with pytest.raises(ChatError, match="must be the user's"):
        prompt_text(peer.server(), [{"role": "assistant", "content": "Hi"}])
    broken = peer.server(endpoint="completions", template=Template("policy", "{{ messages[9].content }}"))
    with pytest.raises(ChatError, match="refuses this prompt"):
        prompt_text(broken, [{"role": "user", "content": "Hi"}])


def test_what_no_database_takes_is_replaced(peer):
    peer.script = lambda asked: Says(
        body=b'{"model": "a\\u0000b", "choices": [{"finish_reason": "stop", "message": {"content": "x\\ud800y"}}]}'
    )
    result = sampled(peer.server(), prompts=1, k=1)["p0", 0]
    assert (result.text, result.provenance["served_model"]) == ("x\ufffdy", "ab")


def test_an_endless_answer_is_not_read_to_its_end(peer, monkeypatch):
    monkeypatch.setattr(http, "MOST_BYTES", 100)
    peer.script = lambda asked: Says(body=b"x" * 10_000)
    assert "sent more than" in sampled(peer.server(), prompts=1, k=1)["p0", 0].error


def test_the_engine_needs_no_torch():
    code = (
        "import models_worker.engine.probe, models_worker.engine.openai_engine, sys;"
        "assert not {'torch', 'transformers'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], cwd=settings.BASE_DIR, check=True)
