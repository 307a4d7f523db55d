"""manage.py export and manage.py agreement."""

import json
import os
import stat
from io import StringIO
from types import SimpleNamespace

import pytest
from django.core.management import CommandError, call_command

from annotate.pools.models import Split
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
        called("export", "demonstrations of today", "--out", str(tmp_path / "files"))
    finally:
        os.umask(before)
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in (tmp_path / "files").iterdir()}
    assert "manifest.json" in modes
    assert set(modes.values()) == {0o600}
    assert stat.S_IMODE((tmp_path / "files").stat().st_mode) == 0o700


def test_export_takes_names_and_ids_and_says_what_it_wrote(answered, tmp_path):
    out = tmp_path / "files"
    said = called("export", "demonstrations of today", str(answered.rankings.id), "--out", str(out))
    assert "train: sft_labeler 1, sft_customer 0, rm_labeler 1, rm_customer 0, ppo_customer 0 (prompts)" in said
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
    assert "All labelers: 1 shared prompts, 1 comparisons, 6 pairs, 0 of them with a tie, 6 in the rates; ins" in said
    assert "micro 83.3%, macro 83.3%, tau-b 0.667" in said


def test_agreement_in_json(answered):
    found = json.loads(called("agreement", str(answered.rankings.id), "--json"))
    assert found["tie_rule"] == "exclude"
    everybody = found["cuts"]["All labelers"]
    assert everybody["micro"] == {"value": pytest.approx(5 / 6), "low": None, "high": None}
    assert (everybody["prompts"], everybody["pairs"], everybody["sufficient"]) == (1, 6, False)
    assert found["labeler_pairs"][0]["first"] == f"labeler-{answered.labeler.id}"


def test_agreement_knows_ranking_campaigns_only(answered):
    with pytest.raises(CommandError, match="demonstrations of today"):
        called("agreement", "demonstrations of today")
