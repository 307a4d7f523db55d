"""A worker finds out what a server can do, as it was asked to by a row."""

import threading

import pytest
from django.utils import timezone

from annotate.samples import tasks as sample_tasks
from annotate.samples.models import Policy
from models_worker import runner, servers, tasks
from models_worker.engine.probe import Findings
from tests import factories as make
from tests.models_worker.unreliable import HASTY, completion, refusal, unreliable_server

KEY = "sk-7f3a-very-secret"


@pytest.fixture(autouse=True)
def _hasty(monkeypatch):
    monkeypatch.setattr(runner, "stopping", threading.Event())
    monkeypatch.setattr(servers, "PROBING", HASTY)


@pytest.fixture
def peer():
    with unreliable_server() as server:
        yield server


@pytest.fixture
def policy(db, peer):
    return make.server_policy(peer.url)


def found(policy):
    policy = Policy.objects.select_related("probe").get(id=policy.id)
    return policy.probe.state, policy.probe.error, policy.probe.findings


def test_a_registered_server_is_probed_by_the_worker_that_is_woken(peer, policy):
    tasks.probe_server(policy.probe.id)
    state, error, findings = found(policy)
    assert (state, error) == ("done", "")
    assert findings.keys() == Findings.__annotations__.keys()
    assert (findings["seed"], findings["context"]) == (True, 512)
    peer.asked.clear()
    tasks.probe_server(policy.probe.id)
    assert peer.asked == []


def test_a_probe_that_fails_says_why(peer, policy):
    peer.script = lambda asked: refusal(404, "No model tiny.")
    runner.probe()
    state, error, findings = found(policy)
    assert (state, findings) == ("failed", {})
    assert error.endswith("No model tiny. (404)")


def test_a_worker_told_to_stop_gives_its_probe_back(peer, policy):
    def stop(asked):
        runner.stopping.set()
        return completion(asked)

    peer.script = stop
    runner.probe()
    assert found(policy) == ("waiting", "", {})


def test_a_lost_message_about_a_probe_is_made_up_for(policy, monkeypatch):
    sent = []
    monkeypatch.setattr(runner, "_announced", lambda: False)
    monkeypatch.setattr(runner, "wake", lambda task, *ids: sent.append((task, ids)))
    runner.sweep(now=timezone.now())
    assert sent == [(sample_tasks.PROBE, (policy.probe.id,))]
    runner.probe()
    runner.sweep(now=timezone.now())
    assert len(sent) == 1


def server_of(**fields):
    """The server of a policy that is in no database."""
    values = {"origin": "server", "location": "http://localhost:8000/v1", "served_model": "sft", "endpoint": "chat"}
    return servers.server_of(Policy(**values | fields))


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"location": "http://gpu1:8000/v1"}, "may not call gpu1:8000"),
        ({"location": "http://localhost.example:8000/v1"}, "may not call localhost.example:8000"),
        ({"key_name": "SERVER_KEY_NONE"}, "has no key SERVER_KEY_NONE"),
        ({"key_name": "SERVER_KEY_GONE"}, "file of the key SERVER_KEY_GONE cannot be read: FileNotFoundError"),
        ({"key_name": "SERVER_KEY_ODD"}, "characters that HTTP headers do not allow"),
        ({"key_name": "DATABASE_URL"}, "not the name of a server's key"),
    ],
)
def test_what_the_operator_did_not_allow_is_refused_in_words(monkeypatch, fields, words):
    monkeypatch.setenv("SERVER_KEY_GONE_FILE", "/no/such/file")
    monkeypatch.setenv("SERVER_KEY_ODD", "sk-\u00e4")
    with pytest.raises(servers.NotAllowed, match=words):
        server_of(**fields)


def test_a_key_stands_in_the_environment_or_in_a_file(monkeypatch, tmp_path):
    (tmp_path / "key").write_text(f"{KEY}\n")
    monkeypatch.setenv("SERVER_KEY_LAB_FILE", str(tmp_path / "key"))
    server = server_of(key_name="SERVER_KEY_LAB")
    assert (server.key, KEY in repr(server)) == (KEY, False)
    monkeypatch.setenv("SERVER_KEY_LAB", "sk-other")
    assert server_of(key_name="SERVER_KEY_LAB").key == "sk-other"


def test_a_host_is_allowed_with_or_without_its_port(settings):
    settings.SERVER_HOSTS = ["Models.Example:443", "gpu1"]
    assert server_of(location="https://models.example/v1").url == "https://models.example/v1"
    assert server_of(location="http://gpu1:8123/v1").url == "http://gpu1:8123/v1"
    with pytest.raises(servers.NotAllowed):
        server_of(location="https://models.example:8443/v1")


def test_a_base_model_is_sent_the_text_of_its_own_template_or_plain_text():
    assert server_of(endpoint="completions").template.name == "plain-v1"
    assert server_of(endpoint="completions", chat_template="plain-v1").template.name == "plain-v1"
    own = server_of(endpoint="completions", chat_template="{{ messages }}").template
    assert (own.name, own.source, own.stop) == ("policy", "{{ messages }}", ())
