"""From a file of prompts to a file of completions, without rows and without a broker."""

import json
import os
import stat
from io import StringIO

import pytest
from django.core.management import CommandError, call_command

from annotate.samples.importers import KNOWN, draft_of
from models_worker.engine.loader import load_policy
from models_worker.engine.params import derive_seed
from tests import factories as make
from tests.models_worker.runs import pool_of, start, texts
from tests.models_worker.tiny import save_lora, save_tiny, teacher_forced

TOKYO = [{"role": "user", "content": "The capital of Japan?"}, {"role": "assistant", "content": "Tokyo."}]
PROMPTS = [
    {"id": "sky", "prompt": "Why is the sky blue?"},
    {"prompt": [*TOKYO, {"role": "user", "content": "And of Peru?"}]},
    {"id": 7, "messages": [{"role": "user", "content": "2 + 2 ="}]},
]


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    return save_tiny(tmp_path_factory.mktemp("tiny"))


@pytest.fixture
def prompts(tmp_path):
    file = tmp_path / "prompts.jsonl"
    file.write_text("".join(json.dumps(line) + "\n" for line in PROMPTS))
    return file


def sample(prompts, **options):
    """The lines of the file of completions, and what was said."""
    said, out = StringIO(), prompts.with_name("out.jsonl")
    asked = {"k": 2, "max_new_tokens": 8, "seed": 3} | options
    call_command("sample", prompts=prompts, out=out, stdout=said, stderr=said, **asked)
    return [json.loads(line) for line in out.read_text().splitlines()], said.getvalue()


def by_key(lines):
    return {(line["id"], line["k"]): line["completion"] for line in lines}


def test_a_file_of_prompts_becomes_a_file_of_completions_that_say_what_made_them(tiny, prompts):
    lines, said = sample(prompts, checkpoint=str(tiny), keep_tokens=True, temperature=0.7, stop=["zz"])
    assert by_key(lines).keys() == {(name, k) for name in ("sky", "2", "7") for k in range(2)}
    assert "6 completions written, 0 failed." in said
    policy = load_policy(str(tiny))
    for line in lines:
        assert line["seed"] == derive_seed(3, "1", line["id"], line["k"])
        assert (line["temperature"], line["stop"], line["model"]) == (0.7, ["zz"], str(tiny))
        made = line["provenance"]
        assert made["checkpoint_sha256"] == policy.checkpoint_sha256
        assert len(made["token_ids"]) == len(made["logprobs"]) == line["token_count"]
        prompt = policy.render(line["prompt"], max_new_tokens=8)
        assert made["prompt_sha256"] == prompt.sha256
        asked = type("Asked", (), {"prompt_ids": prompt.ids})
        assert made["logprobs"] == pytest.approx(teacher_forced(policy, asked, tuple(made["token_ids"])), abs=1e-4)


@pytest.mark.parametrize("umask", [0o022, 0o000])
def test_a_new_file_of_completions_is_for_its_owner_alone_and_an_old_one_keeps_its_mode(tiny, prompts, umask):
    out, before = prompts.with_name("out.jsonl"), os.umask(umask)
    try:
        sample(prompts, checkpoint=str(tiny), k=1)
        assert stat.S_IMODE(out.stat().st_mode) == 0o600
        out.chmod(0o640)
        sample(prompts, checkpoint=str(tiny), k=2)
        assert stat.S_IMODE(out.stat().st_mode) == 0o640
    finally:
        os.umask(before)


def test_a_file_of_completions_can_be_imported(tiny, prompts):
    lines, _said = sample(prompts, checkpoint=str(tiny))
    draft = draft_of(lines[0], {})
    assert (draft.model, draft.external_id) == (str(tiny), lines[0]["id"])
    assert {"id", "prompt", "completion", "model", "temperature"} <= KNOWN


def test_started_again_it_goes_on_where_it_was_killed(tiny, prompts):
    whole, _said = sample(prompts, checkpoint=str(tiny))
    out = prompts.with_name("out.jsonl")
    kept = out.read_text().splitlines(keepends=True)
    out.write_text("".join(kept[:3]) + kept[3][:20])
    again, said = sample(prompts, checkpoint=str(tiny))
    assert "3 completions written" in said
    assert again[:3] == whole[:3]
    assert by_key(again) == by_key(whole)


def test_the_command_knows_how_a_policy_is_loaded(tiny, prompts, tmp_path):
    adapter = save_lora(tiny, tmp_path / "lora")
    (tmp_path / "examples.json").write_text(json.dumps(TOKYO))
    (tmp_path / "template.jinja").write_text("{% for m in messages %}{{ m['content'] }} {% endfor %}")
    options = {"adapter": str(adapter), "examples": tmp_path / "examples.json", "dtype": "bfloat16"}
    lines, _said = sample(prompts, checkpoint=str(tiny), template=str(tmp_path / "template.jinja"), **options)
    made = lines[0]["provenance"]
    assert (made["adapter_kind"], made["dtype"], made["template"]) == ("LORA", "bfloat16", "policy")
    assert "examples_sha256" in made
    assert "token_ids" not in made


@pytest.mark.django_db(transaction=True)
def test_a_registered_policy_gives_what_a_run_of_it_gives(tiny, tmp_path, monkeypatch):
    from models_worker import runner

    monkeypatch.setattr("annotate.lib.wake._send", lambda task, ids: None)
    run = start(tiny, pool=pool_of(2), policy=make.policy("sft", location=str(tiny)), k=4, max_new_tokens=12)
    runner.sample(run.id)
    file = tmp_path / "prompts.jsonl"
    asked = run.pool.prompts.order_by("id")
    file.write_text("".join(json.dumps({"id": each.id, "messages": each.messages}) + "\n" for each in asked))
    lines, _said = sample(file, policy="sft", seed=run.seed, k=4, max_new_tokens=12)
    names = {str(each.id): each.text for each in asked}
    sampled = {(names[line["id"]], line["k"]): line["completion"].replace("\0", "\ufffd") for line in lines}
    # A run samples anew what says nothing new.
    first = {key: text for key, (text, _seed, attempt) in texts(run).items() if not attempt}
    assert first
    assert {key: sampled[key] for key in first} == first


def test_a_prompt_that_does_not_fit_fails_alone(tiny, prompts):
    with prompts.open("a") as file:
        file.write(json.dumps({"id": "long", "prompt": "word " * 300}) + "\n")
    with pytest.raises(CommandError, match="Run the command again"):
        sample(prompts, checkpoint=str(tiny))
    assert len(prompts.with_name("out.jsonl").read_text().splitlines()) == 6


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("{", "Line 4: "),
        ("[]", "Line 4: It is not a JSON object."),
        ('{"text": "Hi"}', "Line 4: There is no prompt."),
        ('{"prompt": [{"role": "assistant", "content": "Hi"}]}', "Line 4: Message 1 must be"),
        ('{"id": "sky", "prompt": "Hi"}', "Line 4: Line 1 also has the id “sky”."),
    ],
)
def test_a_bad_line_is_named_before_anything_is_sampled(tiny, prompts, line, words):
    with prompts.open("a") as file:
        file.write(line + "\n")
    with pytest.raises(CommandError, match=words):
        sample(prompts, checkpoint=str(tiny))
    assert not prompts.with_name("out.jsonl").exists()


BAD = ["{", '{"id": "sky", "prompt": "Hi"}', json.dumps({"id": "good", "prompt": "Hi"}), "[]"]


def test_all_bad_lines_are_named_together(tiny, prompts):
    with prompts.open("a") as file:
        file.write("\n".join(BAD) + "\n" + "[]\n" * 30)
    with pytest.raises(CommandError) as refused:
        sample(prompts, checkpoint=str(tiny))
    words = str(refused.value).splitlines()
    assert [line.split(":")[0] for line in words[:4]] == ["Line 4", "Line 5", "Line 7", "Line 8"]
    assert words[20:] == [
        "13 more lines cannot be used.",
        "Correct these lines, or leave them out with --skip-bad-lines.",
    ]


def test_bad_lines_can_be_left_out(tiny, prompts):
    with prompts.open("a") as file:
        file.write("\n".join(BAD) + "\n")
    lines, said = sample(prompts, checkpoint=str(tiny), skip_bad_lines=True)
    assert by_key(lines).keys() == {(name, k) for name in ("sky", "2", "7", "good") for k in range(2)}
    assert "8 completions written, 0 failed. 3 bad lines skipped." in said
    assert all(f"Line {number}: " in said for number in (4, 5, 7))
    again, _said = sample(prompts, checkpoint=str(tiny), skip_bad_lines=True)
    assert again == lines


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({}, "--policy or --checkpoint"),
        ({"checkpoint": "/no/such/folder"}, "There is no folder /no/such/folder"),
        ({"adapter": "/no/such/folder"}, "There is no folder /no/such/folder"),
        ({"temperature": 0.0}, "At temperature 0"),
        ({"top_p": 0.0}, "top_p must be above 0"),
    ],
)
def test_what_cannot_be_sampled_is_refused_in_words(tiny, prompts, options, words):
    given = {"checkpoint": str(tiny)} | options if options else {}
    with pytest.raises(CommandError, match=words):
        sample(prompts, **given)


def test_a_file_of_something_else_is_left_alone(tiny, prompts):
    out = prompts.with_name("out.jsonl")
    out.write_text("notes\n")
    with pytest.raises(CommandError, match="not completions of an earlier start"):
        sample(prompts, checkpoint=str(tiny))
    assert out.read_text() == "notes\n"
