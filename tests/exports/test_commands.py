"""manage.py export and manage.py agreement."""

import json
import os
import stat
from io import StringIO
from types import SimpleNamespace

import pytest
from django.core.management import CommandError, call_command

from annotate.demonstrations.workflow import DEMONSTRATIONS
from annotate.pools.models import Split
from annotate.work.states import State
from exports.agreement.queries import NO_AGREEMENT
from exports.queries import NoSuchCampaign, named_campaigns
from tests import factories as make
from tests.exports import answers


@pytest.fixture
def answered(day, monkeypatch):
    # The command's clock stands where the answers' did: none of them is submitted after the export began.
    monkeypatch.setattr("exports.management.commands.export.timezone", SimpleNamespace(now=lambda: make.NOW))
    prompt = day.prompt("Name a colour.")
    answers.demonstration(day.demonstrations, prompt, day.labeler)
    slate = day.slate(prompt, "ABCD")
    answers.ranking(slate, day.labeler, [1, 2, 3, 4])
    answers.ranking(slate, make.user(), [1, 2, 4, 3])
    return day


def called(name, *args) -> str:
    out = StringIO()
    call_command(name, *args, stdout=out)
    return out.getvalue()


@pytest.mark.parametrize("umask", [0o022, 0o000])
def test_an_export_is_for_its_owner_alone(answered, tmp_path, umask):
    before = os.umask(umask)
    try:
        tmp_path.chmod(0o755)
        called("export", "demonstrations of today", "--out", str(tmp_path / "of" / "today" / "files"))
    finally:
        os.umask(before)
    modes = {path: stat.S_IMODE(path.stat().st_mode) for path in [tmp_path, *tmp_path.rglob("*")]}
    folders = [tmp_path / "of", tmp_path / "of/today", tmp_path / "of/today/files"]
    assert folders[-1] / "manifest.json" in modes
    assert modes.pop(tmp_path) == 0o755, "a folder that was there keeps its mode"
    assert [modes.pop(folder) for folder in folders] == [0o700] * 3
    assert set(modes.values()) == {0o600}


def test_export_takes_names_and_ids_and_says_what_it_wrote(answered, tmp_path):
    out = tmp_path / "files"
    said = called("export", "demonstrations of today", str(answered.rankings.id), "--out", str(out))
    assert "train: sft_labeler 1, sft_customer 0, rm_labeler 1, rm_customer 0" in said
    assert f"{out / 'rm_pairs_train.jsonl'}: 12 rows" in said
    described = json.loads((out / "manifest.json").read_text())
    assert [campaign["name"] for campaign in described["campaigns"]] == ["demonstrations of today", "rankings of today"]


def test_a_campaign_named_twice_is_exported_once(answered, tmp_path):
    name = answered.demonstrations.name
    called("export", name, str(answered.demonstrations.id), "--out", str(tmp_path / "files"))
    assert len((tmp_path / "files" / "sft_train.jsonl").read_text().splitlines()) == 1


@pytest.mark.parametrize("name", ["nobody's", "999999999", "99999999999999999999999"])
def test_an_unknown_campaign_writes_nothing(answered, tmp_path, name):
    with pytest.raises(CommandError, match=name):
        called("export", answered.demonstrations.name, name, "--out", str(tmp_path / "files"))
    assert list(tmp_path.iterdir()) == []


def test_a_second_export_needs_force(answered, tmp_path):
    args = ("export", answered.demonstrations.name, "--out", str(tmp_path / "files"))
    called(*args)
    with pytest.raises(CommandError, match="--force"):
        called(*args)
    called(*args, "--force")


def test_a_leak_is_an_error_and_writes_nothing(answered, tmp_path):
    for split in Split:
        prompt = make.prompt(make.pool(), "The same.", in_group=make.group(split=split))
        answers.demonstration(answered.demonstrations, prompt, answered.labeler)
    with pytest.raises(CommandError, match="stopped"):
        called("export", answered.demonstrations.name, "--out", str(tmp_path / "files"))
    assert list(tmp_path.iterdir()) == []


def test_nothing_to_export_is_said(day, tmp_path):
    assert "Nothing to export" in called("export", day.demonstrations.name, "--out", str(tmp_path / "files"))


def test_agreement_in_words(answered):
    said = called("agreement", "rankings of today", "--ties", "strict")
    assert "tie rule strict" in said
    assert "All labelers: 1 shared prompts, 1 of them countable, 1 comparisons, 6 pairs, 0 of them with a tie," in said
    assert "6 in the rates; insufficient data under 20 countable prompts" in said
    assert "micro 83.3%, macro 83.3%, tau-b 0.667" in said


def test_agreement_in_json(answered):
    found = json.loads(called("agreement", str(answered.rankings.id), "--json"))
    assert found["tie_rule"] == "exclude"
    everybody = found["cuts"]["All labelers"]
    assert everybody["micro"] == {"value": pytest.approx(5 / 6), "low": None, "high": None}
    assert (everybody["prompts"], everybody["countable"], everybody["pairs"]) == (1, 1, 6)
    assert everybody["sufficient"] is False
    assert (found["answers"], found["nothing"]) == ("exported", "")
    assert found["labeler_pairs"][0]["first"] == f"labeler-{answered.labeler.id}"


def test_agreement_is_about_the_rankings_that_an_export_contains_unless_others_are_asked_for(answered):
    prompt = answered.prompt("Name a flower.")
    slate = answered.slate(prompt, "ABCD")
    for _ in range(2):
        answers.ranking(slate, make.user(cohort="held_out"), [1, 2, 3, 4])
        answers.ranking(slate, make.user(), [1, 2, 3, 4], state=State.SUBMITTED)

    def comparisons(*args):
        found = json.loads(called("agreement", "rankings of today", "--json", *args))
        return found["cuts"]["All labelers"]["comparisons"]

    assert comparisons() == comparisons("--answers", "exported") == 1
    assert comparisons("--answers", "held-out") == 1
    assert comparisons("--answers", "all") == 1 + 6


def test_agreement_of_a_campaign_of_another_kind_says_so(answered):
    with pytest.raises(CommandError) as refusal:
        called("agreement", "demonstrations of today")
    said = NO_AGREEMENT % {"name": "demonstrations of today", "workflow": DEMONSTRATIONS.label}
    assert said in str(refusal.value)


@pytest.mark.parametrize("state", ["draft", "open", "paused", "closed"])
@pytest.mark.parametrize("command", ["agreement", "export"])
def test_a_campaign_without_answers_is_found_and_says_what_is_the_matter(day, tmp_path, command, state):
    times = {"opened_at": None if state == "draft" else make.NOW, "closed_at": make.NOW if state == "closed" else None}
    campaign = make.campaign("rankings", over=day.pool, name="New rankings", state=state, **times)
    options = ["--out", str(tmp_path / "files")] if command == "export" else []
    for named in ("New rankings", str(campaign.id), "new RANKINGS", " New rankings "):
        said = called(command, named, *options)
        assert ("is a draft" if state == "draft" else "“New rankings” has no rankings yet.") in said
        options += ["--force"] if command == "export" else []


def test_an_answered_campaign_of_which_nothing_is_exported_says_why(day, tmp_path):
    answers.demonstration(day.demonstrations, day.prompt("One."), day.held_out)
    said = called("export", day.demonstrations.name, "--out", str(tmp_path / "files"))
    assert "“demonstrations of today” has answers, but none that is exported" in said


def test_a_name_that_is_a_number_comes_before_an_id(day):
    named = make.campaign("rankings", name=str(day.rankings.id))
    assert named_campaigns([str(day.rankings.id)]) == [named]
    assert named_campaigns(["rankings of today"]) == [day.rankings]


def test_a_name_that_is_spelt_otherwise_is_taken_where_it_is_the_only_one(day):
    assert named_campaigns([" Rankings of TODAY "]) == [day.rankings]
    assert named_campaigns(["Rankings  of\u00a0ｔｏｄａｙ"]) == [day.rankings]
    exact = make.campaign("rankings", name="Rankings of today ")
    assert named_campaigns(["rankings of today", "Rankings of today "]) == [day.rankings, exact]
    with pytest.raises(NoSuchCampaign, match=f"matches several campaigns: .*{exact.id}.*{day.rankings.id}"):
        named_campaigns(["RANKINGS OF TODAY"])


def test_an_unknown_name_is_told_the_campaigns_that_there_are(day):
    with pytest.raises(NoSuchCampaign, match=rf"no campaign “tomorrow”.*“rankings of today” \({day.rankings.id}\)"):
        named_campaigns(["tomorrow"])


def test_where_there_is_no_campaign_at_all_that_is_said(db):
    with pytest.raises(NoSuchCampaign, match="there are no campaigns yet"):
        named_campaigns(["1"])
