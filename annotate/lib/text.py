"""Texts: what can be stored or seen, when two are equal, and what changed between two."""

import hashlib
import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher
from enum import StrEnum
from typing import Final


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
    lines = unicodedata.normalize("NFC", text).replace("\r\n", "\n").replace("\r", "\n").split("\n")
    first, end = 0, len(lines)
    while first < end and not lines[first].strip():
        first += 1
    while first < end and not lines[end - 1].strip():
        end -= 1
    return "\n".join(lines[first:end])


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
    return " ".join(unicodedata.normalize("NFKC", text).split())


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


# Where a text may be cut: into lines (with the blank ones after them), sentences, words. Each finer comparison only
# looks where the coarser one saw a change. Chinese and Japanese have no spaces, so there each character is a word.
LINES = re.compile(r"(?<=\n)(?=[^\n])")
SENTENCES = re.compile(r"(?<=[.!?])(?=\s)|(?<=[。！？])")
_ALONE = r"[^\w\s]|[\u3040-\u30ff\u3400-\u9fff]"
WORDS = re.compile(rf"(?<=\w)(?=\W)|(?<=\W)(?=\w)|(?<={_ALONE})|(?={_ALONE})")
GRAINS = (LINES, SENTENCES, WORDS)


def words(text: str) -> list[str]:
    """The words of a text whatever their case and spacing; each punctuation mark, Chinese or Japanese character is one.

    Superscripts and other variants of a character stay what they are.
    """
    return [word for word in WORDS.split(tidy(text).casefold()) if word and not word.isspace()]


# difflib's time grows with the equal pairs it looks at: this many take a second or two. Texts with more, some ten
# thousand words that share little but their language, are no comparison that a person reads: shown as replaced.
PAIRS_COMPARED = 400_000
# Cutting texts takes time too, and what is typed may be as large as a request.
CHARACTERS_COMPARED = 1_000_000


def word_diff(old: str, new: str) -> list[Piece]:
    """What stayed, went and came, in reading order; what went stands before what came in its place.

    The same and removed pieces together are `old`, the same and added ones are `new`. None is empty.
    """
    grains = GRAINS if len(old) + len(new) <= CHARACTERS_COMPARED else ()
    return list(_joined(_pieces(old, new, grains)))


def _pieces(old: str, new: str, grains: Sequence[re.Pattern[str]]) -> Iterator[Piece]:
    if old == new:
        yield Piece(Op.SAME, old)
        return
    if not (old and new and grains):
        yield Piece(Op.REMOVED, old)
        yield Piece(Op.ADDED, new)
        return
    before, after = grains[0].split(old), grains[0].split(new)
    if _pairs(before, after) > PAIRS_COMPARED:
        yield from _pieces(old, new, grains[1:])
        return
    for _tag, a, b, c, d in SequenceMatcher(None, before, after).get_opcodes():
        yield from _pieces("".join(before[a:b]), "".join(after[c:d]), grains[1:])


def _pairs(before: Sequence[str], after: Sequence[str]) -> int:
    counts = Counter(after)
    # difflib itself passes over what makes up more than a hundredth of a long text.
    most = len(after) // 100 + 1 if len(after) >= 200 else len(after)
    return sum(counts[token] for token in before if counts[token] <= most)


def _joined(pieces: Iterable[Piece]) -> Iterator[Piece]:
    """Neighbours of a kind become one, and a space between two replaced words joins them, or the page would flicker."""
    removed = added = same = ""
    for piece in pieces:
        if piece.op == Op.SAME:
            if same or not (removed and added and piece.text.isspace() and "\n" not in piece.text):
                yield from _change(removed, added)
                removed = added = ""
            same += piece.text
            continue
        if removed or added:
            removed, added = removed + same, added + same
        elif same:
            yield Piece(Op.SAME, same)
        same = ""
        if piece.op == Op.REMOVED:
            removed += piece.text
        else:
            added += piece.text
    yield from _change(removed, added)
    if same:
        yield Piece(Op.SAME, same)


def _change(removed: str, added: str) -> Iterator[Piece]:
    if removed:
        yield Piece(Op.REMOVED, removed)
    if added:
        yield Piece(Op.ADDED, added)
