"""Which completions may go into a slate: none without text while others can be sampled, and no two alike.

Completions that do not pass are stored, imported and exported like others.
"""

import unicodedata
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

from django.db import models
from django.utils.translation import gettext_lazy as _

from annotate.lib.text import is_blank, tidy, words

# Further tries, each with another seed, of a completion that does not pass.
RESAMPLINGS = 3
# Two texts are alike if this share of their runs of three words agrees. A changed word in the middle keeps texts from
# about 60 words alike, one at the end from about 20. Shorter texts are alike only if all their words agree.
RUN_LENGTH = 3
ALIKE = 0.9
# Decompositions of characters that mean something else than the characters they decompose into.
FORMS = ("<super>", "<sub>", "<fraction>", "<font>", "<circle>")


class Flaw(models.TextChoices):
    EMPTY = "empty", _("It has no text")
    CUT_OFF = "cut_off", _("It is cut off at the length limit")
    ALIKE = "alike", _("It reads like another one")


@dataclass(frozen=True)
class Reading:
    """runs: of three words, with counts. indents: of lines. A text without visible characters has none of them."""

    runs: Counter[tuple[str, ...]]
    numbers: tuple[str, ...]
    indents: tuple[str, ...]

    @property
    def empty(self) -> bool:
        return not any(self.runs)


def read(text: str) -> Reading:
    found = [] if is_blank(text) else words(text)
    together = zip(*(found[start:] for start in range(RUN_LENGTH)), strict=False)
    runs = Counter(together) if len(found) >= RUN_LENGTH else Counter([tuple(found)])
    return Reading(runs, tuple(filter(_exact, found)), _indents(text) if found else ())


def _exact(word: str) -> bool:
    """Whether a number or the form of a character is part of the meaning, as in xⁿ, ½ or ℝ."""
    if word.isascii():
        return any(map(str.isdigit, word))
    return any(
        unicodedata.category(each)[0] == "N" or unicodedata.decomposition(each).startswith(FORMS) for each in word
    )


def _indents(text: str) -> tuple[str, ...]:
    """The white space before each line that is not blank; () if no line is indented.

    Ignores one space before the whole text, which many tokenizers add.
    """
    lines = tidy(text).split("\n")
    if lines[0][:1] == " " and not lines[0][1:2].isspace():
        lines[0] = lines[0][1:]
    indents = tuple(line[: len(line) - len(line.lstrip())] for line in lines if line.strip())
    return indents if any(indents) else ()


def alike(one: Reading, other: Reading) -> bool:
    """Whether two texts read as the same answer: the Jaccard similarity of their runs of words, with repeats.

    Texts that differ in a number, a superscript or the indentation of a line are never alike. Long texts that differ in
    one other word are alike, even if that word is "not".
    """
    if (one.numbers, one.indents) != (other.numbers, other.indents):
        return False
    fewer, more = sorted((one.runs.total(), other.runs.total()))
    if fewer < ALIKE * more:
        return False
    common = (one.runs & other.runs).total()
    return common >= ALIKE * (fewer + more - common)


def flaw(text: Reading, *, cut_off: bool, others: Iterable[Reading], empty_allowed: bool = False) -> Flaw | None:
    """The first reason why a text may not join the others in a slate, or None."""
    if text.empty and not empty_allowed:
        return Flaw.EMPTY
    if cut_off:
        return Flaw.CUT_OFF
    return Flaw.ALIKE if any(alike(text, other) for other in others) else None
