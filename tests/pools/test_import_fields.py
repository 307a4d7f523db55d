"""Every field of a line that holds text is used, kept, or left out because somebody said so."""

import json
from datetime import timedelta

import pytest

from annotate.pools import actions, queries, tasks
from annotate.pools.importers import jobs, losses, prompts
from annotate.pools.models import ImportJob, ImportState, Prompt, PromptGroup, QuarantineReason, Source, Split
from annotate.pools.rules import canonical_shots, shot_examples
from tests import factories as make
from tests.pools.test_import import CONVERSATION, imported, load, report, run, start
from tests.pools.test_rules import SHOTS

NOW = make.NOW

pytestmark = pytest.mark.django_db


@pytest.fixture
def pool(db):
    return make.pool("Poems")


def check(job, *, now=NOW):
    return jobs.check(job_id=job.id, unused=prompts.unused, clock=lambda: now)


def said(prompt):
    return [(message["role"], message["content"]) for message in prompt.messages]


@pytest.mark.parametrize(
    ("line", "messages"),
    [
        ({"instruction": "When?", "context": "In 1931."}, [("user", "When?\n\nIn 1931.")]),
        ({"instruction": "When?", "context": " "}, [("user", "When?")]),
        ({"prompt": "When?", "context": "In 1931."}, [("user", "When?\n\nIn 1931.")]),
        ({"question": "When?", "context": "In 1931."}, [("user", "When?\n\nIn 1931.")]),
        (
            {"prompt": "Translate.", "input": "Hund", "context": "A letter."},
            [("user", "Translate.\n\nHund\n\nA letter.")],
        ),
        (
            {"prompt": "And in winter?", "history": [["How warm in summer?", "20"], ["And in May?", "15"]]},
            [
                ("user", "How warm in summer?"),
                ("assistant", "20"),
                ("user", "And in May?"),
                ("assistant", "15"),
                ("user", "And in winter?"),
            ],
        ),
        (
            {"instruction": "Bye", "history": CONVERSATION[:2], "system": "Be brief."},
            [("system", "Be brief."), ("user", "hi"), ("assistant", "hello"), ("user", "Bye")],
        ),
        ({"prompt": "Hi", "history": []}, [("user", "Hi")]),
        ({"prompt": "Hi", "system_prompt": "Be a pirate."}, [("system", "Be a pirate."), ("user", "Hi")]),
        (
            {"prompt": "Hi", "system": "Be brief.", "system_prompt": "Be brief."},
            [("system", "Be brief."), ("user", "Hi")],
        ),
        (
            {"messages": [{"role": "user", "content": [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]}]},
            [("user", "a\nb")],
        ),
        ({"instruction": "Do.", "input": "x", "instances": [{"input": "x", "output": "y"}]}, [("user", "Do.\n\nx")]),
    ],
)
def test_what_belongs_to_the_prompt_is_in_its_messages(pool, line, messages):
    assert said(imported(load(pool, [line]))) == messages


def test_history_may_be_a_cell(pool):
    job = load(pool, 'prompt,history\nBye,"[[""Hi"", ""Hello""]]"\n', name="a.csv")
    assert said(imported(job)) == [("user", "Hi"), ("assistant", "Hello"), ("user", "Bye")]


@pytest.mark.parametrize(("line", "language"), [({"lang": "es"}, "es"), ({"lang": "EN", "language": "en"}, "en")])
def test_lang_is_the_language(pool, line, language):
    assert imported(load(pool, [{"prompt": "x"} | line])).language == language


@pytest.mark.parametrize(
    ("line", "sentence"),
    [
        ({"prompt": "x", "system": "a", "system_prompt": "b"}, "The fields system, system_prompt say different things"),
        ({"prompt": "x", "language": "en", "lang": "de"}, "The fields language, lang say different things"),
        ({"prompt": "x", "id": 1, "prompt_id": 2}, "The fields id, prompt_id say different things"),
        ({"prompt": "x", "licence": "a", "license": "b"}, "The fields licence, license say different things"),
        ({"prompt": "x", "source_user": "a", "motivation_app": "b"}, "The fields source_user, motivation_app say"),
        ({"prompt": "x", "lang": "Klingon!"}, "is not a language tag"),
        (
            {"instruction": "Do.", "input": "x", "instances": [{"input": "y", "output": ""}]},
            "The fields input, instances.input say different things",
        ),
        (
            {"instruction": "Do.", "output": "x", "instances": [{"input": "", "output": "y"}]},
            "The fields output, instances.output say different things",
        ),
        ({"messages": CONVERSATION, "context": "x"}, "The field context needs a prompt that is one text"),
        ({"messages": CONVERSATION, "history": [["a", "b"]]}, "The field history needs a prompt that is one text"),
        ({"prompt": "x", "instances": [{"input": "a", "output": "b"}]}, "The field instances needs an instruction"),
        ({"shots": SHOTS, "system": "x"}, "cannot have the field system"),
        (
            {"shots": SHOTS, "instances": [{"input": "a", "output": "b"}]},
            "cannot have the field instances",
        ),
        ({"prompt": "x", "history": "Hi"}, "The history must be a list of pairs"),
        ({"prompt": "x", "history": ["Hi", "Hello"]}, "The history must be a list of pairs"),
        ({"prompt": "x", "context": ["a"]}, "The field context must be a text"),
        (
            {"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {}}]}]},
            "Message 1 has a part that is not a text (image_url)",
        ),
        (
            {"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {}, "text": "A cat"}]}]},
            "Message 1 has a part that is not a text (image_url)",
        ),
        (
            {"prompt": "x", "history": [{"role": "system", "content": [{"type": "image_url"}]}]},
            "Message 1 has a part that is not a text (image_url)",
        ),
        (
            {
                "messages": [
                    CONVERSATION[0],
                    {"role": "assistant", "content": None, "tool_calls": [{}]},
                    CONVERSATION[2],
                ]
            },
            "Message 2 calls tools and has no text",
        ),
        ({"prompt": "x", "id": {"$oid": "5f"}}, "The field id must be a text"),
        ({"prompt": "x", "id": "\ud83d"}, "contains a character that cannot be stored"),
        ({"prompt": "x", "output": "\ud83d"}, "The field output holds something that cannot be stored"),
        (
            {"prompt": "x", "split": "test"},
            "The split “test” is unknown. Write one of train, valid.",
        ),
    ],
)
def test_what_cannot_be_used_refuses_its_line_and_names_the_fields(pool, line, sentence):
    job = load(pool, [line])
    assert (job.taken, job.refused) == (0, 1)
    assert sentence in report(job)[1]


@pytest.mark.parametrize(
    "line", [{"score": float("nan")}, {"tag": "\ud83d"}, {"deep": {"a": [float("inf")]}}, {"\ud83d": 1}, {"a\x00b": 7}]
)
def test_a_field_that_is_not_stored_decides_nothing(pool, line):
    job = start(pool, [{"prompt": "x"} | line])
    if not check(job):
        job.refresh_from_db()
        actions.drop_fields(job=job)
    tasks.run_import(job.id)
    assert imported(job).text == "x"


def test_an_id_is_one_whether_it_is_a_number_or_a_text(pool):
    load(
        pool,
        [
            {"prompt": "a", "id": 17.0},
            {"prompt": "b", "id": 18},
            {"prompt": "c", "id": " 19 "},
            {"prompt": "d", "id": 0},
        ],
    )
    assert list(Prompt.objects.order_by("id").values_list("external_id", flat=True)) == ["17", "18", "19", "0"]


@pytest.mark.parametrize(
    ("line", "reference"),
    [
        ({"instruction": "x", "output": "y"}, {"output": "y"}),
        ({"instruction": "x", "response": "y", "answer": 42}, {"response": "y", "answer": 42}),
        ({"instruction": "x", "instances": [{"input": "", "output": "y"}]}, {"output": "y"}),
        (
            {"question": "x", "answers": {"text": ["y"], "answer_start": [3]}},
            {"answers": {"text": ["y"], "answer_start": [3]}},
        ),
        ({"prompt": "x", "output": "", "completion": []}, None),
        ({"prompt": "x"}, None),
    ],
)
def test_the_answer_that_came_with_a_prompt_is_kept_as_it_was(pool, line, reference):
    job = load(pool, [line])
    assert imported(job).reference == reference
    assert job.ignored_fields == []


@pytest.mark.parametrize(
    ("line", "names"),
    [
        ({"passage": "Guten Tag"}, ["passage"]),
        ({"score": 3, "when": "2024-05-05", "note": "7"}, ["when"]),
        ({"chosen": [{"role": "user", "content": "y"}]}, ["chosen"]),
        ({"group": "poets"}, ["group"]),
        ({"group": "poets", "split": ""}, ["group"]),
        ({"question": "Why?"}, ["question"]),
    ],
)
def test_nothing_is_taken_before_somebody_decided_about_text_that_would_be_dropped(pool, line, names):
    job = start(pool, [{"prompt": "First"}, {"prompt": "x"} | line])
    assert check(job) is False
    job.refresh_from_db()
    assert (job.state, [loss["name"] for loss in job.losses]) == (ImportState.ASKING, names)
    assert not Prompt.objects.exists()
    # Whoever wakes a worker in vain, or goes on without the check, drops nothing either.
    assert check(job) is True
    run(job)
    tasks.run_import(job.id)
    assert not Prompt.objects.exists()
    actions.drop_fields(job=job)
    tasks.run_import(job.id)
    job.refresh_from_db()
    assert (job.state, job.taken, job.ignore) == (ImportState.DONE, 2, names)
    assert set(names) <= set(job.ignored_fields)


@pytest.mark.parametrize(
    "line",
    [
        {"messages": [{"role": "user", "content": "x", "name": "Bo"}]},
        {"messages": [{"role": "user", "content": [{"type": "text", "text": "x", "name": "Bo"}]}]},
        {"prompt": "x", "history": [{"role": "system", "content": [{"text": "y", "name": "Bo"}]}]},
        {"prompt": "x", "history": {"role": "system", "content": "y", "name": "Bo"}},
        {"question": [{"role": "user", "content": "x", "name": "Bo"}]},
        {"question": [{"role": "user", "content": [{"type": "text", "text": "x", "name": "Bo"}]}]},
        {"instruction": "x", "instances": [{"input": "a", "output": "b", "name": "Bo"}]},
        {"shots": SHOTS | {"name": "Bo"}},
    ],
)
def test_text_inside_of_messages_and_instances_is_asked_about_too(pool, line):
    job = start(pool, [line])
    assert check(job) is False
    job.refresh_from_db()
    (loss,) = job.losses
    assert loss["name"].endswith(".name")
    assert loss["examples"] == ["Bo"]
    actions.drop_fields(job=job)
    assert run(job).taken == 1


def test_the_question_counts_lines_and_shows_what_they_say(pool):
    lines = [{"prompt": f"{n}", "note": f"Note {n} \ud83d" + n * "x"} for n in range(5)]
    job = start(pool, [*lines, {"note": "no prompt, so nothing is lost"}, {"prompt": "y", "note": ""}])
    check(job)
    job.refresh_from_db()
    assert job.losses == [{"name": "note", "lines": 5, "examples": ["Note 0 ?", "Note 1 ?x", "Note 2 ?xx"]}]


def test_a_line_with_text_that_nobody_decided_about_is_refused(pool):
    job = load(pool, [{"prompt": "x", "passage": "Guten Tag"}, {"prompt": "y"}])
    assert report(job) == {1: "Nobody decided to leave out the fields passage, which hold text.", 2: ""}


def test_a_file_without_losses_goes_on_by_itself(pool):
    job = start(pool, [{"prompt": "x", "score": 1}])
    tasks.run_import(job.id)
    job.refresh_from_db()
    assert (job.state, job.checked, job.taken) == (ImportState.DONE, True, 1)


def test_a_cancelled_import_leaves_no_prompt_and_no_file(pool):
    job = start(pool, [{"prompt": "x", "passage": "Guten Tag"}])
    check(job)
    actions.cancel_import(job=job, now=NOW)
    job.refresh_from_db()
    assert (job.state, job.finished_at, job.chunks.count()) == (ImportState.CANCELLED, NOW, 0)
    tasks.run_import(job.id)
    assert not Prompt.objects.exists()
    for decide in (lambda: actions.drop_fields(job=job), lambda: actions.cancel_import(job=job, now=NOW)):
        with pytest.raises(actions.AlreadyDecided):
            decide()
    assert actions.sweep_imports(now=NOW + timedelta(days=1)) == 0


def test_a_check_that_was_killed_is_begun_again(pool):
    job = start(pool, [{"prompt": "x", "passage": "Guten Tag"}])

    class Killed(BaseException):
        """As SIGKILL: nothing in the program catches it."""

    def unused(job, line):
        raise Killed

    with pytest.raises(Killed):
        jobs.check(job_id=job.id, unused=unused, clock=lambda: NOW)
    assert check(job) is False, "its lease has not ended"
    assert ImportJob.objects.get().state == ImportState.RUNNING
    later = NOW + jobs.LEASE + timedelta(seconds=1)
    assert actions.sweep_imports(now=later) == 1
    assert check(job, now=later) is False
    assert ImportJob.objects.get().state == ImportState.ASKING


def test_names_that_are_data_are_no_question(pool, monkeypatch):
    monkeypatch.setattr(losses, "MAX_FIELDS", 10)
    job = start(pool, [{"prompt": "x"} | {f"word {n}": "text" for n in range(11)}])
    assert check(job) is False
    job.refresh_from_db()
    assert (job.state, str(losses.TooManyFields()) in job.error) == (ImportState.FAILED, True)


def exported(prompt="Why?", **fields):
    about = {"prompt_id": 7, "group": "group-3", "source": "customer", "category": "", "prompt_kind": "plain"}
    return {"prompt": [{"role": "user", "content": prompt}], "language": "en", "priority": 0} | about | fields


@pytest.mark.parametrize("split", Split.values)
def test_an_exported_prompt_keeps_its_side_and_its_group(pool, split):
    lines = [exported(f"Prompt {n}", split=split, prompt_id=n) for n in range(5)]
    job = start(pool, lines)
    assert check(job), "all fields of the PPO file are used"
    run(job)
    assert (job.taken, job.nobodys, job.ignored_fields) == (5, 0, [])
    assert {(prompt.group.split, prompt.group.key) for prompt in Prompt.objects.all()} == {
        (split, f"imported:{pool.id}:group-3")
    }
    assert sorted(Prompt.objects.values_list("external_id", flat=True)) == list("01234")


@pytest.mark.parametrize("split", Split.values)
def test_a_split_holds_for_a_customer_or_a_prompt_that_is_new(pool, split):
    load(
        pool,
        [{"prompt": "a", "split": split}, {"prompt": "b", "split": split, "source": "customer", "source_user": "Acme"}],
    )
    assert list(PromptGroup.objects.values_list("split", flat=True)) == [split, split]


def other(split):
    return Split.VALID if split == Split.TRAIN else Split.TRAIN


def test_a_customer_who_is_on_the_other_side_is_refused_with_both_sides(pool):
    line = {"source": Source.CUSTOMER, "source_user": "Acme"}
    load(pool, [{"prompt": "a"} | line])
    side = PromptGroup.objects.get().split
    job = load(pool, [{"prompt": "b", "split": other(side)} | line, {"prompt": "c", "split": side} | line])
    assert (job.taken, job.refused) == (1, 1)
    refusal = report(job)[1]
    assert f"in the split “{other(side)}”" in refusal
    assert f"its group “customer:acme” is in the split “{side}”" in refusal


def test_one_file_cannot_put_a_group_on_both_sides(pool):
    job = load(pool, [exported("a", split="valid"), exported("b", split="train"), exported("c", split="valid")])
    assert [bool(refusal) for refusal in report(job).values()] == [False, True, False]
    assert PromptGroup.objects.get().split == Split.VALID


def test_an_exported_prompt_keeps_its_side_and_gives_way_to_an_equal_text_on_the_other(pool):
    load(pool, [exported("a", split="valid")])
    again = load(make.pool(), [exported("a", split="valid"), exported("b", split="valid")])
    assert (again.taken, again.quarantined) == (2, 0)
    assert set(Prompt.objects.values_list("group__split", flat=True)) == {Split.VALID}
    third = load(make.pool(), [exported("a", split="train"), exported("c", split="train")])
    assert (third.taken, third.quarantined) == (2, 1)
    twin = Prompt.objects.get(pool=third.pool, text="a")
    assert (twin.group.split, twin.quarantine_reason) == (Split.TRAIN, QuarantineReason.EQUAL_TEXT)


def test_a_prompt_of_nobody_on_the_other_side_than_its_equal_is_refused(pool):
    load(pool, [{"prompt": "a", "split": "valid"}])
    job = load(make.pool(), [{"prompt": "a", "split": "train"}, {"prompt": "b", "split": "train"}])
    assert (job.taken, job.refused) == (1, 1)
    assert "is in the split “valid”" in report(job)[1]


@pytest.mark.parametrize("first", ["shots", "prompt"])
@pytest.mark.parametrize("split", Split.values)
def test_a_side_holds_although_a_few_shot_prompt_of_the_file_has_the_text_as_an_example(pool, split, first):
    text, _response = shot_examples(canonical_shots(SHOTS))[0]
    lines = [{"shots": SHOTS}, {"prompt": text, "split": split}]
    job = load(pool, lines if first == "shots" else lines[::-1])
    plain, few_shot = Prompt.objects.get(kind="plain"), Prompt.objects.get(kind="few_shot")
    assert plain.group.split == split
    # The one that comes later gives way.
    later = plain if first == "shots" else few_shot
    assert (job.taken, job.quarantined) == (2, int(few_shot.group.split != split))
    assert bool(later.quarantined_at) == (few_shot.group.split != split)


def test_where_it_came_from_an_exported_prompt_is_a_duplicate(pool):
    load(pool, [{"prompt": "Why?"}])
    side = PromptGroup.objects.get().split
    job = load(pool, [exported(split=other(side))])
    assert "has the same text" in report(job)[1]


def test_a_duplicate_gives_its_group_no_side(pool):
    """Neither one of the pool nor one of the same file: the customer's next line says the side."""
    load(pool, [{"prompt": "a"}])
    acme = {"source": Source.CUSTOMER, "source_user": "Acme"}
    duplicates = [{"prompt": "a", "split": "valid"} | acme, {"prompt": "b"}, {"prompt": "b", "split": "valid"} | acme]
    job = load(pool, [*duplicates, {"prompt": "c", "split": "train"} | acme])
    assert [bool(refusal) for refusal in report(job).values()] == [True, False, True, False]
    assert Prompt.objects.get(text="c").group == PromptGroup.objects.get(key="customer:acme", split=Split.TRAIN)


def test_without_a_split_a_group_is_drawn(pool):
    job = load(pool, [{"prompt": "a"}])
    key = imported(job).group.key
    assert key.startswith("prompt:")
    assert queries.import_lines(job).count() == 1
    assert json.dumps(job.losses) == "[]"
