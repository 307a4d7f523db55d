"""The demonstration data: complete, valid, and the same however often it is loaded."""

from io import StringIO

import pytest
from django.apps import apps
from django.core.management import CommandError, call_command
from django.test import Client

from annotate.accounts.models import Cohort, User
from annotate.guidelines.queries import current_version
from annotate.instructions.models import Brief
from annotate.pools.models import ImportJob
from annotate.samples.models import SampleRun
from annotate.samples.queries import current_policy
from annotate.studio.demo import load as demo
from annotate.work.models import Assignment, Campaign
from annotate.work.queries import campaigns_for
from annotate.workflows.table import WORKFLOWS

PASSWORDS = ("DEMO_LABELER_PASSWORD", "DEMO_REVIEWER_PASSWORD", "DEMO_MANAGER_PASSWORD")


@pytest.fixture
def environment(db, monkeypatch):
    for name in PASSWORDS:
        monkeypatch.setenv(name, f"secret of {name}")


def counts():
    return {model._meta.label: model.objects.count() for model in apps.get_models() if model._meta.managed}


@pytest.mark.django_db
def test_a_missing_password_is_asked_for_by_its_name(monkeypatch):
    for name in PASSWORDS:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("DEMO_LABELER_PASSWORD", "there")
    with pytest.raises(CommandError, match="DEMO_REVIEWER_PASSWORD, DEMO_MANAGER_PASSWORD"):
        call_command("load_demo")
    assert not User.objects.exists()


def test_twice_is_once(environment):
    call_command("load_demo")
    before = counts()
    call_command("load_demo")
    assert counts() == before


def test_everybody_can_log_in_with_their_roles_password(environment):
    call_command("load_demo")
    roles = {"labeler": "LABELER", "labeler2": "LABELER", "reviewer": "REVIEWER", "manager": "MANAGER"}
    for username, role in roles.items():
        assert Client().login(username=username, password=f"secret of DEMO_{role}_PASSWORD")
    assert User.objects.filter(cohort=Cohort.HELD_OUT).count() == 1


def test_a_labeler_has_work_at_once(environment):
    call_command("load_demo")
    labeler = User.objects.get(username="labeler")
    open_to = {campaign.workflow: campaign for campaign in campaigns_for(labeler)}
    assert set(open_to) == set(WORKFLOWS)
    for workflow in ("demonstrations", "instructions"):
        assert Assignment.objects.filter(campaign=open_to[workflow], state="open").count() > 10
    assert set(Brief.objects.values_list("kind", flat=True)) == {"plain", "few_shot", "user_based"}
    for campaign in Campaign.objects.all():
        assert current_version(campaign.guideline).number == 1


def test_a_small_run_of_the_current_policy_waits_for_a_worker(environment):
    call_command("load_demo")
    run = SampleRun.objects.get()
    assert run.policy == current_policy("sft")
    assert run.k >= Campaign.objects.get(workflow="rankings").rankingsettings.slate_min
    assert run.requests.count() == demo.PROMPTS_SAMPLED


def test_there_are_prompts_of_customers_and_of_labelers(environment):
    call_command("load_demo")
    prompts = Campaign.objects.get(workflow="demonstrations").pool.prompts
    assert set(prompts.values_list("source", flat=True)) == {"labeler", "customer"}
    assert prompts.filter(kind="few_shot").exists()


def test_without_its_prompts_it_loads_nothing(environment, monkeypatch, tmp_path):
    monkeypatch.setattr(demo, "PROMPTS", tmp_path / "prompts.jsonl")
    with pytest.raises(CommandError, match="missing"):
        call_command("load_demo")
    assert not User.objects.exists()


def test_none_of_its_prompts_is_refused(environment):
    call_command("load_demo")
    job = ImportJob.objects.get()
    assert (job.state, job.refused, job.ignored_fields) == ("done", 0, [])
    assert job.taken == len(demo.PROMPTS.read_text().splitlines())


def logins(**options):
    said = StringIO()
    call_command("demo_logins", stdout=said, **options)
    return said.getvalue().split()


def test_its_logins_are_known_until_somebody_sets_a_password_of_their_own(environment, tmp_path):
    call_command("load_demo", logins=tmp_path / "logins")
    everybody = ["labeler", "labeler-held-out", "labeler2", "manager", "reviewer"]
    assert sorted((tmp_path / "logins").read_text().split()) == everybody
    assert logins() == everybody
    manager = User.objects.get(username="manager")
    manager.set_password("a long enough passphrase")
    manager.save()
    assert logins() == ["labeler", "labeler-held-out", "labeler2", "reviewer"]
    call_command("load_demo", logins=tmp_path / "logins")
    assert (tmp_path / "logins").read_text() == ""


def test_its_logins_are_deactivated_with_their_sessions(environment):
    call_command("load_demo")
    client = Client()
    client.login(username="reviewer", password="secret of DEMO_REVIEWER_PASSWORD")
    assert len(logins(deactivate=True)) == 5
    assert logins() == []
    assert not User.objects.filter(is_active=True).exists()
    assert client.get("/studio/review/").url.startswith("/account/login/")


def test_logins_of_an_earlier_version_are_recognized_by_their_passwords(environment):
    call_command("load_demo")
    adopted = User.objects.get(username="manager")
    adopted.set_password("a long enough passphrase")
    adopted.save()
    User.objects.update(is_demo=False)
    assert logins() == []
    logins(recognize=True)
    assert logins() == ["labeler", "labeler-held-out", "labeler2", "reviewer"]
