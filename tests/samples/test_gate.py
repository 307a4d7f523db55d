"""Which completions are worth a labeler's time."""

import pytest

from annotate.samples.gate import ALIKE, Flaw, alike, flaw, read

LONG = " ".join(f"word{chr(97 + number % 26)}{chr(97 + number // 26)}" for number in range(60))


def changed(text, at, into):
    words = text.split()
    words[at] = into
    return " ".join(words)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("Tokyo.", "Tokyo."),
        ("Tokyo", "tokyo"),
        ("two  words\n", "Two words"),
        ("ﬁne", "fine"),
        (" Tokyo.", "Tokyo."),
        ("one\ntwo", "one\n\ntwo  \n"),
        ("if x:\n    a()", "\nif x:\n    A( )\n\n"),
        (LONG, changed(LONG, 30, "another")),
        (" ".join(LONG.split()[:21]), changed(" ".join(LONG.split()[:21]), 20, "another")),
        (LONG, LONG + " end"),
    ],
)
def test_these_are_alike(one, other):
    assert alike(read(one), read(other))
    assert alike(read(other), read(one))


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("Tokyo.", "Lisbon."),
        ("Tokyo", "Tokyo."),
        # One word is much of a short text.
        ("The capital of Japan is Tokyo.", "The capital of Japan is Kyoto."),
        # A number is never a small difference, nor is a sign in a sum.
        (LONG + " in 1914", LONG + " in 1915"),
        ("3 + 4", "3 - 4"),
        (LONG, " ".join(LONG.split()[:40])),
        # Said once, and said over and over.
        ("so it goes " * 3, "so it goes " * 30),
        ("東京は日本の首都です", "京都は日本の首都でした"),
        # Nor is what a character's form says, in a short text or in a long one.
        ("x²", "x2"),
        (LONG + " x²", LONG + " x2"),
        (LONG + " xⁿ", LONG + " xn"),
        (LONG + " H₂O", LONG + " H2O"),
        (LONG + " ½", LONG + " 1⁄2"),
        # Indentation decides what code does.
        ("for i in range(1, 4):\n    print(i)", "for i in range(1, 4):\nprint(i)"),
        ("    for i in x:\n        a()", "for i in x:\n    a()"),
        ("for i in x:\n    if i:\n        a()\n    b()", "for i in x:\n    if i:\n        a()\n        b()"),
        ("if x:\n    a()\nb()", "if x:\na()\n    b()"),
        ("if x:\n\ta()", "if x:\n    a()"),
        (f"    a()\n{LONG}", f"    a()\n    {LONG}"),
    ],
)
def test_these_are_not(one, other):
    assert not alike(read(one), read(other))


def test_the_measure_is_the_share_of_runs_of_three_words():
    # 58 runs each, of which a changed word in the middle takes 3: 55 / 61.
    assert 55 / 61 >= ALIKE > 54 / 62
    assert alike(read(LONG), read(changed(LONG, 30, "another")))
    assert not alike(read(LONG), read(changed(changed(LONG, 10, "another"), 30, "another")))


def test_what_does_not_pass_and_why():
    others = [read("something was said")]
    assert flaw(read(" \n "), cut_off=True, others=others) == Flaw.EMPTY
    assert flaw(read(" \n "), cut_off=False, others=others, empty_allowed=True) is None
    assert flaw(read("something was said"), cut_off=True, others=others) == Flaw.CUT_OFF
    assert flaw(read("Something was said"), cut_off=False, others=others) == Flaw.ALIKE
    assert flaw(read("something else was said"), cut_off=False, others=others) is None


@pytest.mark.parametrize("blank", ["", " \n ", "\u200b", "\u2060\n\ufeff", "\u3164"])
def test_what_shows_nothing_is_empty_and_like_everything_that_shows_nothing(blank):
    assert read(blank).empty
    assert flaw(read(blank), cut_off=False, others=[]) == Flaw.EMPTY
    assert flaw(read(blank), cut_off=False, others=[read("")], empty_allowed=True) == Flaw.ALIKE
