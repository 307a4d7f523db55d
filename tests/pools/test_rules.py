"""What a prompt is, when two are equal, and on which side of the split a group falls."""

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from annotate.pools import rules, split_rules
from annotate.pools.models import Kind, Source, Split
from annotate.pools.rules import BadPrompt, PromptDraft

SHOTS = {
    "instruction": "Give the sentiment of a tweet.",
    "pairs": [
        {"query": "I love it", "response": "Positive"},
        {"query": "I hate it", "response": "Negative"},
        {"query": "It is there", "response": "Neutral"},
    ],
}


def talk(*turns):
    """talk("u: hi", "a: hello") as messages"""
    roles = {"s": "system", "u": "user", "a": "assistant"}
    return [{"role": roles[turn[0]], "content": turn[3:]} for turn in turns]


def draft(*turns, **fields):
    return PromptDraft(messages=talk(*turns), **fields)


def prepared(text="u: hi", **fields):
    return rules.prepare(draft(text, **fields))


def asked(text, **fields):
    """A prompt of one message."""
    return rules.prepare(PromptDraft(messages=[{"role": "user", "content": text}], **fields))


@pytest.mark.parametrize("turns", [["u: hi"], ["s: be brief", "u: hi"], ["u: hi", "a: hello", "u: and you?"]])
def test_a_conversation_ends_with_the_user(turns):
    assert rules.canonical_messages(talk(*turns)) == talk(*turns)


@pytest.mark.parametrize(
    ("messages", "sentence"),
    [
        ([], "There is no prompt"),
        ("hi", "There is no prompt"),
        (None, "There is no prompt"),
        ([{"role": "user"}], "Message 1 is empty"),
        (talk("u:  \n\t"), "Message 1 is empty"),
        ([{"role": "user", "content": 7}], "Message 1 must be a text."),
        (["hi"], "Message 1 must have a role and a content."),
        ([{"role": "bot", "content": "hi"}], "Message 1 has the role “bot”"),
        ([{"role": ["user"], "content": "hi"}], "Message 1 has the role"),
        (talk("s: be brief"), "The last message must be from the user"),
        (talk("u: hi", "a: hello"), "The last message must be from the user"),
        (talk("a: hello", "u: hi"), "Message 1 must be from the user"),
        (talk("u: hi", "u: again"), "Message 2 must be from the assistant"),
        (talk("s: a", "u: hi", "u: again"), "Message 3 must be from the assistant"),
        (talk("u: hi", "s: stop"), "Message 2 is from the system"),
        (talk("u: a\x00b"), "Message 1 contains a character that cannot be stored"),
        (talk("u: \ud83d"), "Message 1 contains a character that cannot be stored"),
    ],
)
def test_what_is_no_conversation_is_refused_with_the_place(messages, sentence):
    with pytest.raises(BadPrompt) as refusal:
        rules.canonical_messages(messages)
    assert sentence in str(refusal.value)


def test_contents_are_tidied_without_changing_what_they_say():
    (message,) = rules.canonical_messages([{"role": "user", "content": "\r\n  Cafe\u0301  \r\nau lait \n"}])
    assert message == {"role": "user", "content": "  Café  \nau lait "}


def test_a_conversation_of_thousands_of_messages_is_refused():
    """Each page with it would take seconds, however short the messages are."""
    turns = ["u: a", "a: b"] * 499
    assert len(rules.prepare(draft("s: x", *turns, "u: c")).messages) == 1_000
    with pytest.raises(BadPrompt, match="has 1002 messages; the limit is 1000"):
        rules.prepare(draft("s: x", *turns, "u: c", "a: d", "u: e"))


def test_a_prompt_has_a_length_that_a_policy_could_read():
    assert rules.prepare(draft("u: " + "x" * 200_000))
    with pytest.raises(BadPrompt, match="longer than 200000 characters"):
        rules.prepare(draft("u: " + "x" * 200_001))


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        ({"kind": "poem"}, "plain, few_shot, user_based"),
        ({"source": "web"}, "labeler, customer"),
        ({"category": "poems"}, "generation, open_qa"),
        ({"language": "English"}, "“English” is not a language tag"),
        ({"language": "en-verylongthing"}, "is not a language tag"),
        ({"source_user": "x" * 201}, "The source user is longer than 200 characters"),
        ({"external_id": "x" * 201}, "The id in its source is longer than 200 characters"),
        ({"licence": "x" * 101}, "The licence is longer than 100 characters"),
        ({"source_user": "a\x00"}, "source user contains a character that cannot be stored"),
    ],
)
def test_columns_hold_what_they_may(fields, sentence):
    with pytest.raises(BadPrompt) as refusal:
        prepared(**fields)
    assert sentence in str(refusal.value)


def test_a_language_code_has_one_spelling():
    assert prepared(language="PT_br").draft.language == "pt-BR"


def test_a_prompt_is_listed_as_one_text():
    assert prepared("u: hi").text == "hi"
    conversation = rules.prepare(draft("s: be brief", "u: hi", "a: hello", "u: bye"))
    assert conversation.text == "System: be brief\n\nUser: hi\n\nAssistant: hello\n\nUser: bye"


@pytest.mark.parametrize("same", ["Caf\u00e9 menu", "Cafe\u0301 menu", "\r\n \nCafé menu\r\n\r\n"])
def test_blank_lines_around_it_and_decomposed_characters_make_no_other_prompt(same):
    assert asked(same).content_hash == asked("Café menu").content_hash


@pytest.mark.parametrize(
    "other", ["Area: x2 m", "Area: x² m ", " Area: x² m", "Area:  x² m", "Area:\nx² m", "Area: x²\u00a0m"]
)
def test_a_superscript_or_white_space_makes_another_prompt_in_the_same_group(other):
    one, another = asked("Area: x² m"), asked(other)
    assert one.content_hash != another.content_hash
    assert split_rules.group_key(one, author_id=None) == split_rules.group_key(another, author_id=None)


def test_a_prompt_keeps_its_indentation_and_the_spaces_at_its_end():
    assert asked("\n\n    if x:  \n        a()  \n\n").text == "    if x:  \n        a()  "


@pytest.mark.parametrize("blank", ["", "   ", "\u200b", "\ufeff", "\u00ad", "\u3164", " \u2060\n"])
def test_a_prompt_that_shows_nothing_is_refused_as_empty(blank):
    with pytest.raises(BadPrompt, match="Message 1 is empty"):
        asked(blank)


def test_other_words_case_roles_or_turns_make_another_prompt():
    conversations = [
        ["u: hi"],
        ["u: Hi"],
        ["u: hi there"],
        ["s: hi", "u: hi"],
        ["u: hi", "a: hi", "u: hi"],
        ["u: hi hi hi"],
    ]
    hashes = {rules.prepare(draft(*turns)).content_hash for turns in conversations}
    assert len(hashes) == len(conversations)
    assert {len(each) for each in hashes} == {64}


def test_the_last_pair_of_a_few_shot_prompt_is_asked():
    prompt = rules.prepare(PromptDraft(shots=SHOTS, kind=Kind.FEW_SHOT))
    assert prompt.text == (
        "Give the sentiment of a tweet.\n\n"
        "Input: I love it\nOutput: Positive\n\n"
        "Input: I hate it\nOutput: Negative\n\n"
        "Input: It is there\nOutput:"
    )
    assert prompt.shots == SHOTS


def test_k_pairs_make_k_examples_each_asked_for_once():
    examples = rules.shot_examples(SHOTS)
    assert [completion for _prompt, completion in examples] == ["Positive", "Negative", "Neutral"]
    for (prompt, completion), pair in zip(examples, SHOTS["pairs"], strict=True):
        assert prompt.endswith(f"\n\nInput: {pair['query']}\nOutput:")
        assert prompt.startswith("Give the sentiment of a tweet.\n\n")
        # The answer is not given away, and the K-1 others are there.
        assert f"Output: {completion}" not in prompt
        assert prompt.count("Input: ") == 3
    assert examples[-1][0] == rules.prepare(PromptDraft(shots=SHOTS, kind=Kind.FEW_SHOT)).text


@pytest.mark.parametrize(
    ("shots", "sentence"),
    [
        ({}, "at least two query/response pairs"),
        ({"instruction": "x", "pairs": SHOTS["pairs"][:1]}, "at least two query/response pairs"),
        ({"instruction": "x", "pairs": "two"}, "at least two query/response pairs"),
        ({"instruction": " ", "pairs": SHOTS["pairs"]}, "The instruction is empty"),
        ({"instruction": "x", "pairs": [*SHOTS["pairs"], {"query": "q"}]}, "The response of pair 4 is empty"),
        ({"instruction": "x", "pairs": ["q", "r"]}, "The query of pair 1 is empty"),
    ],
)
def test_incomplete_few_shot_prompts_are_refused(shots, sentence):
    with pytest.raises(BadPrompt) as refusal:
        rules.prepare(PromptDraft(shots=shots, kind=Kind.FEW_SHOT))
    assert sentence in str(refusal.value)


def test_pairs_belong_to_few_shot_prompts_and_make_their_text():
    with pytest.raises(BadPrompt, match="Only a few-shot prompt"):
        rules.prepare(PromptDraft(shots=SHOTS, kind=Kind.PLAIN))
    with pytest.raises(BadPrompt, match="not both"):
        rules.prepare(draft("u: hi", shots=SHOTS, kind=Kind.FEW_SHOT))


GREEK = "customer:\u0390"


@pytest.mark.parametrize(
    ("fields", "author", "key"),
    [
        ({"source": Source.CUSTOMER, "source_user": "Acme"}, None, "customer:acme"),
        ({"source": Source.CUSTOMER, "source_user": " ACME "}, 7, "customer:acme"),
        ({"source": Source.CUSTOMER, "source_user": "\ufeffAc\u00adme\u200b\u200e"}, None, "customer:acme"),
        ({"source": Source.CUSTOMER, "source_user": "\u0390"}, None, GREEK),
        ({"source": Source.CUSTOMER, "source_user": "\u03aa\u0301"}, None, GREEK),
        ({"source": Source.CUSTOMER, "source_user": "7.0"}, None, "customer:7"),
        ({"source": Source.CUSTOMER, "source_user": "\u200b"}, 7, "author:7"),
        ({"source_user": "\u200b"}, 7, "author:7"),
        ({"source_user": "w17"}, None, "labeler:w17"),
        ({"source_user": "w17"}, 7, "author:7"),
        ({}, 7, "author:7"),
    ],
)
def test_a_persons_prompts_share_a_group(fields, author, key):
    assert split_rules.group_key(prepared(**fields), author_id=author) == key


@given(st.text())
def test_a_key_of_a_name_is_its_own_key(name):
    """The migration of keys relies on it."""
    assert split_rules.name_key(split_rules.name_key(name)) == split_rules.name_key(name)


def test_a_name_that_shows_nothing_is_none():
    assert prepared(source=Source.CUSTOMER, source_user=" \u200b\u3164").draft.source_user == ""


def test_prompts_of_one_instruction_share_a_group_and_others_stand_alone():
    first = prepared("u: Translate.\n\nHund", instruction="Translate.")
    second = prepared("u: Translate.\n\nKatze", instruction="Translate. ")
    assert split_rules.group_key(first, author_id=None) == split_rules.group_key(second, author_id=None)
    shots = [
        rules.prepare(PromptDraft(shots=SHOTS | {"pairs": SHOTS["pairs"][n:]}, kind=Kind.FEW_SHOT)) for n in (0, 1)
    ]
    assert len({split_rules.group_key(each, author_id=None) for each in shots}) == 1


@pytest.mark.parametrize(
    ("fields", "key"),
    [
        ({"text": "Solve  x²,\nplease."}, "prompt:5efc61846a2432d43c7b56440b8452f847b8a1c31ad68b162cb416ff5f3c7f78"),
        (
            {"text": "x", "instruction": "Translate\n ²."},
            "instruction:0e5b6dbb704f1a45ddc2cf9ef3e2e668406abba0b596e0044793276388c9fdb4",
        ),
    ],
)
def test_the_key_of_a_stored_group_never_changes_since_its_split_was_drawn_from_it(fields, key):
    assert split_rules.group_key(asked(**fields), author_id=None) == key


def test_a_key_fits_its_column_however_long_a_name_folds_out():
    # One character that NFKC makes eighteen of.
    key = split_rules.group_key(prepared(source=Source.CUSTOMER, source_user="\ufdfa" * 200), author_id=None)
    assert len(key) <= 300


def test_the_split_is_the_same_at_every_try_and_depends_on_the_key():
    drawn = [split_rules.draw_split(f"customer:{n}", "secret", 0.5) for n in range(200)]
    assert drawn == [split_rules.draw_split(f"customer:{n}", "secret", 0.5) for n in range(200)]
    other = [split_rules.draw_split(f"customer:{n}", "another secret", 0.5) for n in range(200)]
    agreeing = sum(a == b for a, b in zip(drawn, other, strict=True))
    # 200 fair coins agree with 200 others 100 times, give or take 5 standard deviations of 7.1.
    assert 65 <= agreeing <= 135


@pytest.mark.parametrize("share", [0.05, 0.1, 0.5])
def test_the_share_of_valid_groups_is_the_one_asked_for(share):
    n = 20_000
    valid = Counter(split_rules.draw_split(f"prompt:{i}", "secret", share) for i in range(n))[Split.VALID]
    # Within 5 standard deviations of the binomial.
    assert abs(valid - n * share) < 5 * (n * share * (1 - share)) ** 0.5


@given(st.text(), st.floats(0.01, 0.5), st.floats(0.5, 0.99))
def test_a_larger_share_moves_no_group_back_to_train(key, small, large):
    if split_rules.draw_split(key, "secret", small) == Split.VALID:
        assert split_rules.draw_split(key, "secret", large) == Split.VALID


def test_pairs_whose_examples_would_fill_the_memory_are_refused():
    pairs = [{"query": "a", "response": "b"}] * 5000
    draft = PromptDraft(shots={"instruction": "x", "pairs": pairs}, kind=Kind.FEW_SHOT)
    with pytest.raises(BadPrompt, match="5000 pairs make 5000 training examples"):
        rules.prepare(draft)
    few = PromptDraft(shots={"instruction": "x", "pairs": pairs[:900]}, kind=Kind.FEW_SHOT)
    assert len(rules.prepare(few).hashes) == 1
