"""Completions made elsewhere, beside the prompts they answer."""

import json
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import pytest
from django.core.management import CommandError, call_command
from django.db import connection
from django.utils import timezone

from annotate.lib.text import is_blank
from annotate.pools import actions, queries
from annotate.pools.importers import jobs
from annotate.pools.importers.fields import BadField
from annotate.pools.models import ImportJob, ImportKind, ImportState, Prompt
from annotate.pools.rules import PromptDraft
from annotate.samples import importers, tasks
from annotate.samples.models import Completion, FinishReason, Origin, Policy, Stage
from tests import factories as make
from tests.shared import SHARED, needs_shared

NOW = make.NOW
DATA = SHARED / "data" / "self_instruct"


@pytest.fixture
def pool(db):
    pool = make.pool("Poems")
    for number in range(3):
        message = {"role": "user", "content": f"Write poem {number}."}
        actions.add_prompt(pool=pool, draft=PromptDraft(messages=[message], external_id=f"p{number}"), now=NOW)
    return pool


def store(pool, lines, **defaults):
    return jobs.store(
        pool=pool,
        kind=ImportKind.COMPLETIONS,
        file_name="completions.jsonl",
        data="".join(json.dumps(line) + "\n" for line in lines).encode(),
        defaults=defaults,
        by=None,
        now=NOW,
    )


def load(pool, lines, **defaults):
    job = store(pool, lines, **defaults)
    jobs.run(job_id=job.id, take=importers.take, clock=lambda: NOW)
    job.refresh_from_db()
    return job


def refusals(job):
    return [line.refusal for line in queries.import_lines(job)]


def line(**fields):
    return {"id": "p0", "response": "Roses are red.", "model": "davinci"} | fields


def test_a_completion_is_kept_with_the_name_of_its_model(pool):
    job = load(
        pool, [line(response="\n\n Roses\r\n are red. ", temperature=0.7, max_tokens=64, stop=["\n\n"], top_p=None)]
    )
    assert (job.state, job.taken, job.refused, job.ignored_fields) == (ImportState.DONE, 1, 0, [])
    completion = Completion.objects.select_related("prompt", "policy").get()
    assert completion.prompt.external_id == "p0"
    assert completion.text == "\n\n Roses\r\n are red. "
    assert completion.parameters == {"temperature": 0.7, "max_tokens": 64, "stop": ["\n\n"]}
    assert (completion.run, completion.k, completion.seed, completion.token_count) == (None, None, None, None)
    assert completion.finish_reason == FinishReason.IMPORTED
    policy = completion.policy
    assert (policy.name, policy.revision, policy.origin, policy.stage, policy.location) == (
        "davinci",
        "imported",
        Origin.IMPORTED,
        Stage.BASE,
        "",
    )
    assert completion.policy_revision == "imported"


def test_a_model_is_one_policy_however_often_it_is_met(pool):
    load(pool, [line(id=f"p{n}") for n in range(3)] + [line(model="curie")])
    load(pool, [line(response="Violets are blue.")])
    assert sorted(Policy.objects.values_list("name", flat=True)) == ["curie", "davinci"]
    assert Completion.objects.count() == 5


@pytest.mark.parametrize(
    "fields",
    [
        {"id": "p1"},
        {"prompt_id": "p1"},
        {"prompt": "\r\nWrite poem 1.\n"},
        {"prompt": [{"role": "user", "content": "Write poem 1."}]},
        {"messages": [{"role": "user", "content": "Write poem 1."}]},
        {"id": "unknown", "prompt": "Write poem 1."},
        # The prompt as it stood in somebody's template: its id counts.
        {"id": "p1", "prompt": "### Write poem 1.\n\nOutput:"},
        {"id": "p1", "prompt": ""},
    ],
)
def test_the_prompt_is_named_by_its_id_or_by_its_text(pool, fields):
    job = load(pool, [{"completion": "Roses.", "model": "davinci"} | fields])
    assert refusals(job) == [""]
    prompt = Completion.objects.get().prompt
    assert prompt.external_id == "p1"
    assert queries.import_lines(job).get().prompt == prompt


@pytest.mark.parametrize("field", ["response", "completion", "text"])
def test_the_completion_has_one_of_three_names(pool, field):
    load(pool, [{"id": "p0", "model": "davinci", field: "Roses."}])
    assert Completion.objects.get().text == "Roses."


def test_the_model_may_be_chosen_for_the_whole_file(pool):
    load(pool, [{"id": "p0", "response": "Roses."}, line(id="p1")], model="curie")
    assert sorted(Completion.objects.values_list("policy__name", flat=True)) == ["curie", "davinci"]


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        ({"response": None}, "There is no completion. Add a field response, completion or text."),
        ({"response": ["a", "b"]}, "The completion is a list. Write one line"),
        (
            {"response": [{"role": "assistant", "content": "Chat"}]},
            "The completion is a list. Write one line",
        ),
        ({"response": {"text": "a"}}, "The completion is an object. Write only its text."),
        ({"response": 7}, "The completion is not a text. Write it in quotation marks"),
        ({"response": False}, "The completion is not a text. Write it in quotation marks"),
        ({"response": "x" * 200_001}, "The completion is longer than 200000 characters."),
        ({"model": None}, "There is no model"),
        ({"model": " "}, "There is no model"),
        ({"model": ["x"]}, "The model must be a text"),
        ({"model": {"name": "x"}}, "The model must be a text"),
        ({"id": ["p0"]}, "The field id must be a text or a whole number."),
        ({"model": "x" * 121}, "The name of the model is longer than 120 characters."),
        ({"id": "p9"}, "No prompt of this pool has the id “p9”. Import the prompts first."),
        ({"id": None}, "The line names no prompt. Add a field id or prompt."),
        ({"id": True}, "The field id must be a text or a whole number."),
        ({"id": {"$oid": "5f"}}, "The field id must be a text or a whole number."),
        ({"id": "p0", "prompt_id": "p1"}, "The fields id, prompt_id say different things"),
        ({"completion": "Violets."}, "The fields response, completion say different things"),
        ({"response": "\ud83d"}, "The field response holds something that cannot be stored"),
        ({"temperature": float("nan")}, "The field temperature holds something that cannot be stored"),
        ({"stop": ["\x00"]}, "The field stop holds something that cannot be stored"),
        ({"id": "\x00"}, "The field id holds something that cannot be stored"),
        ({"id": None, "prompt": "Write poem 9."}, "The prompt is not in this pool. Import the prompts first."),
    ],
)
def test_a_refusal_says_what_to_do(pool, fields, sentence):
    job = load(pool, [line(**fields)])
    (refusal,) = refusals(job)
    assert sentence in refusal
    assert not Completion.objects.exists()
    assert not Policy.objects.exists()


def test_an_id_that_several_prompts_share_needs_the_text_too(pool):
    twin = make.prompt(pool, "Another poem 0.", external_id="p0")
    job = load(pool, [line(), line(prompt="Write poem 0.")])
    assert refusals(job) == ["Several prompts of this pool have the id “p0”. Add the prompt's text.", ""]
    assert Completion.objects.get().prompt != twin


def test_an_id_and_a_text_of_two_prompts_are_a_contradiction(pool):
    prompt = pool.prompts.get(external_id="p1").text
    job = load(pool, [line(prompt=prompt), line(id="p1", prompt=prompt), line(prompt="Human: as in a template")])
    assert ["belongs to another prompt" in refusal for refusal in refusals(job)] == [True, False, False]


def test_a_prompt_is_quoted_in_parts_as_it_may_be_imported(pool):
    parts = [{"type": "text", "text": text} for text in pool.prompts.get(external_id="p1").text.split("\n")]
    job = load(pool, [line(id=None, prompt=[{"role": "user", "content": parts}])])
    assert refusals(job) == [""]


def test_prompts_of_other_pools_are_not_answered(pool):
    other = make.prompt(make.pool(), "Elsewhere.", external_id="x1")
    job = load(pool, [line(id="x1"), line(id=None, prompt=other.text)])
    assert (job.taken, job.refused) == (0, 2)


def test_the_same_completion_by_the_same_model_is_stored_once(pool):
    first = load(pool, [line(), line(response="\nRoses are red.\r\n"), line(model="curie"), line(id="p1")])
    duplicate = "The prompt already has this completion by this model."
    assert refusals(first) == ["", duplicate, "", ""]
    assert refusals(load(pool, [line()])) == [duplicate]
    assert Completion.objects.count() == 3


def test_a_policy_that_is_sampled_here_gets_no_foreign_completions(pool):
    make.policy("davinci", revision="imported")
    job = load(pool, [line()])
    assert refusals(job) == ["“davinci · imported” is sampled here. Give the imported model another name."]
    assert not Completion.objects.exists()


def test_unknown_fields_are_told_once(pool):
    job = load(pool, [line(judge=1), line(id="p1", judge=2), line(id="nobody", note=3)])
    assert job.ignored_fields == ["judge", "note"]


def test_nothing_is_taken_before_somebody_decided_about_text_that_would_be_dropped(pool):
    job = store(pool, [line(), line(id="p1", critique="Too short.")])
    tasks.run_completion_import(job.id)
    job.refresh_from_db()
    assert (job.state, [loss["name"] for loss in job.losses]) == (ImportState.ASKING, ["critique"])
    jobs.run(job_id=job.id, take=importers.take, clock=lambda: NOW)
    assert not Completion.objects.exists()
    actions.drop_fields(job=job)
    tasks.run_completion_import(job.id)
    job.refresh_from_db()
    assert (job.state, job.taken, job.ignored_fields) == (ImportState.DONE, 2, ["critique"])


def test_a_line_with_text_that_nobody_decided_about_is_refused(pool):
    job = load(pool, [line(critique="Too short."), line(id="p1")])
    assert sorted(refusals(job)) == ["", "Nobody decided to leave out the fields critique, which hold text."]


@pytest.mark.parametrize("field", [{"logprob": float("nan")}, {"raw": ["\ud83d", 1]}, {"a\x00b": 1}])
def test_a_field_that_is_not_stored_decides_nothing(pool, field):
    job = store(pool, [line(**field)])
    tasks.run_completion_import(job.id)
    job.refresh_from_db()
    if job.state == ImportState.ASKING:
        actions.drop_fields(job=job)
        tasks.run_completion_import(job.id)
    assert Completion.objects.count() == 1


@pytest.mark.parametrize(
    ("stored", "given"), [("7", 7.0), ("7", 7), ("7", " 7 "), ("caf\u00e9", "cafe\u0301"), ("0", 0)]
)
def test_an_id_is_one_whether_it_is_a_number_or_a_text(pool, stored, given):
    prompt = make.prompt(pool, external_id=stored)
    load(pool, [line(id=given)])
    assert Completion.objects.get().prompt == prompt


@pytest.mark.django_db(transaction=True)
def test_two_files_with_the_same_completions_at_once_store_each_once():
    pool = make.pool()
    for number in range(20):
        make.prompt(pool, external_id=f"p{number}")
    lines = [line(id=f"p{n}", model=f"m{n % 3}") for n in range(20)]
    both, together = [store(pool, lines), store(pool, lines[::-1])], Barrier(2)

    def worker(job):
        try:
            together.wait()
            jobs.run(job_id=job.id, take=importers.take, clock=timezone.now)
        finally:
            connection.close()

    with ThreadPoolExecutor(2) as workers:
        list(workers.map(worker, both))
    assert {job.state for job in ImportJob.objects.all()} == {ImportState.DONE}
    assert sum(job.taken for job in ImportJob.objects.all()) == 20
    assert Completion.objects.count() == 20


def test_the_task_imports_the_job_that_its_message_names(pool):
    job = store(pool, [line()])
    tasks.run_completion_import(job.id)
    job.refresh_from_db()
    assert (job.state, job.taken) == (ImportState.DONE, 1)


def test_the_command_prints_what_was_refused(pool, tmp_path, capsys):
    path = tmp_path / "davinci.jsonl"
    path.write_text('{"id": "p0", "response": "Roses."}\n{"id": "p1", "response": []}\n')
    call_command("import_completions", "Poems", str(path), "--model", "davinci")
    refused, counts = capsys.readouterr().out.splitlines()
    assert refused.startswith("line 2: The completion is a list.")
    assert counts == "1 taken, 1 refused."
    assert Completion.objects.get().policy.name == "davinci"
    with pytest.raises(CommandError, match="Nothing was taken"):
        call_command("import_completions", "Poems", str(path), "--model", "davinci")


AS_WRITTEN = [
    "    for i in range(1, 4):\n        print(i)",
    "for i in range(1, 4):\n    print(i)",
    "for i in range(1, 4):\nprint(i)",
    "x²",
    "x2",
    " x2",
    "x2 ",
    "cafe\u0301",
    "crlf one\r\ncrlf two",
    "nothing\u00a0\u200bbreaks ",
    "",
    "\u200b",
    "\ufeff\u00ad",
]


def test_completions_are_kept_exactly_as_the_model_wrote_them(pool):
    job = load(pool, [line(response=text) for text in AS_WRITTEN])
    assert set(refusals(job)) == {""}
    assert list(Completion.objects.order_by("id").values_list("text", flat=True)) == AS_WRITTEN


def test_an_empty_completion_is_one_and_is_stored_once(pool):
    job = load(pool, [line(response=""), line(response=" \n"), line(response="", model="curie")])
    assert refusals(job) == ["", "The prompt already has this completion by this model.", ""]
    assert list(Completion.objects.values_list("text", flat=True)) == ["", ""]


def test_an_id_or_a_model_is_the_same_however_its_characters_are_made(pool):
    for external_id in ("caf\u00e9-1", "7", " 8 "):
        message = {"role": "user", "content": f"Say {external_id}."}
        actions.add_prompt(pool=pool, draft=PromptDraft(messages=[message], external_id=external_id), now=NOW)
    ids = ["cafe\u0301-1", "caf\u00e9-1", 7, 7.0, "7", "8", " 8 "]
    job = load(pool, [line(id=each, response=f"{n}", model=f"ma\u0301 {n}") for n, each in enumerate(ids)])
    assert set(refusals(job)) == {""}
    load(pool, [line(model="cle\u0301"), line(id="p1", model="cl\u00e9")])
    assert Policy.objects.filter(name="cl\u00e9").count() == 1


def test_an_empty_field_of_another_name_decides_nothing(pool):
    assert refusals(load(pool, [line(response=" as it is ", text=None)])) == [""]
    assert Completion.objects.get().text == " as it is "


def test_an_empty_cell_of_a_csv_file_is_an_empty_completion(pool):
    data = b'id,model,response,text\np0,a,,\np1,a,"   ",\np2,a,,said\np0,b,"  x\r\n  y  ",\np0,c,,"\n"\n'
    job = jobs.store(
        pool=pool,
        kind=ImportKind.COMPLETIONS,
        file_name="completions.csv",
        data=data,
        defaults={},
        by=None,
        now=NOW,
    )
    jobs.run(job_id=job.id, take=importers.take, clock=lambda: NOW)
    assert set(refusals(job)) == {""}
    texts = list(Completion.objects.order_by("policy__name", "prompt").values_list("text", flat=True))
    assert texts == ["", "   ", "said", "  x\r\n  y  ", "\n"]


@pytest.mark.parametrize("bad", ["a\x00", "\ud83d"])
@pytest.mark.parametrize("field", ["response", "model", "id"])
def test_what_cannot_be_stored_is_refused_whoever_reads_the_lines(field, bad):
    with pytest.raises(BadField, match=f"The field {field} holds something that cannot be stored"):
        importers.draft_of(line(**{field: bad}), {})


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), ["\n", "\x00"], "\ud83d", {"a": [float("nan")]}])
def test_a_parameter_that_cannot_be_stored_is_refused_by_its_name(bad):
    with pytest.raises(BadField, match="The field stop holds something that cannot be stored"):
        importers.draft_of(line(stop=bad), {})
    # What is not stored decides nothing.
    assert importers.draft_of(line(logprob=bad), {}).text == "Roses are red."


def test_what_postgresql_cannot_store_is_refused_in_words(pool):
    job = load(pool, [line(response="a\x00b"), line(response="half \ud83d"), line(response="whole 🦊")])
    found = refusals(job)
    assert ["cannot be stored" in refusal for refusal in found] == [True, True, False]
    assert Completion.objects.get().text == "whole 🦊"


@needs_shared
@pytest.mark.django_db
def test_eight_real_models_answer_252_real_prompts():
    call_command("import_prompts", "users", str(DATA / "user_oriented_instructions.jsonl"), "--create")
    files = sorted(DATA.glob("predictions_*.jsonl"))
    assert len(files) == 8
    for path in files:
        call_command("import_completions", "users", str(path))
        job = ImportJob.objects.latest("id")
        model = path.stem.removeprefix("predictions_")
        assert (job.taken, job.refused) == (252, 0)
        assert Completion.objects.filter(policy__name=model).count() == job.taken
    assert Completion.objects.count() == 8 * 252
    # Some models left a prompt unanswered: that is their answer.
    assert sum(is_blank(text) for text in Completion.objects.values_list("text", flat=True)) == 51
    assert all(prompt.completions.count() == 8 for prompt in Prompt.objects.all())
