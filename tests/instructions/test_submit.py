"""New and rewritten instructions, and the prompts they become."""

import pytest
from django.db import transaction
from django.http import QueryDict
from django.utils import timezone

from annotate.instructions import actions as edits_actions
from annotate.instructions import tasks
from annotate.instructions.actions import add_briefs, settle, sweep
from annotate.instructions.forms import NOTHING_CHANGED, QUERY_MISSING, RESPONSE_MISSING
from annotate.instructions.models import Instruction, Reason
from annotate.instructions.workflow import INSTRUCTIONS
from annotate.pools.models import Category, Kind, Prompt, Source
from annotate.pools.rules import content_hash
from annotate.work.campaigns import change_campaign, change_state
from annotate.work.models import Assignment, Event
from annotate.work.review import send_back
from annotate.work.states import CampaignState, Move, State
from exports.queries import left_out
from tests import factories as make
from tests.desk.conftest import filled, make_prompts

PAIRS = {"query": ["Good film", "Bad film", ""], "response": ["Positive", "Negative", ""]}


def rewriting(**fields):
    return {"text": "Write a poem about a frog.", "reasons": ["underspecified"], "category": "generation"} | fields


@pytest.fixture
def briefs(db):
    """An instruction campaign that asks for one new instruction of a kind."""

    def open_campaign(kind=Kind.PLAIN, **fields):
        campaign = make.campaign("instructions", rewrite_pool=False, target_pool=make.pool(), **fields)
        use_cases = ["Plan a trip"] if kind == Kind.USER_BASED else []
        add_briefs(campaign=campaign, kind=kind, count=1, use_cases=use_cases, now=make.NOW)
        return campaign

    return open_campaign


def test_an_accepted_rewriting_becomes_a_prompt_with_its_lineage(labeler, instructions):
    campaign = instructions()
    me = labeler(campaign)
    held = me.take(campaign)
    Prompt.objects.filter(id=held.task.prompt_id).update(language="de", licence="CC0")
    me.submit(held, **rewriting(note="It asked for nothing.", reasons=["underspecified", "other"]))
    make_prompts()
    row = Instruction.objects.get()
    assert (row.kind, row.category, row.note) == (Kind.PLAIN, Category.GENERATION, "It asked for nothing.")
    assert row.reasons == [Reason.UNDERSPECIFIED, Reason.OTHER]
    made = row.prompt
    assert made.messages == [{"role": "user", "content": "Write a poem about a frog."}]
    assert (made.pool, made.parent_id, made.author) == (
        campaign.instructionsettings.target_pool,
        held.task.prompt_id,
        me.user,
    )
    assert (made.kind, made.source, made.category) == (Kind.PLAIN, Source.LABELER, Category.GENERATION)
    assert (made.language, made.licence) == ("de", "CC0")
    assert made.group_id == held.task.prompt.group_id


def test_it_becomes_one_when_it_cannot_be_taken_back_any_more(labeler, instructions):
    campaign = instructions(prompts=3)
    me, other = labeler(campaign), labeler(campaign)
    me.submit(me.take(campaign), **rewriting())
    row = Instruction.objects.get()
    submitted = row.assignment.submitted_at
    sweep(now=submitted + 4 * make.MINUTE)
    assert not campaign.instructionsettings.target_pool.prompts.exists()
    sweep(now=submitted + 5 * make.MINUTE)
    row.refresh_from_db()
    assert row.prompt == campaign.instructionsettings.target_pool.prompts.get()
    # The manager allows more time from now on. Whoever submitted before has had theirs.
    change_campaign(campaign=campaign, undo_minutes=60)
    assert me.post("undo", row.assignment_id).url == "/desk/"
    row.assignment.refresh_from_db()
    assert row.assignment.state == State.ACCEPTED
    other.submit(other.take(campaign), **rewriting(text="Write to a frog."))
    sweep(now=submitted + 30 * make.MINUTE)
    assert campaign.instructionsettings.target_pool.prompts.count() == 1


def test_a_worker_looks_every_half_minute(labeler, instructions, settings):
    campaign = instructions(undo_minutes=0)
    me = labeler(campaign)
    me.submit(me.take(campaign), **rewriting())
    planned = settings.CELERY_BEAT_SCHEDULE["create prompts from instructions"]
    assert planned == {"task": tasks.sweep.name, "schedule": 30.0}
    tasks.sweep()
    assert campaign.instructionsettings.target_pool.prompts.count() == 1


def test_in_a_closed_campaign_nothing_is_taken_back_so_it_becomes_one_at_once(labeler, instructions):
    campaign = instructions()
    me = labeler(campaign)
    me.submit(me.take(campaign), **rewriting())
    change_state(campaign=campaign, to=CampaignState.CLOSED, now=timezone.now())
    sweep(now=timezone.now())
    assert campaign.instructionsettings.target_pool.prompts.count() == 1


def test_an_export_has_the_instructions_that_were_submitted_before_it(labeler, instructions):
    campaign = instructions()
    me = labeler(campaign)
    held = me.take(campaign)
    me.submit(held, **rewriting())
    settle(campaigns=[campaign.id], now=timezone.now())
    assert campaign.instructionsettings.target_pool.prompts.count() == 1
    me.post("undo", held.id)
    assert Instruction.objects.get().prompt is not None


def test_an_instruction_that_fails_does_not_stop_the_others(labeler, instructions, monkeypatch, caplog):
    campaign = instructions(prompts=3)
    people = [labeler(campaign) for _ in range(2)]
    for number, me in enumerate(people):
        me.submit(me.take(campaign), **rewriting(text=f"Write to {number} frogs."))
    add = edits_actions.add_prompt

    def fail_once(*, draft, **more):
        if "0 frogs" in draft.messages[-1]["content"]:
            raise RuntimeError("broken")
        return add(draft=draft, **more)

    monkeypatch.setattr(edits_actions, "add_prompt", fail_once)
    make_prompts()
    assert "could not become a prompt" in caplog.text
    assert campaign.instructionsettings.target_pool.prompts.get().text == "Write to 1 frogs."
    monkeypatch.undo()
    make_prompts()
    assert campaign.instructionsettings.target_pool.prompts.count() == 2


def test_an_instruction_that_fails_when_an_export_begins_is_counted_as_left_out(labeler, briefs, monkeypatch):
    campaign = briefs(Kind.FEW_SHOT)
    me = labeler(campaign)
    me.submit(me.take(campaign), text="Give the sentiment", category="classification", **PAIRS)
    assert not any(left_out([campaign]).values()), "an export would make its prompt"

    def fail(**_prompt):
        raise RuntimeError("broken")

    monkeypatch.setattr(edits_actions, "add_prompt", fail)
    settle(campaigns=[campaign.id], now=timezone.now())
    assert left_out([campaign])["instruction_without_prompt"] == 1
    monkeypatch.undo()
    settle(campaigns=[campaign.id], now=timezone.now())
    assert not any(left_out([campaign]).values())


def test_an_instruction_to_be_reviewed_becomes_a_prompt_when_it_is_accepted(labeler, instructions):
    campaign = instructions(review_percent=100)
    me = labeler(campaign)
    held = me.take(campaign)
    me.submit(held, **rewriting())
    assert Instruction.objects.get().prompt is None
    accepted = INSTRUCTIONS.accept(assignment_id=held.id, reviewer=make.user("reviewer"), comment="", now=make.NOW)
    assert accepted.state == State.ACCEPTED
    assert Instruction.objects.get().prompt.text == "Write a poem about a frog."


def test_a_sent_back_instruction_becomes_none(labeler, instructions):
    campaign = instructions(review_percent=100)
    me = labeler(campaign)
    held = me.take(campaign)
    me.submit(held, **rewriting())
    with transaction.atomic():
        send_back(assignment_id=held.id, reviewer=make.user("reviewer"), comment="Clearer", now=make.NOW)
    assert not campaign.instructionsettings.target_pool.prompts.exists()
    me.post("resume", held.id)
    assert me.get("task", held.id).context["form"]["text"].value() == "Write a poem about a frog."
    me.submit(held, **rewriting(text="Write two lines about a frog."))
    kept = Event.objects.filter(move=Move.SUBMIT).latest("id").detail["replaces"]
    assert kept["text"] == "Write a poem about a frog."
    assert Instruction.objects.get().text == "Write two lines about a frog."


def test_an_equal_prompt_in_the_pool_leaves_the_answer_accepted_with_the_reason(labeler, instructions):
    campaign = instructions()
    me = labeler(campaign)
    held = me.take(campaign)
    text = "Write a poem about a frog."
    same = content_hash([{"role": "user", "content": text}])
    there = make.prompt(campaign.instructionsettings.target_pool, text, content_hash=same)
    me.submit(held, **rewriting())
    make_prompts()
    row = Instruction.objects.get()
    assert row.assignment.state == State.ACCEPTED
    assert row.prompt is None
    assert str(there.id) in row.refusal
    assert campaign.instructionsettings.target_pool.prompts.count() == 1


def test_what_the_campaign_brought_forth_is_not_to_be_rewritten_by_it(labeler):
    pool = make.pool()
    make.prompt(pool, "Say something")
    campaign = filled(make.campaign("instructions", over=pool, target_pool=pool))
    me = labeler(campaign)
    me.submit(me.take(campaign), **rewriting())
    make_prompts()
    assert pool.prompts.count() == 2
    assert INSTRUCTIONS.fill(campaign=campaign, now=make.NOW) == 0
    # For another campaign it is a prompt like all others.
    assert INSTRUCTIONS.fill(campaign=make.campaign("instructions", over=pool), now=make.NOW) == 2


@pytest.mark.parametrize(
    "same", ["Write something about a frog, number 0.", "\r\n \r\nWrite something about a frog, number 0.\r\n"]
)
def test_an_unchanged_text_is_refused(labeler, instructions, same):
    campaign = instructions()
    me = labeler(campaign)
    response = me.submit(me.take(campaign), **rewriting(text=same))
    assert response.status_code == 422
    assert str(NOTHING_CHANGED) in response.content.decode()
    assert not Instruction.objects.exists()


def test_changed_indentation_is_a_change_and_makes_a_prompt(labeler, instructions):
    campaign = instructions()
    me = labeler(campaign)
    response = me.submit(me.take(campaign), **rewriting(text="    Write something about a frog, number 0."))
    make_prompts()
    assert response.status_code != 422
    made = Instruction.objects.get().prompt
    assert made.text == "    Write something about a frog, number 0."
    assert made.group == made.parent.group


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"text": ""}, "Write the instruction first."),
        ({"text": " \n"}, "is empty"),
        ({"reasons": []}, "Choose at least one reason."),
        ({"reasons": ["bored"]}, "Select a valid choice"),
        ({"category": ""}, "Choose what the instruction is for."),
        ({"category": "poetry"}, "Select a valid choice"),
        ({"text": "x" * 200_001}, "longer than 200000 characters"),
        ({"text": "a\x00b"}, "Null characters are not allowed."),
    ],
)
def test_what_is_wrong_is_said_and_what_was_typed_stays(labeler, instructions, fields, words):
    campaign = instructions()
    me = labeler(campaign)
    held = me.take(campaign)
    response = me.submit(held, **rewriting(note="Keep this", **fields))
    page = response.content.decode()
    assert response.status_code == 422
    assert words in page
    assert "Keep this" in page
    assert Assignment.objects.get(id=held.id).state == State.LEASED


def test_a_rewriting_starts_from_its_source(labeler, instructions):
    campaign = instructions()
    me = labeler(campaign)
    form = me.get("task", me.take(campaign).id).context["form"]
    assert form["text"].value() == "Write something about a frog, number 0."
    assert form["category"].value() == "generation"


def test_the_last_message_of_a_conversation_is_rewritten(labeler):
    pool = make.pool()
    turns = [
        {"role": "user", "content": "Hello"},
        {"role": "assistant", "content": "Hello!"},
        {"role": "user", "content": "Story?"},
    ]
    make.prompt(pool, "Hello", messages=turns)
    campaign = filled(make.campaign("instructions", over=pool, target_pool=make.pool()))
    me = labeler(campaign)
    me.submit(me.take(campaign), **rewriting(text="Tell me a story."))
    make_prompts()
    made = Instruction.objects.get().prompt
    assert made.messages == [*turns[:2], {"role": "user", "content": "Tell me a story."}]


def test_a_new_plain_instruction_has_no_reasons_and_no_source(labeler, briefs):
    campaign = briefs()
    me = labeler(campaign)
    held = me.take(campaign)
    page = me.get("task", held.id)
    assert "Write an instruction for any task" in page.content.decode()
    assert "reasons" not in page.context["form"].fields
    me.submit(held, text="Name three frogs.", category="open_qa")
    make_prompts()
    made = Instruction.objects.get().prompt
    assert (made.text, made.parent, made.author, made.kind) == ("Name three frogs.", None, me.user, Kind.PLAIN)


def test_a_user_based_instruction_shows_its_use_case(labeler, briefs):
    campaign = briefs(Kind.USER_BASED)
    me = labeler(campaign)
    held = me.take(campaign)
    assert "Plan a trip" in me.get("task", held.id).content.decode()
    me.submit(held, text="Where shall I go in May?", category="open_qa")
    make_prompts()
    assert Instruction.objects.get().prompt.kind == Kind.USER_BASED
    assert "Plan a trip" in me.get("answer", held.id).content.decode()


def test_a_few_shot_instruction_becomes_one_prompt_with_its_pairs(labeler, briefs):
    campaign = briefs(Kind.FEW_SHOT)
    me = labeler(campaign)
    me.submit(me.take(campaign), text="Give the sentiment", category="classification", **PAIRS)
    make_prompts()
    row = Instruction.objects.get()
    pairs = [{"query": "Good film", "response": "Positive"}, {"query": "Bad film", "response": "Negative"}]
    assert row.pairs == pairs
    assert row.prompt.shots == {"instruction": "Give the sentiment", "pairs": pairs}
    assert row.prompt.kind == Kind.FEW_SHOT


@pytest.mark.parametrize(
    ("pairs", "words"),
    [
        ({}, "Write at least two pairs"),
        ({"query": ["a"], "response": ["b"]}, "Write at least two pairs"),
        ({"query": ["a", "c"], "response": ["b", ""]}, str(RESPONSE_MISSING)),
        ({"query": ["a", " "], "response": ["b", "d"]}, str(QUERY_MISSING)),
        ({"query": ["q"] * 31, "response": ["r"] * 31}, "Write at most 30 pairs."),
    ],
)
def test_pairs_that_are_none_are_refused_and_stay_as_typed(labeler, briefs, pairs, words):
    campaign = briefs(Kind.FEW_SHOT)
    me = labeler(campaign)
    response = me.submit(me.take(campaign), text="Sort it", category="other", **pairs)
    assert response.status_code == 422
    assert words in response.content.decode()
    assert [row.query for row in response.context["form"].rows][: len(pairs.get("query", []))] == pairs.get("query", [])


def test_without_javascript_a_button_adds_a_pair_and_keeps_the_rest(labeler, briefs):
    campaign = briefs(Kind.FEW_SHOT)
    me = labeler(campaign)
    held = me.take(campaign)
    assert len(me.get("task", held.id).context["form"].rows) == 3
    filled_in = {"query": ["a", "b", "c"], "response": ["1", "2", "3"]}
    response = me.submit(held, text="Half", more_pairs="1", **filled_in)
    rows = response.context["form"].rows
    assert [(row.query, row.response) for row in rows] == [("a", "1"), ("b", "2"), ("c", "3"), ("", "")]
    assert "Half" in response.content.decode()
    assert "errorlist" not in response.content.decode()


def test_a_few_shot_prompt_of_the_pool_is_rewritten_pair_by_pair(labeler):
    pool = make.pool()
    shots = {"instruction": "Sentiment", "pairs": [{"query": "a", "response": "b"}, {"query": "c", "response": "d"}]}
    make.prompt(pool, "Sentiment", kind=Kind.FEW_SHOT, shots=shots)
    campaign = filled(make.campaign("instructions", over=pool, target_pool=make.pool()))
    me = labeler(campaign)
    held = me.take(campaign)
    assert me.get("task", held.id).context["form"].pairs == shots["pairs"]
    me.submit(held, **rewriting(text="Sentiment", category="classification", query=["a", "c"], response=["b", "x"]))
    make_prompts()
    assert Instruction.objects.get().prompt.shots["pairs"][1] == {"query": "c", "response": "x"}


def test_the_answer_shows_what_changed_word_by_word(labeler, instructions):
    campaign = instructions()
    me = labeler(campaign)
    held = me.take(campaign)
    me.submit(held, **rewriting(text="Write a poem about a frog, number 0."))
    page = me.get("answer", held.id).content.decode()
    assert "<del>something</del><ins>a poem</ins>" in page
    assert str(Reason.UNDERSPECIFIED.label) in page


def test_what_changes_is_shown_while_one_types(labeler, instructions):
    campaign = instructions()
    me = labeler(campaign)
    held = me.take(campaign)
    part = me.post("compare", held.id, data={"text": "Write a poem about a frog, number 0."}).content.decode()
    assert "<del>something</del><ins>a poem</ins>" in part
    assert "<html" not in part
    assert 'data-fact="unchanged"' in me.post("compare", held.id, data={"text": held.task.prompt.text}).content.decode()


def test_where_nothing_is_rewritten_nothing_is_compared(labeler, briefs):
    campaign = briefs()
    me = labeler(campaign)
    held = me.take(campaign)
    assert me.post("compare", held.id, data={"text": "x"}).content.decode().strip() == ""


def test_a_draft_that_is_no_form_of_ours_shows_the_form_all_the_same(labeler, instructions):
    campaign = instructions()
    me = labeler(campaign)
    held = me.take(campaign)
    draft = QueryDict("text=a&text=b&query=lonely")
    shown = INSTRUCTIONS.show(assignment=held, labeler=me.user, draft=draft, now=make.NOW)
    assert shown["form"]["text"].value() == "b"
