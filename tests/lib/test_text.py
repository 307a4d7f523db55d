import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from annotate.lib.text import Op, Piece, folded, storable, text_hash, tidy, word_diff

tokens = st.sampled_from(["the", "a", "cat", " ", "  ", "\n", "\n\n", ".", "!", ",", "é", "猫", "。"])
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
    ("old", "new"),
    [
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
    begun = time.monotonic()
    assert word_diff(old, new)
    assert time.monotonic() - begun < 5


def test_a_long_text_with_one_changed_word_shows_that_word():
    lines = [f"Line {i} says something. And then it says more." for i in range(2500)]
    changed = [*lines[:1200], "Line 1200 says nothing. And then it says more.", *lines[1201:]]
    pieces = word_diff("\n".join(lines), "\n".join(changed))
    assert [piece for piece in pieces if piece.op != Op.SAME] == [
        Piece(Op.REMOVED, "something"),
        Piece(Op.ADDED, "nothing"),
    ]


def test_tidying_keeps_what_carries_meaning():
    assert tidy("\r\n \n    indented code  \r\n\tmore\n\n") == "    indented code  \n\tmore"
    assert tidy("e\u0301") == "\u00e9"


def test_texts_that_differ_in_spacing_or_in_compatibility_characters_are_one():
    assert folded("  ﬁne\u00a0 print\n") == "fine print"
    assert text_hash("Fine  print") == text_hash(" Fine\nprint ")
    assert text_hash("Fine print") != text_hash("fine print")


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
