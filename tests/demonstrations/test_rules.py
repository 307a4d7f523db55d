import pytest

from annotate.demonstrations.forms import TOO_LONG, DemonstrationForm
from annotate.demonstrations.rules import MAX_CHARACTERS, Length, length


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", Length(0, 0)),
        ("One two  three\nfour", Length(4, 19)),
        ("蛙の話", Length(1, 3)),
    ],
)
def test_words_stand_between_white_space_and_characters_are_all_of_them(text, expected):
    assert length(text) == expected


def errors(text):
    form = DemonstrationForm({"text": text})
    return form.errors.get("text", [])


@pytest.mark.parametrize("text", ["", " \n ", "\u200b", "\u3164", "\u2800"])
def test_an_empty_answer_is_refused(text):
    assert errors(text) == ["Write your answer first."]


def test_a_hundred_thousand_characters_are_the_most():
    assert errors("x" * MAX_CHARACTERS) == []
    assert errors("x" * (MAX_CHARACTERS + 1)) == [TOO_LONG % {"characters": "100,001", "limit": "100,000"}]


def test_the_browsers_line_ends_do_not_count_twice():
    # Forms send \r\n for every line the labeler ended.
    form = DemonstrationForm({"text": "a\r\n" * (MAX_CHARACTERS // 2)})
    assert form.is_valid()
    assert form.cleaned_data["text"].endswith("a\na")


def test_indentation_stays_since_an_answer_may_be_code():
    form = DemonstrationForm({"text": "\r\n    return 1  \r\n\r\n\tx  \r\n  \r\n"})
    assert form.is_valid()
    assert form.cleaned_data["text"] == "    return 1  \n\n\tx  "


def test_a_character_that_no_row_can_hold_is_refused_not_a_server_error():
    assert errors("a\x00b") == ["Null characters are not allowed."]


def test_the_browser_is_not_told_to_cut_a_paste_short():
    assert "maxlength" not in str(DemonstrationForm()["text"])
