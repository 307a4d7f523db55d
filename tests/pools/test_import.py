"""A file of prompts into a pool, with a report of every line."""

import json
from datetime import timedelta
from itertools import count

import pytest
from django.db import IntegrityError, transaction

from annotate.accounts.models import Role
from annotate.celery import app
from annotate.pools import actions, queries, tasks
from annotate.pools.importers import jobs, prompts
from annotate.pools.importers.files import MAX_LINE_BYTES, BadFile
from annotate.pools.models import ImportChunk, ImportJob, ImportKind, ImportState, Kind, Prompt, Source
from tests import factories as make
from tests.pools.test_rules import SHOTS

NOW = make.NOW

pytestmark = pytest.mark.django_db


@pytest.fixture
def pool(db):
    return make.pool("Poems")


def start(pool, data, *, name="prompts.jsonl", now=NOW, **defaults):
    if isinstance(data, list):
        data = "".join(json.dumps(line) + "\n" for line in data)
    return actions.start_import(
        pool=pool,
        kind=ImportKind.PROMPTS,
        file_name=name,
        data=data if isinstance(data, bytes) else data.encode(),
        defaults=defaults,
        by=make.user(Role.MANAGER),
        now=now,
    )


def run(job, *, now=NOW):
    jobs.run(job_id=job.id, take=prompts.take, clock=lambda: now)
    job.refresh_from_db()
    return job


def load(pool, data, **fields):
    return run(start(pool, data, **fields))


def report(job):
    return {line.number: line.refusal for line in queries.import_lines(job)}


def imported(job):
    (line,) = queries.import_lines(job)
    assert line.refusal == ""
    return Prompt.objects.get(id=line.prompt_id)


def test_every_line_is_taken_or_refused_and_the_report_says_which(pool):
    job = load(pool, '{"prompt": "One"}\n\nnonsense\n{"prompt": "Two"}\n{"prompt": " "}\n{"prompt": "one"}')
    assert (job.state, job.taken, job.refused, job.lines_done, job.lines_total) == (ImportState.DONE, 3, 2, 6, 6)
    assert (job.finished_at, job.percent, job.error) == (NOW, 100, "")
    found = report(job)
    assert list(found) == [1, 3, 4, 5, 6]
    assert [number for number, refusal in found.items() if not refusal] == [1, 4, 6]
    assert found[3].startswith("This is not valid JSON")
    assert found[5].startswith("Message 1 is empty")
    assert [line.number for line in queries.import_lines(job, refused_only=True)] == [3, 5]
    assert sorted(Prompt.objects.values_list("text", flat=True)) == ["One", "Two", "one"]


def test_duplicates_name_the_prompt_they_equal_even_one_of_the_same_batch(pool):
    there = actions.add_prompt(
        pool=pool, draft=prompts.PromptDraft(messages=[{"role": "user", "content": "One"}]), now=NOW
    )
    job = load(pool, [{"prompt": "\r\nOne\n"}, {"prompt": "Two"}, {"prompt": "Two"}])
    first, second, third = queries.import_lines(job)
    assert first.refusal == str(actions.DuplicatePrompt(there))
    assert first.prompt == there
    assert second.refusal == ""
    assert third.refusal == str(actions.DuplicatePrompt(second.prompt))
    assert third.prompt == second.prompt
    assert (job.taken, job.refused) == (1, 2)


@pytest.mark.parametrize(
    ("texts", "groups"),
    [
        (
            ["What is 2⁵?", "What is 25?", "Is H₂O the same as H2O?", "How far is 1½ miles?", "How far is 11⁄2 miles?"],
            3,
        ),
        (
            [
                "Mend this:\nfor i in x:\n    if i:\n        a()\n    b()",
                "Mend this:\nfor i in x:\n    if i:\n        a()\n        b()",
                "Mend this:\nfor i in x:\n\tif i:\n\t\ta()\n\t\tb()",
            ],
            1,
        ),
        (["One", "One ", " One", "One\u00a0"], 1),
    ],
)
def test_prompts_that_differ_in_superscripts_or_white_space_are_all_taken(pool, texts, groups):
    job = load(pool, [{"prompt": text} for text in texts])
    assert (job.taken, job.refused) == (len(texts), 0)
    assert list(pool.prompts.order_by("id").values_list("text", flat=True)) == texts
    # They are alike, so a policy never learns from one of them and is validated on another.
    assert len(set(pool.prompts.values_list("group", flat=True))) == groups


def test_prompts_that_show_nothing_are_refused(pool):
    lines = ["", "   ", None, "\u200b", "\ufeff", "\u00ad", "\u3164"]
    job = load(pool, [{"prompt": text} for text in lines] + [{"messages": []}])
    assert (job.taken, job.refused) == (0, 8)


def test_a_file_imported_twice_adds_nothing_the_second_time(pool):
    lines = [{"prompt": f"Prompt {n}"} for n in range(5)]
    assert load(pool, lines).taken == 5
    again = load(pool, lines)
    assert (again.taken, again.refused) == (0, 5)
    assert Prompt.objects.count() == 5


CONVERSATION = [
    {"role": "user", "content": "hi"},
    {"role": "assistant", "content": "hello"},
    {"role": "user", "content": "bye"},
]


@pytest.mark.parametrize(
    ("line", "contents"),
    [
        ({"prompt": "Write."}, ["Write."]),
        ({"prompt": CONVERSATION}, ["hi", "hello", "bye"]),
        ({"messages": CONVERSATION}, ["hi", "hello", "bye"]),
        ({"messages": CONVERSATION, "system": "Be brief."}, ["Be brief.", "hi", "hello", "bye"]),
        ({"prompt": "Write.", "system": "Be brief."}, ["Be brief.", "Write."]),
        ({"prompt": "Write.", "system": ""}, ["Write."]),
        ({"instruction": "Translate.", "input": "Hund"}, ["Translate.\n\nHund"]),
        ({"instruction": "Translate.", "input": ""}, ["Translate."]),
        ({"instruction": "Translate."}, ["Translate."]),
        ({"instruction": "Translate.", "instances": [{"input": "Hund", "output": "dog"}]}, ["Translate.\n\nHund"]),
        ({"instruction": "Invent.", "instances": [{"input": "", "output": "x"}]}, ["Invent."]),
        ({"instruction": "Double.", "instances": [{"input": 0, "output": 0}]}, ["Double.\n\n0"]),
    ],
)
def test_a_prompt_is_written_in_one_of_several_ways(pool, line, contents):
    prompt = imported(load(pool, [line]))
    assert [message["content"] for message in prompt.messages] == contents
    assert prompt.kind == Kind.PLAIN
    assert prompt.shots is None


@pytest.mark.parametrize("kind", [{}, {"kind": "few_shot"}, {"kind": "Few-shot"}])
def test_pairs_make_a_few_shot_prompt_whatever_the_default_kind_is(pool, kind):
    prompt = imported(load(pool, [{"shots": SHOTS} | kind], kind=Kind.PLAIN))
    assert (prompt.kind, prompt.shots) == (Kind.FEW_SHOT, SHOTS)


def test_several_instances_are_a_natural_few_shot_prompt(pool):
    instances = [{"input": pair["query"], "output": pair["response"]} for pair in SHOTS["pairs"]]
    prompt = imported(load(pool, [{"instruction": SHOTS["instruction"], "instances": instances}]))
    assert (prompt.kind, prompt.shots) == (Kind.FEW_SHOT, SHOTS)


def test_every_column_can_be_said_by_the_line(pool):
    line = {
        "prompt": "Write.",
        "id": 17,
        "kind": "user_based",
        "source": "customer",
        "source_user": 42,
        "category": "Open QA",
        "language": "pt-BR",
        "license": "CC-BY",
    }
    prompt = imported(load(pool, [line]))
    assert (prompt.external_id, prompt.kind, prompt.source, prompt.source_user) == (
        "17",
        Kind.USER_BASED,
        Source.CUSTOMER,
        "42",
    )
    assert (prompt.category, prompt.language, prompt.licence) == ("open_qa", "pt-BR", "CC-BY")
    assert prompt.group.key == "customer:42"


@pytest.mark.parametrize(
    ("label", "code"),
    [("Rewrite", "rewriting"), ("extract", "extraction"), ("QA closed", "closed_qa"), ("Open-QA", "open_qa")],
)
def test_use_cases_may_be_named_as_in_the_paper(pool, label, code):
    assert imported(load(pool, [{"prompt": "Write.", "category": label}])).category == code


def test_defaults_fill_in_what_a_line_does_not_say(pool):
    chosen = {"source": "customer", "category": "chat", "language": "de", "licence": "CC0", "kind": "user_based"}
    job = load(pool, [{"prompt": "One"}, {"prompt": "Two", "source": "labeler", "language": "fr"}], **chosen)
    one, two = Prompt.objects.order_by("id")
    assert (one.source, one.category, one.language, one.licence, one.kind) == (
        "customer",
        "chat",
        "de",
        "CC0",
        "user_based",
    )
    assert (two.source, two.category, two.language) == ("labeler", "chat", "fr")
    assert job.defaults == chosen


def test_a_motivating_app_is_the_customer(pool):
    prompt = imported(load(pool, [{"instruction": "Write.", "motivation_app": "Grammarly"}], source=Source.LABELER))
    assert (prompt.source, prompt.source_user, prompt.group.key) == ("customer", "Grammarly", "customer:grammarly")


def test_inputs_of_one_instruction_stay_on_one_side(pool):
    load(pool, [{"instruction": "Translate.", "input": word} for word in ("Hund", "Katze", "Maus")])
    assert Prompt.objects.values("group").distinct().count() == 1


def test_fields_that_hold_no_text_are_left_out_and_told_once(pool):
    job = load(
        pool,
        [{"prompt": f"Prompt {n}", "score": n, "flags": ["7", True, ""]} for n in range(3)]
        + [{"prompt": "x", "note": 1}],
    )
    assert job.ignored_fields == ["flags", "note", "score"]
    assert job.taken == 4


@pytest.mark.parametrize(
    ("line", "sentence"),
    [
        ({"text": "hi"}, "Write it in a field messages, prompt or instruction."),
        ({"prompt": "a", "messages": []}, "a prompt in each of the fields messages, prompt."),
        ({"prompt": 7}, "The field prompt must be a text or a list of messages."),
        ({"messages": "hi"}, "The messages must be a list of objects"),
        ({"instruction": ["x"]}, "The field instruction must be a text or a whole number."),
        ({"instruction": "x", "instances": {"input": "a"}}, "The instances must be a list"),
        ({"instruction": "x", "instances": ["a", "b"]}, "The instances must be a list"),
        ({"instruction": "x", "instances": [{"output": "a"}, {"output": "b"}]}, "The query of pair 1 is empty"),
        ({"instruction": "x", "instances": [{"input": 1, "output": 2}] * 2}, "The query of pair 1 must be a text."),
        ({"messages": [{"role": "user", "content": 42}]}, "Message 1 must be a text."),
        ({"shots": [1, 2]}, "The shots must be an object"),
        ({"shots": SHOTS, "kind": "plain"}, "Only a few-shot prompt can have query/response pairs"),
        ({"prompt": "a", "source_user": {"name": "x"}}, "The field source_user must be a text or a whole number."),
        ({"prompt": "a", "id": True}, "The field id must be a text or a whole number."),
        ({"prompt": "a", "source": "web"}, "“web” is not a valid source"),
        ({"prompt": "a", "language": "German"}, "“German” is not a language tag"),
        (
            {"messages": [{"role": "system", "content": "x"}, *CONVERSATION], "system": "y"},
            "Message 2 is from the system",
        ),
    ],
)
def test_a_refusal_says_what_to_do(pool, line, sentence):
    job = load(pool, [line])
    assert (job.taken, job.refused) == (0, 1)
    (refusal,) = report(job).values()
    assert sentence in refusal


def test_csv_is_numbered_as_an_editor_numbers_its_lines(pool):
    job = load(pool, 'prompt,source_user\n"Two\nlines",acme\nOne line,acme\nOne line,acme\n', name="prompts.csv")
    assert (job.taken, job.refused, job.lines_done, job.lines_total) == (2, 1, 5, 5)
    assert {number: bool(refusal) for number, refusal in report(job).items()} == {2: False, 4: False, 5: True}


@pytest.mark.parametrize(
    ("name", "data", "sentence"),
    [
        ("a.jsonl", b"", "The file is empty"),
        ("a.jsonl", b"\n \n", "There is no line to import in this file."),
        ("a.csv", b"prompt\n", "There is no line to import in this file."),
        ("a.csv", b"prompt,prompt\nhi,x\n", "must name each column"),
        ("a.txt", b"hi", "Only JSONL and CSV files"),
        ("a.json", b'[{"prompt": "a"}]', "one JSON list"),
        ("a.jsonl", '{"prompt": "a"}\n{"prompt": "é"}\n'.encode("latin-1"), "Line 2 is not UTF-8 text."),
        ("a.jsonl", '{"prompt": "é'.encode()[:-1], "Line 1 is not UTF-8 text."),
        ("a.csv", "prompt\nhi\n".encode("utf-16"), "This file is UTF-16 text."),
        ("a.csv", "prompt\nhi\n".encode("utf-16-le"), "This file is UTF-16 text."),
    ],
)
def test_a_file_that_cannot_be_read_is_refused_before_it_is_a_job(pool, name, data, sentence):
    with pytest.raises(BadFile) as refusal, transaction.atomic():
        start(pool, data, name=name)
    assert sentence in str(refusal.value)
    assert not ImportJob.objects.exists()
    assert not ImportChunk.objects.exists()


def test_a_file_larger_than_allowed_is_refused(pool, settings):
    settings.IMPORT_MAX_BYTES = 2 * 1024 * 1024
    start(pool, b'{"prompt": "a"}\n' + b" " * (2 * 1024 * 1024 - 16))
    with pytest.raises(BadFile, match="larger than 2 MB"), transaction.atomic():
        start(pool, b'{"prompt": "a"}\n' + b" " * (2 * 1024 * 1024 - 15))


def test_defaults_are_checked_before_the_file_is_taken(pool):
    with pytest.raises(BadFile, match="“Klingon” is not a language tag"):
        start(pool, [{"prompt": "a"}], language="Klingon")


def test_long_lines_are_read_across_the_pieces_they_are_stored_in(pool, monkeypatch):
    monkeypatch.setattr("annotate.pools.importers.files.CHUNK", 10)
    job = start(pool, [{"prompt": "Ein Gedicht über Käse, größer als ein Stück."}, {"prompt": "Two"}])
    assert job.chunks.count() > 5
    assert run(job).taken == 2
    assert Prompt.objects.filter(text="Ein Gedicht über Käse, größer als ein Stück.").exists()
    assert not ImportChunk.objects.exists()


def test_a_file_object_is_read_piece_by_piece(pool, tmp_path):
    path = tmp_path / "prompts.jsonl"
    path.write_text('{"prompt": "One"}\n')
    with path.open("rb") as file:
        job = actions.start_import(
            pool=pool, kind=ImportKind.PROMPTS, file_name=path.name, data=file, defaults={}, by=None, now=NOW
        )
    assert run(job).taken == 1


def test_starting_wakes_the_worker_of_that_kind_once_the_row_is_there(pool, sent, django_capture_on_commit_callbacks):
    with django_capture_on_commit_callbacks(execute=True):
        job = start(pool, [{"prompt": "a"}])
        assert sent == []
    assert sent == [("pools.run_import", (job.id,))]


def test_the_sweep_finds_what_nobody_works_on(pool, sent, django_capture_on_commit_callbacks):
    waiting, dead, busy, done = (start(pool, [{"prompt": f"{n}"}]) for n in range(4))
    completions = ImportJob.objects.create(pool=pool, kind=ImportKind.COMPLETIONS, file_name="c.jsonl", created_at=NOW)
    jobs.claim(job_id=dead.id, now=NOW - jobs.LEASE - timedelta(seconds=1))
    jobs.claim(job_id=busy.id, now=NOW)
    run(done)
    with django_capture_on_commit_callbacks(execute=True):
        assert actions.sweep_imports(now=NOW) == 3
    assert sent == [
        ("pools.run_import", (waiting.id,)),
        ("pools.run_import", (dead.id,)),
        ("samples.run_completion_import", (completions.id,)),
    ]


@pytest.fixture
def sent(monkeypatch):
    """What was sent to the broker."""
    sent = []
    monkeypatch.setattr("annotate.lib.wake.app.send_task", lambda task, args, **_options: sent.append((task, args)))
    return sent


def test_the_tasks_import_what_waits(pool, sent, django_capture_on_commit_callbacks):
    with django_capture_on_commit_callbacks(execute=True):
        job = start(pool, [{"prompt": "a"}])
        tasks.sweep()
    assert sent == [("pools.run_import", (job.id,))] * 2
    tasks.run_import(job.id)
    job.refresh_from_db()
    assert (job.state, job.taken) == (ImportState.DONE, 1)


def test_every_kind_of_import_has_a_task_of_the_name_that_is_sent():
    app.loader.import_default_modules()
    assert set(jobs.TASKS) == set(ImportKind)
    assert app.tasks.keys() >= {*jobs.TASKS.values(), "pools.sweep"}


def test_an_error_in_the_program_fails_the_job_and_tells_where(pool, monkeypatch):
    monkeypatch.setattr(jobs, "BATCH_LINES", 2)
    job = start(pool, [{"prompt": f"Prompt {n}"} for n in range(5)])
    batches = count(1)

    def take(job, batch, now):
        if next(batches) == 2:
            raise ZeroDivisionError
        return prompts.take(job, batch, now)

    with pytest.raises(ZeroDivisionError):
        jobs.run(job_id=job.id, take=take, clock=lambda: NOW)
    job.refresh_from_db()
    assert (job.state, job.taken, job.lines_done, job.finished_at) == (ImportState.FAILED, 2, 2, NOW)
    assert "after line 2" in job.error
    assert run(job).state == ImportState.FAILED


def test_the_database_refuses_a_state_that_its_columns_contradict(pool):
    job = start(pool, [{"prompt": "a"}])
    for change in ({"state": ImportState.RUNNING}, {"state": ImportState.DONE}, {"leased_until": NOW}):
        with pytest.raises(IntegrityError, match="importjob_state_and_columns_agree"), transaction.atomic():
            ImportJob.objects.filter(id=job.id).update(**change)
    with pytest.raises(IntegrityError, match="importjob_state_"), transaction.atomic():
        ImportJob.objects.filter(id=job.id).update(state="lost")


@pytest.mark.parametrize("lines", [10, 200])
def test_a_batch_costs_the_same_queries_however_long_it_is(pool, lines, django_assert_num_queries):
    job = start(pool, [{"prompt": f"Prompt {n}", "source_user": f"u{n}"} for n in range(lines)])
    # Savepoints count: claim 4, file 2, batch 14, end 5, and the test's own reading of the row.
    with django_assert_num_queries(28):
        assert run(job).taken == lines


@pytest.mark.parametrize("after", ["", "\n", '\n{"prompt": "And another."}\n'])
def test_a_line_without_end_is_refused_with_its_number_before_it_is_read(pool, after):
    endless = '{"prompt": "One."}\n{"prompt": "' + "a" * MAX_LINE_BYTES + '"}'
    with pytest.raises(BadFile, match="Line 2 is longer than 10 MB"):
        start(pool, endless + after)
    assert not ImportJob.objects.exists()


def test_a_large_file_of_lines_is_taken(pool):
    lines = 6 * [json.dumps({"prompt": "One.", "note": 800_000 * [1]}) + "\n"]
    assert load(pool, "".join(lines)).refused == 5


def test_names_that_are_data_do_not_fill_the_report(pool):
    job = load(pool, [{"prompt": f"One {i}."} | {f"{i} {j} {'n' * 300}": 1 for j in range(60)} for i in range(3)])
    assert (job.taken, len(job.ignored_fields)) == (3, 50)
    assert max(map(len, job.ignored_fields)) == 100


@pytest.mark.parametrize(("said", "priority"), [(7, 7), ("-1000", -1000), (" +3 ", 3)])
def test_a_line_may_say_its_priority(pool, said, priority):
    assert imported(load(pool, [{"prompt": "Write.", "priority": said}])).priority == priority


@pytest.mark.parametrize(
    ("said", "refusal"),
    [(1001, "The priority is 1001."), ("-2000", "The priority is -2000.")]
    + [(odd, "not a whole number") for odd in ("high", 1.5, True, [1], "٣", "9" * 5000)],
)
def test_a_priority_that_is_none_is_refused_with_its_line(pool, said, refusal):
    job = load(pool, [{"prompt": "One", "priority": said}, {"prompt": "Two"}])
    assert refusal in report(job)[1]
    assert (job.taken, job.refused) == (1, 1)


def test_the_report_counts_customers_prompts_of_which_nobody_said_whose_they_are(pool):
    lines = [{"prompt": "One"}, {"prompt": "Two", "source_user": "Acme"}, {"prompt": "Three", "source": "labeler"}]
    assert load(pool, lines, source="customer").nobodys == 1
    assert load(pool, lines, source="customer").nobodys == 0
