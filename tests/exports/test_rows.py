"""What a training example is, line by line."""

import json
from unittest.mock import ANY

import pytest

from annotate.pools.models import Category, Kind, Source, Split
from annotate.samples.models import Completion, SampleRun
from annotate.work.models import Assignment, Task
from annotate.work.states import State
from exports.rows.rankings import Choice, compare
from tests import factories as make
from tests.exports import answers
from tests.factories import NOW


def test_a_demonstration_is_a_prompt_and_what_a_person_wrote(day, export):
    prompt = day.prompt("Why is the sky blue?", source=Source.CUSTOMER, category=Category.OPEN_QA)
    written = answers.demonstration(day.demonstrations, prompt, day.labeler, "Small things scatter blue light.")
    assert export().lines("sft") == [
        {
            "prompt": [{"role": "user", "content": "Why is the sky blue?"}],
            "completion": [{"role": "assistant", "content": "Small things scatter blue light."}],
            "example": "demonstration",
            "split": "train",
            "prompt_id": prompt.id,
            "group": f"group-{prompt.group_id}",
            "source": "customer",
            "category": "open_qa",
            "prompt_kind": "plain",
            "language": "en",
            "priority": 0,
            "answer_id": written.assignment_id,
            "labeler": f"labeler-{day.labeler.id}",
            "campaign": "demonstrations of today",
            "guideline": "helpfulness",
            "guideline_version": 1,
            "submitted_at": "2030-01-01T12:00:00.000000+00:00",
            "active_seconds": -1,
        }
    ]


def test_a_conversation_keeps_its_turns_and_nothing_else(day, export):
    said = [
        {"role": "system", "content": "Be brief.", "name": "ops"},
        {"role": "user", "content": "Hi"},
        {"role": "assistant", "content": "Hello."},
        {"role": "user", "content": "Bye"},
    ]
    answers.demonstration(day.demonstrations, day.prompt("Hi", messages=said), day.labeler)
    (line,) = export().lines("sft")
    assert line["prompt"] == [{"role": turn["role"], "content": turn["content"]} for turn in said]


def test_a_few_shot_instruction_with_k_pairs_gives_k_examples(day, export):
    shots = {
        "instruction": "Add the numbers.",
        "pairs": [{"query": q, "response": r} for q, r in (("1 + 1", "2"), ("2 + 2", "4"), ("3 + 3", "6"))],
    }
    prompt = day.prompt("shots", kind=Kind.FEW_SHOT, shots=shots)
    written = answers.few_shot(day.instructions, day.labeler, prompt)
    lines = export().lines("sft")
    assert [line["completion"][0]["content"] for line in lines] == ["2", "4", "6"]
    assert [line["example"] for line in lines] == ["few_shot"] * 3
    assert {line["answer_id"] for line in lines} == {written.assignment_id}
    asked = [line["prompt"][0]["content"] for line in lines]
    assert all(text.startswith("Add the numbers.") for text in asked)
    assert "1 + 1" in asked[0]
    assert "Output: 2" not in asked[0]
    assert "Output: 4" in asked[0]
    assert "Output: 6" in asked[0]


def test_a_ranking_is_one_line_with_all_its_pairs(day, export):
    prompt = day.prompt("Name a colour.")
    slate = day.slate(prompt, "ABCD")
    ranking = answers.ranking(slate, day.labeler, [2, 1, 3, 2], ratings=[5, 7, 2, 4], shown=[3, 0, 2, 1])
    policy = slate[0].completion.policy
    assert export().lines("rm") == [
        {
            "prompt": [{"role": "user", "content": "Name a colour."}],
            "completions": [[{"role": "assistant", "content": text}] for text in "ABCD"],
            "ranks": [2, 1, 3, 2],
            "ratings": [5, 7, 2, 4],
            "policies": [f"{policy.name}@1"] * 4,
            "completion_ids": [candidate.completion_id for candidate in slate],
            "provenance": [ANY] * 4,
            "shown": [3, 0, 2, 1],
            "pairs": [
                {"chosen": 1, "rejected": 0},
                {"chosen": 0, "rejected": 2},
                {"chosen": 1, "rejected": 2},
                {"chosen": 1, "rejected": 3},
                {"chosen": 3, "rejected": 2},
            ],
            "tied_pairs": 1,
            "identical_pairs": 0,
            "tie_rule": "dropped",
            "weight": pytest.approx(1 / 6),
            "ranking_id": ranking.id,
            "split": "train",
            "prompt_id": prompt.id,
            "group": f"group-{prompt.group_id}",
            "source": "labeler",
            "category": "",
            "prompt_kind": "plain",
            "language": "en",
            "priority": 0,
            "answer_id": ranking.assignment_id,
            "labeler": f"labeler-{day.labeler.id}",
            "campaign": "rankings of today",
            "guideline": "helpfulness",
            "guideline_version": 1,
            "submitted_at": "2030-01-01T12:00:00.000000+00:00",
            "active_seconds": -1,
        }
    ]


def test_every_completion_of_a_ranking_says_how_it_came_about(day, export):
    prompt = day.prompt("Name a colour.")
    slate = day.slate(prompt, "AB")
    run = SampleRun.objects.create(
        pool=prompt.pool, policy=slate[0].completion.policy, k=4, seed=7, state="done", created_at=NOW, finished_at=NOW
    )
    told = {"engine": "transformers-arena", "adapter_sha256": "a" * 64, "token_ids": [5, 2], "logprobs": [-0.5, -1.25]}
    sampled = {"run": run, "k": 3, "seed": 11, "attempt": 1, "finish_reason": "stop", "token_count": 2}
    sampled |= {"checkpoint_hash": "c" * 64, "parameters": {"temperature": 0.7, "stop": []}}
    Completion.objects.filter(id=slate[0].completion_id).update(**sampled, provenance=told)
    answers.ranking(slate, day.labeler, [1, 2])
    written = export()
    (line,) = written.lines("rm")
    made, imported = map(json.loads, line["provenance"])
    assert made == told | sampled | {"run": run.id, "policy_revision": "1"}
    assert (imported["finish_reason"], imported["seed"], imported["policy_revision"]) == ("imported", None, "1")
    (pair,) = written.lines("rm_pairs")
    assert [pair["chosen_id"], pair["rejected_id"]] == line["completion_ids"]


def test_the_flat_pairs_are_the_pairs_of_the_rankings(day, export):
    for texts, ranks in (("ABCD", [1, 2, 2, 3]), ("EFGHI", [5, 4, 3, 2, 1])):
        answers.ranking(day.slate(day.prompt(f"Prompt of {texts}"), texts), day.labeler, ranks)
    written = export()
    flat = [
        (line["ranking_id"], line["chosen"], line["rejected"], line["weight"], line["rank_gap"], line["rating_gap"])
        for line in written.lines("rm_pairs")
    ]
    assert flat == [
        (
            line["ranking_id"],
            line["completions"][pair["chosen"]],
            line["completions"][pair["rejected"]],
            line["weight"],
            line["ranks"][pair["rejected"]] - line["ranks"][pair["chosen"]],
            line["ratings"][pair["chosen"]] - line["ratings"][pair["rejected"]],
        )
        for line in written.lines("rm")
        for pair in line["pairs"]
    ]
    assert len(flat) == 5 + 10
    assert all("margin" not in line for line in written.lines("rm_pairs"))


def test_texts_leave_exactly_as_they_were_written(day, export):
    prompt = day.prompt("    Mend this:\n\ta()  ")
    answers.demonstration(day.demonstrations, prompt, day.labeler, "    return x²  ")
    texts = [" x²", "x2", "", "    if x:\r\n        a()\n\n", "cafe\u0301 \u200b", "if x:\n    a()"]
    policies = [make.policy() for _ in texts]
    slate = [make.completion(prompt, policy, text) for policy, text in zip(policies, texts, strict=True)]
    answers.ranking(answers.slate(day.rankings, prompt, slate), day.labeler, [1, 2, 3, 4, 5, 6])
    written = export()
    (sft,), (rm,) = written.lines("sft"), written.lines("rm")
    for line in (sft, rm):
        assert line["prompt"] == [{"role": "user", "content": "    Mend this:\n\ta()  "}]
    assert sft["completion"][0]["content"] == "    return x²  "
    assert [completion[0]["content"] for completion in rm["completions"]] == texts
    # None of them equals another.
    assert (len(rm["pairs"]), rm["identical_pairs"]) == (15, 0)
    flat = written.lines("rm_pairs")
    assert (flat[0]["chosen"][0]["content"], flat[0]["rejected"][0]["content"]) == (" x²", "x2")


def test_completions_are_identical_if_their_line_ends_and_outer_blank_lines_alone_differ(day, export):
    prompt = day.prompt("Mend this.")
    texts = ["if x:\n    a()", "\r\nif x:\r\n    a()\r\n", "if x:\n  a()", "café", "cafe\u0301", "Café"]
    slate = [make.completion(prompt, make.policy(), text) for text in texts]
    answers.ranking(answers.slate(day.rankings, prompt, slate), day.labeler, [1, 2, 3, 4, 5, 6])
    (line,) = export().lines("rm")
    assert (len(line["pairs"]), line["tied_pairs"], line["identical_pairs"]) == (13, 0, 2)


def test_ppo_prompts_are_customers_only_and_need_no_answer(day, export):
    asked = day.prompt("A customer's question.", source=Source.CUSTOMER)
    day.prompt("A labeler's invention.")
    lines = export().lines("ppo")
    assert lines == [
        {
            "prompt": [{"role": "user", "content": "A customer's question."}],
            "split": "train",
            "prompt_id": asked.id,
            "group": f"group-{asked.group_id}",
            "source": "customer",
            "category": "",
            "prompt_kind": "plain",
            "language": "en",
            "priority": 0,
        }
    ]


def test_equal_customer_prompts_of_two_pools_are_one_ppo_prompt(day, export):
    asked = day.prompt("The same question.", source=Source.CUSTOMER)
    elsewhere = make.pool()
    make.prompt(elsewhere, "The same question.", in_group=asked.group, source=Source.CUSTOMER)
    day.instructions.pool = elsewhere
    day.instructions.save()
    written = export()
    assert [line["prompt_id"] for line in written.lines("ppo")] == [asked.id]
    assert written.manifest["left_out"]["ppo_equal_prompt"] == 1


def test_customer_prompts_that_differ_in_a_superscript_or_in_indentation_are_several_ppo_prompts(day, export):
    texts = ["Solve x².", "Solve x2.", "Mend:\nif x:\n    a()", "Mend:\nif x:\na()"]
    asked = [day.prompt(text, source=Source.CUSTOMER) for text in texts]
    written = export()
    assert [line["prompt_id"] for line in written.lines("ppo")] == [prompt.id for prompt in asked]
    assert written.manifest["left_out"]["ppo_equal_prompt"] == 0


def test_the_split_of_the_group_names_the_file(day, export):
    for split in Split:
        prompt = day.prompt(f"For {split}.", split, Source.CUSTOMER)
        answers.demonstration(day.demonstrations, prompt, day.labeler)
        answers.ranking(day.slate(prompt, "ABCD"), day.labeler, [1, 2, 3, 4])
    written = export()
    for kind in ("sft", "rm", "rm_pairs", "ppo"):
        for split in Split:
            texts = {line["prompt"][0]["content"] for line in written.lines(kind, split)}
            assert texts == {f"For {split}."}


def test_answers_of_campaigns_that_were_not_asked_for_stay(day, export):
    other = make.campaign(over=day.pool)
    answers.demonstration(other, day.prompt("Elsewhere."), day.labeler)
    assert export().lines("sft") == []


def choices(*texts_and_ranks):
    return [Choice(number, text, text, "p@1", rank, 4, "{}") for number, (text, rank) in enumerate(texts_and_ranks)]


@pytest.mark.parametrize(
    ("ranks", "won", "tied"),
    # The pairs and ties of InstructGPT's rule ("ties were dropped", C.2), by hand.
    [
        ([1, 2, 3, 4], [(0, 1), (0, 2), (0, 3), (1, 2), (1, 3), (2, 3)], 0),
        ([1, 2, 2, 4], [(0, 1), (0, 2), (0, 3), (1, 3), (2, 3)], 1),
        ([1, 1, 1, 1], [], 6),
        ([2, 1, 2, 1], [(1, 0), (3, 0), (1, 2), (3, 2)], 2),
    ],
)
def test_pairs_are_what_one_completion_wins(ranks, won, tied):
    pairs, found_tied, identical = compare(choices(*zip("ABCD", ranks, strict=True)))
    assert [(pair["chosen"], pair["rejected"]) for pair in pairs] == won
    assert (found_tied, identical) == (tied, 0)


def test_equal_texts_never_make_a_pair_however_they_were_ranked():
    pairs, tied, identical = compare(choices(("A", 1), ("A", 2), ("B", 3), ("B", 3)))
    assert [(pair["chosen"], pair["rejected"]) for pair in pairs] == [(0, 2), (0, 3), (1, 2), (1, 3)]
    assert (tied, identical) == (0, 2)


@pytest.mark.parametrize("state", [State.SUBMITTED, State.SENT_BACK, State.LEASED])
def test_what_was_not_accepted_never_enters(day, export, state):
    prompt = day.prompt("Not yet.")
    answers.demonstration(day.demonstrations, prompt, day.labeler, state=state)
    answers.ranking(day.slate(prompt, "ABCD"), day.labeler, [1, 2, 3, 4], state=state)
    shots = {"instruction": "x", "pairs": [{"query": "a", "response": "b"}, {"query": "c", "response": "d"}]}
    answers.few_shot(day.instructions, day.labeler, day.prompt("shots", kind=Kind.FEW_SHOT, shots=shots), state=state)
    written = export()
    assert written.manifest["files"] == []
    reason = "waiting_for_review" if state == State.SUBMITTED else "not_accepted"
    assert written.manifest["left_out"][reason] == 3


def test_held_out_labelers_never_enter(day, export):
    prompt = day.prompt("Held out.")
    answers.demonstration(day.demonstrations, prompt, day.held_out)
    answers.ranking(day.slate(prompt, "ABCD"), day.held_out, [1, 2, 3, 4])
    written = export()
    assert written.manifest["files"] == []
    assert written.manifest["left_out"]["held_out_labeler"] == 2


def test_a_prompt_rewritten_from_one_of_a_held_out_labeler_never_enters(day, export):
    theirs = day.prompt("Written by hedy.", author=day.held_out)
    once = day.prompt("Written by hedy, and made clearer.", author=day.labeler, parent=theirs)
    twice = day.prompt("Written, and made clearer.", parent=once, source=Source.CUSTOMER)
    for prompt in (once, twice):
        answers.demonstration(day.demonstrations, prompt, day.labeler)
    written = export()
    assert written.manifest["files"] == []
    assert written.manifest["left_out"]["held_out_author"] == 2


def test_a_prompt_that_a_held_out_labeler_wrote_never_enters(day, export):
    theirs = day.prompt("Written by hedy.", author=day.held_out, source=Source.CUSTOMER)
    answers.demonstration(day.demonstrations, theirs, day.labeler)
    written = export()
    assert written.manifest["files"] == []
    assert written.manifest["left_out"]["held_out_author"] == 1


def test_instructions_that_give_no_example_are_counted(day, export):
    answers.few_shot(day.instructions, day.labeler, None)
    plain = answers.few_shot(day.instructions, day.labeler, day.prompt("Just an instruction."))
    plain.kind = Kind.PLAIN
    plain.save()
    left_out = export().manifest["left_out"]
    assert (left_out["instruction_without_prompt"], left_out["instruction_only"]) == (1, 1)


def test_several_answers_to_a_prompt_stand_together(day, export):
    first, second = day.prompt("First."), day.prompt("Second.")
    people = [day.labeler, make.user(), make.user()]
    for person in people:
        for prompt in (second, first):
            answers.demonstration(day.demonstrations, prompt, person)
    assert Task.objects.count() == 2
    prompts = [line["prompt_id"] for line in export().lines("sft")]
    assert prompts == [first.id] * 3 + [second.id] * 3


def test_an_answer_says_how_long_its_labeler_worked_on_it(day, export):
    written = answers.demonstration(day.demonstrations, day.prompt("One."), day.labeler)
    ranked = answers.ranking(day.slate(day.prompt("Two."), "ABCD"), day.labeler, [1, 2, 3, 4])
    Assignment.objects.filter(id__in=[written.assignment_id, ranked.assignment_id]).update(active_seconds=95)
    found = export()
    for kind in ("sft", "rm", "rm_pairs"):
        assert {line["active_seconds"] for line in found.lines(kind)} == {95}


def test_what_was_submitted_after_the_export_began_waits_for_the_next_one(day, export):
    written = answers.demonstration(day.demonstrations, day.prompt("One."), day.labeler)
    Assignment.objects.filter(id=written.assignment_id).update(submitted_at=make.NOW + make.MINUTE)
    assert export("now").lines("sft") == []
    assert len(export("later", now=make.NOW + make.MINUTE).lines("sft")) == 1
