"""Which completions of a prompt are worth a labeler's time: none that says nothing, and no two that read alike."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

from django.db import models
from django.utils.translation import gettext_lazy as _

from annotate.lib.text import words

# How often a completion that does not pass is sampled anew, each time from another seed.
RESAMPLINGS = 3
# Words that stand together, and the share of them that two texts must have in common to be called alike. One word
# changed in the middle is alike from about 60 words on, one at the end from about 20; shorter texts only if all their
# words are the same.
TOGETHER = 3
ALIKE = 0.9


class Flaw(models.TextChoices):
    EMPTY = "empty", _("It says nothing")
    CUT_OFF = "cut_off", _("It is cut off at the length limit")
    ALIKE = "alike", _("It reads like another one")


@dataclass(frozen=True)
class Reading:
    """A text as it is compared: how often each three words stand together, and all its numbers."""

    runs: Counter[tuple[str, ...]]
    numbers: tuple[str, ...]

    @property
    def empty(self) -> bool:
        return not any(self.runs)


def read(text: str) -> Reading:
    said = words(text)
    together = zip(*(said[start:] for start in range(TOGETHER)), strict=False)
    runs = Counter(together) if len(said) >= TOGETHER else Counter([tuple(said)])
    return Reading(runs, tuple(word for word in said if any(map(str.isdigit, word))))


def alike(one: Reading, other: Reading) -> bool:
    """Would a person call them the same answer? The Jaccard similarity of their runs of words, counted with repeats.

    Two texts that differ in a number are never alike. Two long ones that differ in one other word are, even where that
    word is "not": the measure knows no meaning. Of "the cat sat" and "the cat sat down" the runs are 1 and 2, one of
    them common: 1 / 2.
    """
    if one.numbers != other.numbers:
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
