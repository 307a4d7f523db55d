"""Which completions of a prompt go into a slate: none that shows nothing where others can be sampled, no two alike.

This is a rule for a labeler's time, not for what a completion is. An empty completion is a valid one: it is stored,
imported and exported as it is.
"""

import unicodedata
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

from django.db import models
from django.utils.translation import gettext_lazy as _

from annotate.lib.text import is_blank, tidy, words

# How often a completion that does not pass is sampled anew, each time from another seed.
RESAMPLINGS = 3
# Words that stand together, and the share of them that two texts must have in common to be called alike. One word
# changed in the middle is alike from about 60 words on, one at the end from about 20; shorter texts only if all their
# words are the same.
TOGETHER = 3
ALIKE = 0.9
# Characters that Unicode derives from others and that still mean something else than these.
FORMS = ("<super>", "<sub>", "<fraction>", "<font>", "<circle>")


class Flaw(models.TextChoices):
    EMPTY = "empty", _("It says nothing")
    CUT_OFF = "cut_off", _("It is cut off at the length limit")
    ALIKE = "alike", _("It reads like another one")


@dataclass(frozen=True)
class Reading:
    """A text as it is compared: how often each three words stand together, its numbers, and how its lines are indented.

    A text without anything to see has none of them.
    """

    runs: Counter[tuple[str, ...]]
    numbers: tuple[str, ...]
    indents: tuple[str, ...]

    @property
    def empty(self) -> bool:
        return not any(self.runs)


def read(text: str) -> Reading:
    said = [] if is_blank(text) else words(text)
    together = zip(*(said[start:] for start in range(TOGETHER)), strict=False)
    runs = Counter(together) if len(said) >= TOGETHER else Counter([tuple(said)])
    return Reading(runs, tuple(filter(_exact, said)), _indents(text) if said else ())


def _exact(word: str) -> bool:
    """Does the word hold a number, or a character whose form is part of its meaning, as in xⁿ, ½ or ℝ?"""
    if word.isascii():
        return any(map(str.isdigit, word))
    return any(
        unicodedata.category(each)[0] == "N" or unicodedata.decomposition(each).startswith(FORMS) for each in word
    )


def _indents(text: str) -> tuple[str, ...]:
    """The white space before each line that is not blank; nothing where no line is indented.

    One space before the whole text is none: many policies begin so, because of their tokenizer.
    """
    lines = tidy(text).split("\n")
    if lines[0][:1] == " " and not lines[0][1:2].isspace():
        lines[0] = lines[0][1:]
    indents = tuple(line[: len(line) - len(line.lstrip())] for line in lines if line.strip())
    return indents if any(indents) else ()


def alike(one: Reading, other: Reading) -> bool:
    """Would a person call them the same answer? The Jaccard similarity of their runs of words, counted with repeats.

    Two texts that differ in a number, a superscript or the indentation of a line are never alike. Two long ones that
    differ in one other word are, even where that word is "not": the measure knows no meaning. Of "the cat sat" and
    "the cat sat down" the runs are 1 and 2, one of them common: 1 / 2.
    """
    if (one.numbers, one.indents) != (other.numbers, other.indents):
        return False
    fewer, more = sorted((one.runs.total(), other.runs.total()))
    if fewer < ALIKE * more:
        return False
    common = (one.runs & other.runs).total()
    return common >= ALIKE * (fewer + more - common)


def flaw(text: Reading, *, cut_off: bool, others: Iterable[Reading], empty_allowed: bool = False) -> Flaw | None:
    """What keeps a text from standing beside the others; the first of these that is true, or None."""
    if text.empty and not empty_allowed:
        return Flaw.EMPTY
    if cut_off:
        return Flaw.CUT_OFF
    return Flaw.ALIKE if any(alike(text, other) for other in others) else None
