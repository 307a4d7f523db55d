"""manage.py import_prompts POOL FILE"""

import json

import pytest
from django.core.management import CommandError, call_command

from annotate.pools.actions import DuplicatePrompt
from annotate.pools.models import ImportJob, ImportState, Pool, Prompt, Source, Split
from tests import factories as make
from tests.pools.test_add_prompt import add, customer_of

pytestmark = pytest.mark.django_db


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "prompts.jsonl"
    lines = [{"prompt": "One", "score": 1}, {"prompt": ""}, {"prompt": "Two"}, {"prompt": "One"}]
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return path


def test_it_prints_what_was_taken_and_every_refusal(file, capsys):
    pool = make.pool("Poems")
    call_command("import_prompts", "Poems", str(file), "--source", "customer", "--licence", "CC0")
    printed = capsys.readouterr()
    first = Prompt.objects.get(text="One")
    assert printed.out.splitlines() == [
        "line 2: Message 1 is empty. Enter a text.",
        f"line 4: {DuplicatePrompt(first)}",
        "Fields left out: score",
        "2 of customers without a source_user. They may be on both sides of the split.",
        "2 taken, 2 refused.",
    ]
    assert printed.err == "4 of 4 lines\n"
    assert (first.pool, first.source, first.licence) == (pool, "customer", "CC0")
    job = ImportJob.objects.get()
    assert (job.state, job.created_by) == (ImportState.DONE, None)


def test_it_prints_what_went_into_quarantine(tmp_path, capsys):
    """The first line is in use on the other side of the split; the file says nothing else about it."""
    used, other = customer_of(Split.TRAIN), customer_of(Split.VALID)
    add(make.pool(), "Same.", source=Source.CUSTOMER, source_user=used)
    path = tmp_path / "prompts.jsonl"
    path.write_text("".join(json.dumps({"prompt": text, "source_user": other}) + "\n" for text in ("Same.", "Mine.")))
    call_command("import_prompts", "Poems", str(path), "--create", "--source", "customer")
    assert capsys.readouterr().out.splitlines() == [
        "line 1: in quarantine. An equal prompt is on the other side of the split",
        "1 in quarantine. Decide about them on the page of the pool.",
        "2 taken, 0 refused.",
    ]


def test_a_pool_is_made_only_when_asked(file):
    with pytest.raises(CommandError, match=r"There is no pool “Poems”\. Add --create"):
        call_command("import_prompts", "Poems", str(file))
    assert not Pool.objects.exists()
    call_command("import_prompts", "Poems", str(file), "--create")
    assert Pool.objects.get().prompts.count() == 2


def test_nothing_taken_is_an_error(file):
    call_command("import_prompts", "Poems", str(file), "--create")
    with pytest.raises(CommandError, match="Nothing was taken"):
        call_command("import_prompts", "Poems", str(file))


@pytest.mark.parametrize(
    ("name", "data", "sentence"),
    [("none.jsonl", None, "No such file"), ("a.txt", "hi", "JSONL and CSV"), ("a.jsonl", "", "The file is empty")],
)
def test_a_file_that_cannot_be_read_leaves_neither_job_nor_pool(tmp_path, name, data, sentence):
    if data is not None:
        (tmp_path / name).write_text(data)
    with pytest.raises(CommandError, match=sentence):
        call_command("import_prompts", "Poems", str(tmp_path / name), "--create")
    assert not ImportJob.objects.exists()
    assert not Pool.objects.exists()


def test_nothing_is_stored_before_the_fields_that_hold_text_are_named(tmp_path, capsys):
    path = tmp_path / "prompts.jsonl"
    path.write_text('{"prompt": "One", "my note": "Guten Tag", "-x": "Hallo", "score": 1}\n{"prompt": "Two"}\n')
    with pytest.raises(CommandError, match="Nothing was imported") as refusal:
        call_command("import_prompts", "Poems", str(path), "--create")
    assert "my note (1 lines), such as: Guten Tag" in str(refusal.value)
    assert "add: --ignore='my note' --ignore=-x" in str(refusal.value)
    assert refusal.value.returncode == 2
    assert not ImportJob.objects.exists()
    assert not Pool.objects.exists()
    call_command("import_prompts", "Poems", str(path), "--create", "--ignore", "my note", "--ignore=-x")
    assert "Fields left out: -x, my note, score" in capsys.readouterr().out
    assert ImportJob.objects.get().ignore == ["-x", "my note"]
