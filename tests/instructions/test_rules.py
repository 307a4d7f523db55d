import pytest

from annotate.instructions.rules import Text, filled_pairs, needs_pairs, original, prompt_draft, unchanged
from annotate.pools.models import Kind, Source
from annotate.pools.rules import prepare

PAIRS = [{"query": "Good film", "response": "Positive"}, {"query": "Bad film", "response": "Negative"}]
SHOTS = {"instruction": "Give the sentiment", "pairs": PAIRS}
TURNS = [
    {"role": "user", "content": "Hello"},
    {"role": "assistant", "content": "Hello. What is it?"},
    {"role": "user", "content": "Tell me a story"},
]


def source(messages=None, shots=None, kind=Kind.PLAIN):
    return original(
        messages=messages or [{"role": "user", "content": "Tell me a story"}],
        shots=shots,
        kind=kind,
        category="generation",
        language="de",
        licence="CC0",
    )


def test_of_a_conversation_the_last_message_is_rewritten_and_the_rest_stays():
    found = source(TURNS)
    assert found.text == Text("Tell me a story")
    draft = prompt_draft(Text("Tell me a story about a frog"), kind=Kind.PLAIN, category="chat", source=found)
    assert [message["content"] for message in draft.messages] == [
        "Hello",
        "Hello. What is it?",
        "Tell me a story about a frog",
    ]


def test_of_a_few_shot_prompt_the_instruction_and_its_pairs_are_rewritten():
    found = source(shots=SHOTS, kind=Kind.FEW_SHOT)
    assert found.text == Text("Give the sentiment", tuple(PAIRS))
    assert needs_pairs(found.kind, found)
    draft = prompt_draft(found.text, kind=Kind.FEW_SHOT, category="classification", source=found)
    assert (draft.messages, draft.shots) == ((), SHOTS)
    assert prepare(draft).shots == SHOTS


def test_a_few_shot_prompt_imported_as_one_text_is_rewritten_as_one():
    assert not needs_pairs(Kind.FEW_SHOT, source(kind=Kind.FEW_SHOT))


def test_a_new_few_shot_instruction_needs_pairs_and_others_do_not():
    assert needs_pairs(Kind.FEW_SHOT, None)
    assert not needs_pairs(Kind.USER_BASED, None)


def test_a_rewriting_keeps_language_and_licence_and_becomes_a_labelers():
    draft = prompt_draft(Text("Shorter"), kind=Kind.PLAIN, category="other", source=source())
    assert (draft.language, draft.licence, draft.source) == ("de", "CC0", Source.LABELER)


@pytest.mark.parametrize("new", ["Tell me a café story", "\r\n \nTell me a cafe\u0301 story\r\n"])
def test_blank_lines_around_a_text_change_nothing(new):
    assert unchanged(Text("Tell me a café story"), Text(new))


@pytest.mark.parametrize(
    "new", ["Tell me a Story", "Tell me a story.", " Tell me a story", "Tell me a\nstory", "Tell me a  story"]
)
def test_a_letter_a_stop_or_white_space_is_a_change(new):
    assert not unchanged(Text("Tell me a story"), Text(new))


def test_indentation_is_a_change():
    code = "Mend this:\nif x:\n    a()\n    b()"
    assert not unchanged(Text(code), Text(code.replace("    b()", "b()")))
    assert not unchanged(
        Text("i", ({"query": code, "response": "r"},)), Text("i", ({"query": code[:-7], "response": "r"},))
    )


def test_another_pair_is_a_change():
    assert not unchanged(Text("i", tuple(PAIRS)), Text("i", tuple(PAIRS[:1])))


def test_a_pair_cut_into_two_is_a_change_although_its_text_reads_the_same():
    last = {"query": "x", "response": "y"}
    whole = ({"query": "a", "response": "b\n\nInput: c\nOutput: d"}, last)
    cut = ({"query": "a", "response": "b"}, {"query": "c", "response": "d"}, last)
    moved = ({"query": "a\nOutput: b", "response": "c"}, last)
    back = ({"query": "a", "response": "b\nOutput: c"}, last)
    assert str(Text("i", whole)) == str(Text("i", cut))
    assert not unchanged(Text("i", whole), Text("i", cut))
    assert not unchanged(Text("i", moved), Text("i", back))


def test_blank_lines_around_the_texts_of_a_pair_change_nothing():
    framed = ({"query": "\r\nGood film", "response": "Positive\n\n"}, PAIRS[1])
    assert unchanged(Text("i", tuple(PAIRS)), Text("i", framed))


def test_pairs_left_empty_do_not_count_and_half_filled_ones_do():
    assert filled_pairs(["a", " ", "c", "\u200b"], ["b", "", "", "\u3164"]) == [
        {"query": "a", "response": "b"},
        {"query": "c", "response": ""},
    ]


def test_a_response_without_a_query_is_not_lost():
    assert filled_pairs([], ["b"]) == [{"query": "", "response": "b"}]
