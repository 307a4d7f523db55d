import re
import time
import unicodedata

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from annotate.lib.diff import Op, Piece, word_diff
from annotate.lib.text import (
    composed,
    cut_before,
    equal,
    is_blank,
    loose_form,
    loose_hash,
    mended,
    storable,
    text_hash,
    tidy,
)

MARKS = ["\u0301", "\u093f", "\u0e49", "\u200c", "\u200d", "\ufe0f", "🏽", "👍", "🇩", "\U000e0067", "\r", "\u00a0"]
tokens = st.sampled_from(["the", "a", "cat", " ", "  ", "\n", "\n\n", ".", "!", ",", "é", "猫", "。", *MARKS])
words = st.lists(tokens).map("".join)


def marked(old: str, new: str) -> str:
    signs = {Op.SAME: "{}", Op.ADDED: "{{+{}}}", Op.REMOVED: "{{-{}}}"}
    return "".join(signs[piece.op].format(piece.text) for piece in word_diff(old, new))


@pytest.mark.parametrize(
    ("old", "new", "shown"),
    [
        ("", "", ""),
        ("", "New.", "{+New.}"),
        ("Old.", "", "{-Old.}"),
        ("Be kind.", "Be kind.", "Be kind."),
        ("Write a poem.", "Write a short poem.", "Write a {+short }poem."),
        ("hello world", "hello world again", "hello world{+ again}"),
        ("It costs 5, no?", "It costs 6, no?", "It costs {-5}{+6}, no?"),
        # A replaced phrase reads as one change, not as one change a word.
        ("The quick brown fox", "The slow red fox", "The {-quick brown}{+slow red} fox"),
        ("One.\n\nThree.", "One.\n\nTwo.\n\nThree.", "One.\n\n{+Two.\n\n}Three."),
        ("我喜欢猫。", "我喜欢狗。", "我喜欢{-猫}{+狗}。"),
        # Nothing is cut that a person sees as one character, and marks belong to their word.
        ("हिन्दी भाषा", "हिन्दू भाषा", "{-हिन्दी}{+हिन्दू} भाषा"),
        ("👨‍👩‍👧 x", "👨‍👩‍👦 x", "{-👨‍👩‍👧}{+👨‍👩‍👦} x"),
        ("👍🏽 x", "👍🏿 x", "{-👍🏽}{+👍🏿} x"),
        ("❤ x", "❤\ufe0f x", "{-❤}{+❤\ufe0f} x"),
        ("🇩🇪🇮🇹", "🇩🇰🇮🇹", "{-🇩🇪}{+🇩🇰}🇮🇹"),
        ("a\u0331\u0308 x", "a\u0331 x", "{-a\u0331\u0308}{+a\u0331} x"),
        ("می\u200cخواهم x", "میخواهم x", "{-می\u200cخواهم}{+میخواهم} x"),
        # Where no spaces are written, a change does not take the whole sentence with it.
        ("ภาษาไทย", "ภาษาไท้ย", "ภาษาไ{-ท}{+ท้}ย"),
    ],
)
def test_a_change_is_shown_by_the_word(old, new, shown):
    assert marked(old, new) == shown


@given(words, words)
def test_both_texts_can_be_read_from_their_difference(old, new):
    pieces = word_diff(old, new)
    assert "".join(piece.text for piece in pieces if piece.op != Op.ADDED) == old
    assert "".join(piece.text for piece in pieces if piece.op != Op.REMOVED) == new
    assert all(piece.text for piece in pieces)


@pytest.mark.parametrize(
    "whole",
    [
        "कि",
        "👨‍👩‍👧",
        "👍🏽",
        "❤\ufe0f",
        "1\ufe0f\u20e3",
        "🇩🇪",
        "🏴\U000e0067\U000e0062\U000e007f",
        "e\u0301",
        "א\u05b8",
    ],
)
def test_a_cut_divides_nothing_that_is_one_character(whole):
    text = f"ab{whole}{whole}c"
    allowed = {0, 1, 2, 2 + len(whole), 2 + 2 * len(whole), len(text)}
    for most in range(1, len(text)):
        assert cut_before(text, most) == max(place for place in allowed if place <= most)
    assert cut_before("a" + "\u0301" * 1_000, 500) == 500


@pytest.mark.parametrize(
    ("old", "new"),
    [
        pytest.param("👍\u200d" * 50_000, "👎\u200d" * 50_000, id="joined emoji"),
        pytest.param("कि" * 50_000, "की" * 50_000, id="vowel signs"),
        pytest.param("a " * 20_000, "a " * 10_000 + "b " * 10_000, id="one word over and over"),
        pytest.param("." * 100_000, "." * 99_999 + "x", id="dots only"),
        pytest.param(
            " ".join(f"w{i * 7 % 150}" for i in range(20_000)),
            " ".join(f"w{i * 11 % 149}" for i in range(20_000)),
            id="few words in another order",
        ),
        pytest.param("\n" * 50_000, "\n" * 49_000 + "end", id="blank lines"),
    ],
)
def test_no_pair_of_long_texts_stops_a_page(old, new):
    begun = time.process_time()
    assert word_diff(old, new)
    assert time.process_time() - begun < 5


def test_a_long_text_with_one_changed_word_shows_that_word():
    lines = [f"Line {i} says something. And then it says more." for i in range(2500)]
    changed = [*lines[:1200], "Line 1200 says nothing. And then it says more.", *lines[1201:]]
    pieces = word_diff("\n".join(lines), "\n".join(changed))
    assert [piece for piece in pieces if piece.op != Op.SAME] == [
        Piece(Op.REMOVED, "something"),
        Piece(Op.ADDED, "nothing"),
    ]


def test_tidying_keeps_what_carries_meaning():
    assert tidy("\r\n \n    indented code  \r\n\tmore  \n \n\n") == "    indented code  \n\tmore  "
    assert tidy("e\u0301") == "\u00e9"
    assert tidy(" \n\t") == tidy("  ") == tidy("") == ""


# Texts with much of what equality has to decide about.
texts = st.text(st.sampled_from("ab2²½ﬁ \t\n\r\u00a0\u200be\u0301éÅ\u212bㄱ가\u2028")) | st.text()


def normal(text):
    """The canonical form, told in another way."""
    text = re.sub("\r\n?", "\n", unicodedata.normalize("NFC", text))
    while "\n" in text and not text.partition("\n")[0].strip():
        text = text.partition("\n")[2]
    while "\n" in text and not text.rpartition("\n")[2].strip():
        text = text.rpartition("\n")[0]
    return text if text.strip() else ""


@given(texts, texts)
def test_texts_are_equal_exactly_if_their_canonical_forms_are(one, other):
    assert tidy(one) == normal(one)
    assert equal(one, other) == (tidy(one) == tidy(other)) == (text_hash(one) == text_hash(other))
    assert equal(one, other) == equal(other, one)


@given(texts)
def test_the_canonical_form_of_a_canonical_form_is_itself(text):
    assert tidy(tidy(text)) == tidy(text)
    assert equal(text, tidy(text))


@given(texts, st.sampled_from(["\n", "\r\n", "\r"]), st.integers(0, 3), st.integers(0, 3))
def test_blank_lines_around_a_text_and_the_kind_of_its_line_ends_make_no_other_text(text, end, before, after):
    around = (end + " \t") * before + end * bool(before) + tidy(text).replace("\n", end) + (end + " ") * after
    assert equal(text, around)


@given(
    texts, st.integers(0, 50), st.characters(exclude_categories=("Cs", "Mn", "Mc", "Me", "Lo", "Cc", "Zs", "Zl", "Zp"))
)
def test_every_visible_character_more_is_a_difference(text, at, character):
    assume(not is_blank(character))
    assert not equal(text, text[:at] + character + text[at:])


@given(texts, st.integers(0, 50), st.sampled_from([" ", "\t", "\n", "\u00a0"]))
def test_white_space_within_a_text_is_a_difference(text, at, space):
    text = f"|{text}|"
    at = 1 + at % (len(text) - 1)
    assume(not (text[at - 1] == "\r" or text[at] == "\r"))
    assert not equal(text, text[:at] + space + text[at:])


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("What is 2⁵?", "What is 25?"),
        ("H₂O", "H2O"),
        ("1½ miles", "11⁄2 miles"),
        ("ﬁne", "fine"),
        ("Ａ", "A"),
        ("Fine print", "fine print"),
        ("a b", "a  b"),
        ("a b", "a\nb"),
        ("a b", "a\u00a0b"),
        ("a\nb", "a\n\nb"),
        ("a\nb", "a \nb"),
        ("a", " a"),
        ("a", "a "),
        ("if x:\n    a()\n    b()", "if x:\n    a()\nb()"),
        ("if x:\n    a()", "if x:\n\ta()"),
    ],
)
def test_these_are_two_texts(one, other):
    assert not equal(one, other)
    assert text_hash(one) != text_hash(other)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("caf\u00e9", "cafe\u0301"),
        ("a\r\nb", "a\nb"),
        ("a\rb", "a\nb"),
        ("\n \n  a\n", "  a"),
        ("", " \r\n"),
        ("\u212b", "Å"),
    ],
)
def test_these_are_one_text(one, other):
    assert equal(one, other)
    assert text_hash(one) == text_hash(other)


def test_the_loose_form_of_names_sees_through_spacing_and_compatibility_characters():
    assert loose_form("  ﬁne\u00a0 print\n") == "fine print"
    assert loose_hash("Fine  print") == loose_hash(" Fine\nprint ")
    assert loose_hash("Fine print") != loose_hash("fine print")


@pytest.mark.parametrize(
    "text",
    [
        "",
        "  \n\t ",
        "\u200b\u200b",
        "\u2060 \ufeff",
        "\u00ad",
        "\u2028\u2029\x85\x00",
        "\u3164\u115f\uffa0",
        "\u2800",
        "\ufe0f",
        "\U000e0041",
    ],
)
def test_what_nobody_can_see_is_blank(text):
    assert is_blank(text)


@pytest.mark.parametrize("text", ["a", "…", "🐸", " 蛙 ", "\u0301", "\u200b.", "\ue000", "\U0001fae9", "\u0600"])
def test_anything_to_see_is_not(text):
    assert not is_blank(text)


def test_what_cannot_be_stored_is_replaced_and_nothing_else_is():
    assert mended(" a\x00b\r\n\ud83d\ude00 \ud83d. \ude00") == " a\ufffdb\r\n😀 \ufffd. \ufffd"
    untouched = "  caf\u0065\u0301\r\n\u200b \n"
    assert mended(untouched) is untouched
    assert storable(mended("\x00\ud83d"))


def test_what_postgresql_refuses_is_told_beforehand():
    assert storable("naïve 猫 🦊")
    assert not storable("a\x00b")
    assert not storable("half a pair: \ud83d")


def test_a_text_as_large_as_a_request_keeps_nobody_waiting():
    old, new = "a b " * 1000, "a b " * 2_500_000
    began = time.process_time()
    pieces = word_diff(old, new)
    assert time.process_time() - began < 2
    assert pieces == [Piece(Op.REMOVED, old), Piece(Op.ADDED, new)]
    assert word_diff(new, new) == [Piece(Op.SAME, new)]


MARKS = "\u0301\u0316\u0345\u0f73\u0344\u3099\uff9e\u05b0\U0001d165"


@given(
    st.text(st.one_of(st.sampled_from(MARKS), st.sampled_from("aéÅ가\u1100\u1161ﾞﬁ½ \n")), max_size=120),
    st.integers(0, 90),
)
def test_texts_are_composed_as_unicode_says(text, count):
    text = text + MARKS * (count // 9) + text
    assert composed(text) == unicodedata.normalize("NFC", text)
    assert loose_form(text) == " ".join(unicodedata.normalize("NFKC", text).split())


@pytest.mark.parametrize("unit", ["\u0301\u0316", "\u0f73", "\u0344\u0316", "\u0301\uff9e", "é\u0301\u0316" * 15])
def test_marks_upon_marks_take_no_longer_than_other_characters(unit):
    """Ordered one by one, they take minutes."""
    text = "a" + unit * (100_000 // len(unit)) + "\u0316" * 100_000
    began = time.process_time()
    tidy(text)
    loose_form(text)
    assert time.process_time() - began < 2
