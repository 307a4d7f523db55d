"""What a server can do is found out by asking it."""

import os
import signal
import socket
import subprocess
import sys
from contextlib import contextmanager
from dataclasses import asdict, replace
from importlib.util import find_spec
from pathlib import Path

import pytest

from models_worker.engine import probe as probing
from models_worker.engine.openai_engine import OpenAISampler, fields_of, prompt_text
from models_worker.engine.patience import Patience
from models_worker.engine.probe import STAGES, ProbeFailed, probe
from models_worker.engine.server import Server
from models_worker.engine.types import SampleRequest, SamplerUnusable, SamplingParams
from tests.models_worker.tiny import MAX_MODEL_LEN, sample_all, save_tiny
from tests.models_worker.unreliable import HASTY, completion, refusal, unreliable_server

ALL = {
    "takes_seed": True,
    "takes_whole_top_p": True,
    "limit": "max_tokens",
    "usage": True,
    "model": "tiny@7",
    "fingerprint": "fp_1",
    "context": 512,
    "seed": True,
    "n": True,
    "logprobs": True,
    "stop": "ends",
    "length": True,
}


@pytest.fixture
def peer():
    with unreliable_server() as server:
        yield server


def found(peer, **server):
    return asdict(probe(peer.server(**server), patience=HASTY, on_stage=lambda _number: None))


@pytest.mark.parametrize("endpoint", ["chat", "completions"])
def test_a_server_that_can_do_everything(peer, endpoint):
    stages = []
    assert asdict(probe(peer.server(endpoint=endpoint), patience=HASTY, on_stage=stages.append)) == ALL
    assert stages == list(range(1, STAGES + 1))


def test_another_text_for_the_same_seed_is_not_reproducible(peer):
    peer.script = lambda asked: completion(asked, f"text {asked.body['seed']} {len(peer.asked)}")
    assert found(peer)["seed"] is False


def test_equal_texts_for_all_seeds_decide_nothing(peer):
    peer.script = lambda asked: completion(asked, "always the same")
    assert found(peer)["seed"] is None


def without(*refused):
    """A server that refuses each request with one of these fields."""

    def answer(asked):
        if named := [name for name in refused if name in asked.body]:
            return refusal(422, f"I do not know {named[0]}.")
        return completion(asked)

    return answer


def test_a_server_that_refuses_seeds_is_sent_none(peer):
    peer.script = without("seed")
    assert found(peer) == ALL | {"takes_seed": False, "seed": False}


def test_a_server_that_refuses_a_top_p_of_1_is_sent_smaller_ones_alone(peer):
    peer.script = lambda asked: completion(asked) if asked.body.get("top_p") != 1 else refusal(422, "top_p < 1!")
    assert found(peer) == ALL | {"takes_whole_top_p": False}
    asked = SampleRequest("p", 0, (), SamplingParams(top_p=0.9), 1, prompt_text="[]")
    for top_p, sent in ((0.9, {"top_p": 0.9}), (1.0, {})):
        fields = fields_of(peer.server(takes_whole_top_p=False), replace(asked, params=SamplingParams(top_p=top_p)))
        assert {name: fields[name] for name in fields if name == "top_p"} == sent


def test_a_server_that_counts_otherwise_is_asked_otherwise(peer):
    peer.script = without("max_tokens", "logprobs", "n")
    assert found(peer) == ALL | {"limit": "max_completion_tokens", "logprobs": False, "n": False}


def test_what_is_ignored_is_noticed(peer):
    def ignore(asked):
        body = {name: asked.body[name] for name in ("model", "messages", "seed")} | {"max_tokens": probing.TOKENS}
        asked.body = body
        return completion(asked, usage=None)

    peer.script = ignore
    wanted = {"n": False, "logprobs": False, "stop": "ignored", "length": None, "usage": False}
    assert found(peer) == ALL | wanted


def test_a_stop_string_that_stays_is_noticed(peer):
    peer.script = lambda asked: completion(asked, "a" if asked.body.pop("stop", None) else f"aab {asked.body['seed']}")
    assert found(peer)["stop"] == "stays"


@pytest.mark.parametrize(
    ("says", "error", "words"),
    [
        (refusal(400, "No."), ProbeFailed, "refuses this prompt: No. .400."),
        (refusal(500, "Ouch."), ProbeFailed, "Ouch. .500."),
        (refusal(404, "No such model."), SamplerUnusable, "No such model. .404."),
    ],
)
def test_a_server_that_answers_nothing_is_no_finding(peer, says, error, words):
    peer.script = lambda asked: says
    with pytest.raises(error, match=words):
        found(peer)


@contextmanager
def serving(folder, command, **environment):
    """A real server, from another project than the client: (the server, its process, its log)."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(
            [*command, "--host", "127.0.0.1", "--port", str(port)],
            env=os.environ | {"HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"} | environment,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        yield Server(f"http://127.0.0.1:{port}/v1", str(folder)), process, folder / "log"
    finally:
        # With the processes that it has started.
        os.killpg(process.pid, signal.SIGKILL)
        process.wait(10)


@pytest.fixture(scope="module")
def transformers_serve(tmp_path_factory):
    """`transformers serve` with a tiny policy."""
    folder = save_tiny(tmp_path_factory.mktemp("served"))
    # The server samples only where the checkpoint says so, whatever the request's temperature.
    path = folder / "generation_config.json"
    path.write_text(path.read_text().replace("{", '{"do_sample": true,', 1))
    command = [str(Path(sys.executable).with_name("transformers")), "serve", str(folder), "--device", "cpu"]
    with serving(folder, command) as served:
        yield served


@pytest.fixture(scope="module")
def vllm_serve(tmp_path_factory):
    """vLLM with a tiny policy, where there is one: of this Python, or of the one that VLLM_PYTHON names."""
    python = os.environ.get("VLLM_PYTHON") or (sys.executable if find_spec("vllm") else None)
    if not python:
        pytest.skip("needs vLLM, in this Python or in the one that VLLM_PYTHON names")
    # It knows no smaller heads.
    folder = save_tiny(tmp_path_factory.mktemp("served"), head_dim=64)
    command = [python, "-m", "vllm.entrypoints.openai.api_server", "--model", str(folder), "--dtype", "float32"]
    command += ["--max-model-len", str(MAX_MODEL_LEN), "--enforce-eager", "--generation-config", "vllm"]
    with serving(folder, command, VLLM_CPU_KVCACHE_SPACE="1", VLLM_NO_USAGE_STATS="1") as served:
        yield served


# It takes a while to load, which a client cannot tell from a server that is being started anew.
STARTING = Patience(seconds=300, tries=10_000, busy=300, pause=0.2, most_pause=0.2)


def asked(served, endpoint):
    """The server by one of its endpoints, and what the probe finds."""
    known, process, log = served
    server = Server(known.url, known.model, endpoint)
    findings = probe(server, patience=STARTING, on_stage=lambda _number: None)
    assert process.poll() is None, log.read_text()
    return server, findings


@pytest.mark.parametrize("endpoint", ["chat", "completions"])
def test_transformers_serve_is_asked_and_samples(transformers_serve, endpoint):
    server, findings = asked(transformers_serve, endpoint)
    # It ignores both without a word. Seeds are one for the whole process, so what others ask changes a text.
    assert (findings.n, findings.logprobs) == (False, False)
    assert (findings.takes_seed, findings.limit, findings.usage) == (True, "max_tokens", True)
    assert findings.length is not False
    assert findings.model.startswith(server.model)
    results = sample_all(OpenAISampler(server, concurrency=3, patience=STARTING), some(server))
    check(results)
    assert len({result.text for result in results.values()}) > 3


@pytest.mark.parametrize("endpoint", ["chat", "completions"])
def test_vllm_is_asked_and_repeats_its_samples(vllm_serve, endpoint):
    server, findings = asked(vllm_serve, endpoint)
    known = {"model": server.model, "fingerprint": findings.fingerprint, "context": MAX_MODEL_LEN}
    # A random policy may not come to write any of the stop strings.
    assert findings.stop in ("ends", None)
    assert asdict(findings) == ALL | known | {"stop": findings.stop}
    results = [sample_all(OpenAISampler(server, concurrency=most, patience=STARTING), some(server)) for most in (1, 9)]
    for each in results:
        check(each)
    assert [result.text for result in results[0].values()] == [results[1][key].text for key in results[0]]
    assert len({result.text for result in results[0].values()}) > 3


def some(server):
    return [
        SampleRequest(
            prompt_id=f"p{number}",
            k=k,
            prompt_ids=(),
            params=SamplingParams(max_new_tokens=12),
            seed=10 * number + k,
            prompt_text=prompt_text(server, [{"role": "user", "content": f"Prompt {number}"}]),
        )
        for number in range(3)
        for k in range(3)
    ]


def check(results):
    for result in results.values():
        assert (result.finish_reason, result.error) in (("stop", ""), ("length", ""))
        assert 1 <= result.token_count <= 12
        assert result.prompt_tokens > 5
