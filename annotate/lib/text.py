"""Text as people read it: normal forms, hashes that see through spacing, and what changed between two texts."""

import hashlib
import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher
from enum import StrEnum


def storable(text: str) -> bool:
    """PostgreSQL takes no NUL character, and UTF-8 has no bytes for half of a surrogate pair."""
    if "\x00" in text:
        return False
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def tidy(text: str) -> str:
    """The text as it is stored: composed characters, plain newlines, no blank lines before it and no space after it."""
    text = unicodedata.normalize("NFC", text).replace("\r\n", "\n").replace("\r", "\n")
    return re.sub(r"\A(?:[^\S\n]*\n)+", "", text).rstrip()


def folded(text: str) -> str:
    """The text as duplicates are told: compatibility characters made one, every run of white space a single space."""
    return " ".join(unicodedata.normalize("NFKC", text).split())


def text_hash(text: str) -> str:
    """SHA-256, in hexadecimal, of the folded text. The same for texts that differ in spacing only."""
    return hashlib.sha256(folded(text).encode()).hexdigest()


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
    """The words of the folded text in lower case; each punctuation mark, Chinese or Japanese character is one."""
    return [word for word in WORDS.split(folded(text).casefold()) if word and not word.isspace()]


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
