"""The folder: its bytes, its manifest, and that training libraries load it."""

import hashlib
import json
import os
import random
from datetime import timedelta

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from annotate.pools.models import Kind, Source, Split
from annotate.samples.models import Policy
from exports import manifest
from exports.actions import FolderInUse
from exports.table import FILES
from tests import factories as make
from tests.exports import answers

# No network is asked, whatever a library thinks of it.
os.environ |= {"HF_HUB_OFFLINE": "1", "HF_DATASETS_OFFLINE": "1", "HF_HUB_DISABLE_TELEMETRY": "1"}


@pytest.fixture
def full(day):
    """Rows for every file, in both splits and from both sources."""
    shots = {"instruction": "Add.", "pairs": [{"query": q, "response": q} for q in "abc"]}
    for number, (split, source) in enumerate((split, source) for split in Split for source in Source):
        prompt = day.prompt(f"Prompt {number}: “naïve” 你好\u2028", split, source)
        answers.demonstration(day.demonstrations, prompt, day.labeler, f"Answer {number}\n\nwith lines")
        answers.ranking(
            day.slate(prompt, "ABCDE"), day.labeler, [1, 2, 2, 3, 4] if split == "train" else [1, 2, 3, 4, 5]
        )
    answers.few_shot(day.instructions, day.labeler, day.prompt("shots", kind=Kind.FEW_SHOT, shots=shots))
    return day


def test_two_exports_of_the_same_data_are_the_same_bytes(full, export):
    first, second = export("first").bytes, export("second", now=make.NOW + timedelta(days=1)).bytes
    for files in (first, second):
        described = json.loads(files.pop("manifest.json"))
        assert described.pop("created_at")
        files["manifest"] = json.dumps(described).encode()
    assert first == second


def test_the_bytes_do_not_follow_the_order_of_writing(full, export):
    before = export("before").bytes
    with connection.cursor() as cursor:
        # Rewritten rows stand elsewhere in the table: a query without an order would now find another one.
        for table in ("work_assignment", "demonstrations_demonstration", "rankings_placing", "rankings_ranking"):
            cursor.execute(f"SELECT id FROM {table}")
            ids = [row[0] for row in cursor.fetchall()]
            random.Random(3).shuffle(ids)
            for row in ids:
                cursor.execute(f"UPDATE {table} SET id = id WHERE id = %s", [row])
    assert export("after").bytes == before


def test_the_manifest_has_the_form_of_table_6(full, export):
    described = export().manifest
    prompts = {
        "train": {"sft_labeler": 4, "sft_customer": 1, "rm_labeler": 1, "rm_customer": 1, "ppo_customer": 1},
        "valid": {"sft_labeler": 1, "sft_customer": 1, "rm_labeler": 1, "rm_customer": 1, "ppo_customer": 1},
    }
    counts = {"rm_rankings": 2, "rm_identical_pairs": 0, "ppo_prompts": 1}
    examples = {
        "train": {"sft_examples": 5, "rm_pairs": 18, "rm_tied_pairs": 2, **counts},
        "valid": {"sft_examples": 2, "rm_pairs": 20, "rm_tied_pairs": 0, **counts},
    }
    for split in ("train", "valid"):
        assert described["prompts"][split].items() >= prompts[split].items()
        assert described["examples"][split].items() >= examples[split].items()
    assert described["campaigns"][0] == {
        "id": full.demonstrations.id,
        "name": "demonstrations of today",
        "workflow": "demonstrations",
        "pool": "everyday",
        "guideline": "helpfulness",
        "accepted_answers_by_guideline_version": {"1": 4},
    }
    assert described["schema_version"] == 3
    assert described["code_version"] == manifest.code_version()
    assert described["tie_rule"] == "dropped"


def test_several_answers_to_a_prompt_are_one_prompt(day, export):
    prompt = day.prompt("One.")
    for person in (day.labeler, make.user(), make.user()):
        answers.demonstration(day.demonstrations, prompt, person)
    described = export().manifest
    assert described["prompts"]["train"]["sft_labeler"] == 1
    assert described["examples"]["train"]["sft_examples"] == 3


def test_the_manifest_knows_every_file_by_its_bytes(full, export):
    written = export()
    described = json.loads((written.folder / "manifest.json").read_text())
    assert described == written.manifest
    assert sorted(manifest.file_names(described)) == sorted(written.bytes)
    for file in (*described["files"], described["card"]):
        content = written.bytes[file["name"]]
        assert (file["bytes"], file["sha256"]) == (len(content), hashlib.sha256(content).hexdigest())
    assert {file["name"]: file["rows"] for file in described["files"]} == {
        "sft_train.jsonl": 5, "sft_valid.jsonl": 2, "rm_train.jsonl": 2, "rm_valid.jsonl": 2,
        "rm_pairs_train.jsonl": 18, "rm_pairs_valid.jsonl": 20, "ppo_train.jsonl": 1, "ppo_valid.jsonl": 1,
    }  # fmt: skip


def test_no_line_names_a_person(day, export):
    acme = make.group("customer:acme corp")
    prompt = make.prompt(day.pool, "Hi.", in_group=acme, source=Source.CUSTOMER, source_user="Acme Corp")
    answers.demonstration(day.demonstrations, prompt, day.labeler)
    answers.ranking(day.slate(prompt, "ABCD"), day.labeler, [1, 2, 3, 4])
    written = b"".join(export().bytes.values()).lower()
    assert b"hi." in written
    for name in (b"acme", day.labeler.username.encode()):
        assert b'"' + name not in written


def load(*args, cache, **options):
    from datasets import disable_progress_bars, load_dataset

    disable_progress_bars()
    return load_dataset(*args, cache_dir=str(cache), **options)


def test_every_file_loads(full, export, tmp_path):
    written = export()
    declared = {file.name: file for file in FILES}
    for file in written.manifest["files"]:
        rows = load("json", data_files=str(written.folder / file["name"]), split="train", cache=tmp_path / "cache")
        assert len(rows) == file["rows"]
        kind = file["name"].rsplit("_", 1)[0]
        assert rows.column_names == [column.name for column in declared[kind].columns]
        assert rows[0]["prompt"][0]["role"] == "user"


def test_both_splits_of_a_file_load_together(full, export, tmp_path):
    """The training rankings have ties and the others none: no column's type may depend on that."""
    folder = export().folder
    for kind in ("sft", "rm", "rm_pairs", "ppo"):
        files = {split: str(folder / f"{kind}_{split}.jsonl") for split in Split}
        loaded = load("json", data_files=files, cache=tmp_path / "cache")
        assert loaded["train"].features == loaded["valid"].features


def test_the_folder_itself_loads_with_the_types_of_its_card(day, export, tmp_path):
    """A file of rankings without any pair still has pairs of indexes, and not pairs of nothing."""
    prompt = day.prompt("Name a colour.")
    answers.demonstration(day.demonstrations, prompt, day.labeler, "Blue.")
    answers.ranking(day.slate(prompt, "ABCD"), day.labeler, [1, 1, 1, 1])
    folder = export().folder
    sft = load(str(folder), "sft", split="train", cache=tmp_path / "cache")
    assert sft[0]["completion"] == [{"role": "assistant", "content": "Blue."}]
    rankings = load(str(folder), "rm", split="train", cache=tmp_path / "cache")
    assert rankings[0]["pairs"] == []
    assert rankings.features["pairs"].feature.keys() == {"chosen", "rejected"}
    with pytest.raises(ValueError, match="ppo"):
        load(str(folder), "ppo", cache=tmp_path / "cache")


def test_a_file_without_rows_is_not_written(day, export):
    answers.demonstration(day.demonstrations, day.prompt("Alone."), day.labeler)
    assert sorted(export().bytes) == ["README.md", "manifest.json", "sft_train.jsonl"]


def test_an_export_of_nothing_says_so(day, export):
    written = export()
    assert sorted(written.bytes) == ["README.md", "manifest.json"]
    assert written.manifest["files"] == []
    assert set(written.manifest["prompts"]["train"].values()) == {0}


def test_a_folder_with_an_export_is_kept_unless_forced(full, export):
    before = export().bytes
    answers.demonstration(full.demonstrations, full.prompt("One more."), full.labeler)
    with pytest.raises(FolderInUse, match="--force"):
        export()
    written = export(force=True)
    assert before != written.bytes
    assert len(written.lines("sft")) == 6
    assert list(written.folder.parent.glob(".*")) == []


def test_a_folder_with_anything_else_is_never_replaced(full, export, tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "thesis.tex").write_text("years of work")
    for force in (False, True):
        with pytest.raises(FolderInUse, match="no export wrote"):
            export(force=force)
    assert (tmp_path / "out" / "thesis.tex").read_text() == "years of work"


def test_a_file_or_a_link_is_no_folder(full, export, tmp_path):
    (tmp_path / "file").write_text("")
    (tmp_path / "link").symlink_to(tmp_path)
    for name in ("file", "link"):
        with pytest.raises(FolderInUse, match="not a folder"):
            export(name, force=True)


def test_an_empty_folder_is_taken(full, export, tmp_path):
    (tmp_path / "out").mkdir()
    assert "manifest.json" in export().bytes


def test_a_failure_leaves_the_earlier_export_and_nothing_half_written(full, export, tmp_path, monkeypatch):
    before = export().bytes

    def full_disk(*args, **options):
        raise OSError("No space left on device")

    monkeypatch.setattr(manifest, "survey", full_disk)
    with pytest.raises(OSError, match="No space"):
        export(force=True)
    monkeypatch.undo()
    assert [path.name for path in tmp_path.iterdir()] == ["out"]
    assert {path.name: path.read_bytes() for path in sorted((tmp_path / "out").iterdir())} == before


def test_the_cost_is_queries_per_chunk_not_per_row(day, export, monkeypatch):
    from exports.rows import rankings

    def queries_for(rows: int, name: str) -> int:
        for _ in range(rows):
            prompt = day.prompt(f"{Policy.objects.count()} {name}", source=Source.CUSTOMER)
            answers.demonstration(day.demonstrations, prompt, day.labeler)
            answers.ranking(day.slate(prompt, "ABCD"), day.labeler, [1, 2, 3, 4])
        with CaptureQueriesContext(
            connection,
        ) as asked:
            export(name)
        return len(asked)

    assert queries_for(1, "one") == queries_for(2, "three")
    monkeypatch.setattr(rankings, "CHUNK", 1)
    # One more query for the placings of each further chunk.
    assert queries_for(1, "chunks") == queries_for(0, "again")


def test_progress_counts_answers_and_prompts(full, export):
    from exports.queries import answers_and_prompts

    told = []
    export(on_progress=told.append)
    # 4 demonstrations, 1 instruction with 3 examples, 4 rankings, 2 customer prompts.
    assert max(told) == told[-1] == answers_and_prompts(full.campaigns) == 11
