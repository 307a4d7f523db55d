"""From a campaign's mix to its slates, with real policies: what a prompt gets does not hang on when it was sampled."""

import threading

import pytest

from annotate.rankings import slate_supply
from annotate.rankings.models import Candidate
from annotate.rankings.rules import Share
from annotate.workflows.tasks import fill_campaigns
from models_worker import runner
from tests import factories as make
from tests.models_worker.runs import pool_of
from tests.models_worker.tiny import save_tiny

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    return [save_tiny(tmp_path_factory.mktemp(f"tiny{seed}"), seed=seed) for seed in range(2)]


@pytest.fixture(autouse=True)
def _alone(monkeypatch):
    monkeypatch.setattr("annotate.lib.wake._send", lambda task, ids: None)
    monkeypatch.setattr(runner, "stopping", threading.Event())


def slates(campaign):
    rows = Candidate.objects.filter(task__campaign=campaign).select_related("completion__prompt").order_by("id")
    found = {}
    for row in rows:
        made = row.completion
        found.setdefault(made.prompt.text, []).append((made.policy_id, made.parameters["temperature"], made.text))
    return found


def test_a_slate_is_the_same_however_it_was_come_by(folders, monkeypatch):
    one, two = (make.policy(location=str(folder)) for folder in folders)
    pool = pool_of(4)
    shares = [
        Share(policy_id=one.id, count=2, max_new_tokens=2, top_p=0.6),
        Share(policy_id=two.id, count=2, max_new_tokens=2, top_p=0.6),
        Share(policy_id=one.id, count=2, temperature=1.5, max_new_tokens=2, top_p=0.6),
    ]
    marks = {"renew": False, "cut_off_allowed": True, "seed": 5}
    at_once, bit_by_bit = (make.campaign("rankings", over=pool) for _ in range(2))
    slate_supply.save_mix(campaign=at_once, shares=shares, low=4, high=4, **marks)
    slate_supply.save_mix(campaign=bit_by_bit, shares=shares, low=1, high=1, **marks)
    for chunk in (16, 1, 1, 1, 1, 1):
        monkeypatch.setattr(runner, "CHUNK", chunk)
        fill_campaigns()
        runner.sample(0)
        fill_campaigns()
        # Somebody opens what is ready, and the next prompt is asked for.
        bit_by_bit.assignments.filter(state="open").update(state="cancelled")
    made, again = slates(at_once), slates(bit_by_bit)
    assert len(made) >= 2
    assert len(again) >= 2
    assert again.items() <= made.items()
    for slate in made.values():
        assert [(policy, heat) for policy, heat, _text in slate if policy == two.id] == [(two.id, 1.0)] * 2
        assert len({text for _policy, _heat, text in slate}) == len(slate)
