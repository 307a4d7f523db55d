"""Texts: what can be stored or seen, when two are equal, and what changed between two."""

import hashlib
import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from difflib import SequenceMatcher
from enum import StrEnum
from functools import cache
from itertools import accumulate
from typing import Final, Literal

from annotate.lib.budget import spend


def storable(text: str) -> bool:
    """PostgreSQL takes no NUL character, and UTF-8 has no bytes for half of a surrogate pair."""
    if "\x00" in text:
        return False
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def mended(text: str) -> str:
    """The text with each character that cannot be stored (see `storable`) replaced by U+FFFD."""
    if storable(text):
        return text
    mark = "\N{REPLACEMENT CHARACTER}"
    # Two halves that belong together become the character that they stand for.
    return text.replace("\x00", mark).encode("utf-16", "surrogatepass").decode("utf-16", "replace")


# What nobody sees: white space, control characters, the characters that Unicode tells programs not to show
# (Default_Ignorable_Code_Point in DerivedCoreProperties.txt), the marks of interlinear notes, and the blank of Braille.
_UNSEEN: Final = (
    r"\s\x00-\x1f\x7f-\x9f\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f\u202a-\u202e"
    r"\u2060-\u206f\u2800\u3164\ufe00-\ufe0f\ufeff\uffa0\ufff0-\ufffb"
    r"\U0001bca0-\U0001bca3\U0001d173-\U0001d17a\U000e0000-\U000e0fff"
)
_SEEN: Final = re.compile(f"[^{_UNSEEN}]")
_INVISIBLE: Final = re.compile(rf"(?!\s)[{_UNSEEN}]")
# A whole number as spreadsheets and data frames write it.
_WHOLE: Final = re.compile(r"(\d+)\.0+")


def is_blank(text: str) -> bool:
    """Is there nothing to see in the text? True for an empty one, and for one of white space or invisible characters.

    The only rule for this: a blank prompt or demonstration is refused, a blank completion is shown as empty.
    """
    return _SEEN.search(text) is None


def tidy(text: str) -> str:
    """The canonical form of a text. Two texts are equal exactly if their canonical forms are the same.

    Characters are composed (NFC), line endings are plain newlines, and blank lines before and after the text are gone.
    All else is kept: indentation, spaces within and after a line, superscripts, invisible characters. It is also the
    form in which people's texts are stored. Completions are stored as the model wrote them, and only compared by it.
    """
    lines = composed(text).replace("\r\n", "\n").replace("\r", "\n").split("\n")
    first, end = 0, len(lines)
    while first < end and not lines[first].strip():
        first += 1
    while first < end and not lines[end - 1].strip():
        end -= 1
    return "\n".join(lines[first:end])


# Composition makes one character of at most four.
_COMPOSED_OF: Final = 4


def tidy_within(text: str, most: int) -> str:
    """`tidy`, for a text that is refused if more than `most` characters of it are left.

    A text that is several times as long is returned as it is, to be refused: to tidy megabytes takes seconds.
    """
    return text if len(text) > _COMPOSED_OF * most else tidy(text)


# No script puts more marks than this on one character.
_LONG_RUN: Final = 32
_LAST_MARK: Final = 0x1FFFF


def composed(text: str) -> str:
    """`text` in Unicode's normal form NFC, in time proportional to its length."""
    return _normalized(text, "NFC", "NFD")


def _normalized(text: str, form: Literal["NFC", "NFKC"], decomposed: Literal["NFD", "NFKD"]) -> str:
    """What unicodedata.normalize returns. Alone, it takes minutes for a hundred thousand marks on one character.

    It puts the marks in order by comparing each with all before it. In a long run they are therefore put in order
    first, which does not change the result.
    """
    if unicodedata.is_normalized(form, text):  # nearly always, and the quickest to find out
        return text

    def in_order(run: "re.Match[str]") -> str:
        marks = "".join(unicodedata.normalize(decomposed, mark) for mark in run[0])
        return "".join(sorted(marks, key=unicodedata.combining))

    return unicodedata.normalize(form, _long_runs(decomposed).sub(in_order, text))


@cache
def _long_runs(decomposed: Literal["NFD", "NFKD"]) -> "re.Pattern[str]":
    """Long runs of marks: of characters that are nothing but marks when they are decomposed."""
    marks = [
        mark
        for mark in map(chr, range(0x300, _LAST_MARK + 1))
        if unicodedata.combining(unicodedata.normalize(decomposed, mark)[0])
    ]
    return re.compile(f"[{''.join(marks)}]{{{_LONG_RUN},}}")


def equal(one: str, other: str) -> bool:
    """Are these the same text? See `tidy`."""
    return tidy(one) == tidy(other)


def text_hash(text: str) -> str:
    """SHA-256, in hexadecimal, of the canonical form: the same for equal texts, and for no others."""
    return hashlib.sha256(tidy(text).encode()).hexdigest()


def loose_form(text: str) -> str:
    """What is the same for names that people spell alike: compatibility characters and white space do not matter.

    Never use it to decide whether two texts are equal: 2⁵ and 25 have one loose form, and so has code with and without
    its indentation. It matches names, and it keeps prompts that are alike on one side of the split.
    """
    return " ".join(_normalized(text, "NFKC", "NFKD").split())


def name_form(name: str) -> str:
    """What is the same for names that look alike: invisible characters, compatibility characters, spacing and case do
    not matter, nor the ".0" that spreadsheets add to whole numbers. "" for a name that shows nothing.

    It is stable: the form of a form is the form itself.
    """
    seen = _INVISIBLE.sub("", loose_form(name))
    # Case folding decomposes some characters.
    form = loose_form(seen.casefold())
    whole = _WHOLE.fullmatch(form)
    return whole[1] if whole else form


def loose_hash(text: str) -> str:
    """SHA-256, in hexadecimal, of the loose form."""
    return hashlib.sha256(loose_form(text).encode()).hexdigest()


class Op(StrEnum):
    SAME = "same"
    ADDED = "added"
    REMOVED = "removed"


@dataclass(frozen=True)
class Piece:
    op: Op
    text: str


# What belongs to the character before it: the marks of a script and of emoji (categories Mn, Mc and Me; those beyond
# these blocks select variants), joiners, skin tones. A person sees them and that character as one.
_MARKS: Final = "".join(mark for mark in map(chr, range(0x300, 0x10000)) if unicodedata.category(mark)[0] == "M")
_RARE_MARKS: Final = "".join(
    mark
    for mark in map(chr, (*range(0x10000, 0x1F000), *range(0xE0100, 0xE01F0)))
    if unicodedata.category(mark)[0] == "M"
)
_JOINER: Final = "\u200d"
# The rare marks are looked for where they can be only: a class with characters beyond U+FFFF takes long to search.
_EXTENDED: Final = (
    rf"(?:[{_MARKS}\u200c{_JOINER}]|[\U0001f3fb-\U0001f3ff]"
    rf"|(?=[\U00010000-\U0001efff\U000e0100-\U000e01ef])[{_RARE_MARKS}])"
)
_FLAG_LETTERS: Final = r"\U0001f1e6-\U0001f1ff"
# Chinese, Japanese, Thai, Lao, Tibetan, Burmese and Khmer have no spaces between words, so there each character is one.
_UNSPACED: Final = r"\u0e00-\u0e4f\u0e80-\u0ecf\u0f40-\u0fbc\u1000-\u103f\u1780-\u17d3\u3040-\u30ff\u3400-\u9fff"

# Where a text may be cut: into lines (with the blank ones after them), sentences, words. Each finer comparison only
# looks where the coarser one saw a change. A word is a run of letters and digits, a run of white space, or one
# character of another kind; none begins within what a person sees as one character.
LINES = re.compile(r"(?<=\n)(?=[^\n])")
SENTENCES = re.compile(r"(?<=[.!?])(?=\s)|(?<=[。！？])")
WORDS = re.compile(
    rf"\s++|[^\W{_UNSPACED}]++(?:{_EXTENDED}++[^\W{_UNSPACED}]*+)*+|[{_FLAG_LETTERS}]{{2}}"
    rf"|\S{_EXTENDED}*+(?:(?<={_JOINER})[^\w\s]{_EXTENDED}*+)*+"
)
GRAINS = (LINES.split, SENTENCES.split, WORDS.findall)


_CONTINUES: Final = re.compile(rf"{_EXTENDED}|[\U000e0020-\U000e007f]")  # the tags of a flag
_FLAG_LETTERS_BEFORE: Final = re.compile(rf"[{_FLAG_LETTERS}]*+\Z")
_FLAG_LETTER: Final = re.compile(f"[{_FLAG_LETTERS}]")


def cut_before(text: str, most: int) -> int:
    """The last place up to `most` where a cut divides nothing that a person sees as one character.

    A character with a longer run of marks than any script has is cut all the same.
    """
    for place in range(most, max(0, most - _LONG_RUN), -1):
        if text[place - 1] != _JOINER and not _CONTINUES.match(text, place) and not _divides_flag(text, place):
            return place
    return most


def _divides_flag(text: str, place: int) -> bool:
    """Two flag letters are one flag, counted from where a run of them begins."""
    if not _FLAG_LETTER.match(text, place):
        return False
    run = _FLAG_LETTERS_BEFORE.search(text[max(0, place - _LONG_RUN) : place])
    return run is not None and len(run[0]) % 2 == 1


def words(text: str) -> list[str]:
    """The words of a text whatever their case and spacing; each punctuation mark is one (see WORDS).

    Superscripts and other variants of a character stay what they are.
    """
    return [word for word in WORDS.findall(tidy(text).casefold()) if not word.isspace()]


# What one comparison may take at most, in units of annotate.lib.budget, and what its steps take, as measured by
# bench/rendering.py: cutting a text (for each of its characters), looking at a token, at a pair of equal tokens.
MAX_DIFF_UNITS = 40_000
UNITS_PER_CHARACTER = (0.06, 0.12, 0.5)  # by grain
UNITS_PER_TOKEN = 0.6
UNITS_PER_PAIR = 0.15
# Texts of this many characters together may take MAX_DIFF_UNITS, shorter ones less in proportion.
CHARACTERS_FOR_ALL = 2_000


def word_diff(old: str, new: str) -> list[Piece]:
    """What stayed, what was removed and what was added, in reading order; removed text comes before its replacement.

    The same and removed pieces together are `old`, the same and added ones are `new`. None is empty. The comparison
    counts its steps. What it has no steps left for is shown as replaced: texts of thousands of words that share
    little but their language. The same two texts always take the same steps.
    """
    units = MAX_DIFF_UNITS * min(1, (len(old) + len(new)) / CHARACTERS_FOR_ALL)
    allowance = _Allowance(units if old != new and spend(int(units) + 1) else 0)
    return list(_joined(_pieces(old, new, 0, allowance)))


@dataclass
class _Allowance:
    left: float

    def take(self, units: float) -> bool:
        """Whether a step that costs `units` may be made. If so, they are spent."""
        if units > self.left:
            return False
        self.left -= units
        return True


def _pieces(old: str, new: str, grain: int, allowance: _Allowance) -> Iterator[Piece]:
    if old == new:
        yield Piece(Op.SAME, old)
        return
    comparable = old and new and grain < len(GRAINS)
    if not (comparable and allowance.take(UNITS_PER_CHARACTER[grain] * (len(old) + len(new)))):
        yield Piece(Op.REMOVED, old)
        yield Piece(Op.ADDED, new)
        return
    before, after = GRAINS[grain](old), GRAINS[grain](new)
    # Coarse grains leave half of the steps to finer ones, or a long text's changed lines would not be looked into.
    share = _Allowance(allowance.left if grain == len(GRAINS) - 1 else allowance.left / 2)
    allowance.left -= share.left
    blocks = list(_equal_blocks(before, after, share))
    allowance.left += share.left
    a = b = 0
    for start_before, start_after, length in [*blocks, (len(before), len(after), 0)]:
        yield from _pieces("".join(before[a:start_before]), "".join(after[b:start_after]), grain + 1, allowance)
        a, b = start_before + length, start_after + length
        yield Piece(Op.SAME, "".join(before[start_before:a]))


def _equal_blocks(before: list[str], after: list[str], allowance: _Allowance) -> Iterator[tuple[int, int, int]]:
    """Runs of equal tokens in order: where each starts in `before` and in `after`, and its length."""
    if not allowance.take(UNITS_PER_TOKEN * (len(before) + len(after))):
        return
    shorter = min(len(before), len(after))
    head = next((n for n in range(shorter) if before[n] != after[n]), shorter)
    tail = next((n for n in range(shorter - head) if before[-n - 1] != after[-n - 1]), shorter - head)
    yield 0, 0, head
    inner = _matches(before[head : len(before) - tail], after[head : len(after) - tail], allowance)
    for start_before, start_after, length in inner:
        yield head + start_before, head + start_after, length
    yield len(before) - tail, len(after) - tail, tail


def _matches(before: list[str], after: list[str], allowance: _Allowance) -> list[tuple[int, int, int]]:
    """As difflib finds them: the longest run first, then those on both sides of it, while there are steps left."""
    matcher = SequenceMatcher(None, before, after)
    # A search looks at each token, and at each of its places in `after`, be they inside of the region or not. difflib
    # passes over what makes up more than a hundredth of a long text.
    places = Counter(after)
    most = len(after) // 100 + 1 if len(after) >= 200 else len(after)
    steps = (UNITS_PER_TOKEN + UNITS_PER_PAIR * (places[token] if places[token] <= most else 0) for token in before)
    until = list(accumulate(steps, initial=0.0))
    found = []
    regions = [(0, len(before), 0, len(after))]
    while regions:
        a, b, c, d = regions.pop()
        if a == b or c == d or not allowance.take(until[b] - until[a]):
            continue
        start_before, start_after, length = matcher.find_longest_match(a, b, c, d)
        if length:
            found.append((start_before, start_after, length))
            regions.append((a, start_before, c, start_after))
            regions.append((start_before + length, b, start_after + length, d))
    return sorted(found)


def _joined(pieces: Iterable[Piece]) -> Iterator[Piece]:
    """Join neighbours of a kind, and replaced words with the space between them, or the page would flicker."""
    removed: list[str] = []
    added: list[str] = []
    same: list[str] = []
    for piece in pieces:
        if not piece.text:
            continue
        if piece.op == Op.SAME:
            if same or not (removed and added and piece.text.isspace() and "\n" not in piece.text):
                yield from _change(removed, added)
            same.append(piece.text)
            continue
        if removed or added:
            removed += same
            added += same
        elif same:
            yield Piece(Op.SAME, "".join(same))
        same.clear()
        (removed if piece.op == Op.REMOVED else added).append(piece.text)
    yield from _change(removed, added)
    if same:
        yield Piece(Op.SAME, "".join(same))


def _change(removed: list[str], added: list[str]) -> Iterator[Piece]:
    """The pieces of a change, which is over then: both lists are emptied."""
    for op, texts in ((Op.REMOVED, removed), (Op.ADDED, added)):
        if texts:
            yield Piece(op, "".join(texts))
            texts.clear()
