"""A manager asks what a server can do, and one worker at a time finds it out."""

from datetime import timedelta

import pytest
from django.db import IntegrityError, transaction

from annotate.samples import probes, requests
from annotate.samples.models import Policy, ServerProbe
from annotate.samples.states import ProbeState
from models_worker.engine import probe as engine
from tests import factories as make
from tests.samples.conftest import NOW

pytestmark = pytest.mark.django_db

LEASE = timedelta(minutes=10)


@pytest.fixture
def policy():
    return make.server_policy()


def claim(worker="w", *, now=NOW):
    return probes.claim(worker=worker, lease=LEASE, now=now)


def test_a_new_policy_of_a_server_is_probed_at_once(django_capture_on_commit_callbacks, monkeypatch):
    sent = []
    monkeypatch.setattr("annotate.lib.wake._send", lambda task, ids: sent.append((task, ids)))
    with django_capture_on_commit_callbacks(execute=True):
        made = make.server_policy()
    assert sent == [("models_worker.probe_server", (made.probe.id,))]
    assert (made.probe.state, made.reproducible) == (ProbeState.WAITING, None)


def test_what_was_found_says_whether_the_policy_is_reproducible(policy):
    probe = claim()
    probes.advance(probe=probe, stage=3, lease=LEASE, now=NOW)
    assert ServerProbe.objects.get().stage == 3
    assert probes.finish(probe=probe, findings={"seed": False}, now=NOW)
    policy = Policy.objects.get()
    assert (policy.probe.state, policy.probe.found_at, policy.reproducible) == (ProbeState.DONE, NOW, False)
    assert claim() is None


def test_asked_again_the_old_findings_stand_until_there_are_new_ones(policy):
    with pytest.raises(probes.ProbeUnderWay):
        probes.ask(policy=policy, now=NOW)
    probes.finish(probe=claim(), findings={"seed": True}, now=NOW)
    assert probes.ask(policy=policy, now=NOW).findings == {"seed": True}
    probes.fail(probe=claim(), error="The server is away.")
    probe = ServerProbe.objects.get()
    assert (probe.state, probe.error, probe.findings) == (ProbeState.FAILED, "The server is away.", {"seed": True})
    assert probes.ask(policy=policy, now=NOW).error == ""


def test_one_worker_at_a_time_and_the_next_when_it_died(policy):
    first = claim("first")
    assert claim("second") is None
    later = NOW + LEASE
    second = claim("second", now=later)
    assert (second.id, second.attempts) == (first.id, 2)
    assert not probes.finish(probe=first, findings={}, now=later)
    assert probes.finish(probe=second, findings={"seed": True}, now=later)


def test_a_worker_told_to_stop_gives_it_back_without_an_attempt(policy):
    probes.release(probe=claim())
    assert claim().attempts == 1


def test_a_probe_that_takes_workers_down_fails(policy):
    for number in range(requests.MAX_ATTEMPTS):
        assert claim(now=NOW + number * LEASE)
    assert claim(now=NOW + requests.MAX_ATTEMPTS * LEASE) is None
    assert ServerProbe.objects.get().error == str(probes.WORKER_STOPPED)


def test_only_a_server_can_be_probed():
    with pytest.raises(probes.NoServer):
        probes.ask(policy=make.policy(), now=NOW)


@pytest.mark.parametrize("fields", [{"served_model": ""}, {"endpoint": ""}, {"origin": "local"}])
def test_the_database_refuses_half_a_server(policy, fields):
    with pytest.raises(IntegrityError, match="policy_of_a_server"), transaction.atomic():
        Policy.objects.update(**fields)


def test_the_page_counts_as_many_stages_as_there_are():
    assert probes.STAGES == engine.STAGES
