import re
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from difflib import SequenceMatcher
from enum import StrEnum
from itertools import accumulate

from annotate.lib.budget import spend
from annotate.lib.text import WORDS

LINES = re.compile(r"(?<=\n)(?=[^\n])")
SENTENCES = re.compile(r"(?<=[.!?])(?=\s)|(?<=[。！？])")
GRAINS = (LINES.split, SENTENCES.split, WORDS.findall)


class Op(StrEnum):
    SAME = "same"
    ADDED = "added"
    REMOVED = "removed"


@dataclass(frozen=True)
class Piece:
    op: Op
    text: str


# Units of annotate.lib.budget, measured by bench/rendering.py.
MAX_DIFF_UNITS = 40_000
UNITS_PER_CHARACTER = (0.06, 0.12, 0.5)
UNITS_PER_TOKEN = 0.6
UNITS_PER_PAIR = 0.15
CHARACTERS_FOR_ALL = 2_000


def word_diff(old: str, new: str) -> list[Piece]:
    """Compare by lines, then changed lines by sentences, then by words. Beyond the limit, texts count as replaced.

    Same and removed pieces join to `old`, same and added ones to `new`. No piece is empty.
    """
    units = MAX_DIFF_UNITS * min(1, (len(old) + len(new)) / CHARACTERS_FOR_ALL)
    allowance = _Allowance(units if old != new and spend(int(units) + 1) else 0)
    return list(_joined(_pieces(old, new, 0, allowance)))


@dataclass
class _Allowance:
    left: float

    def take(self, units: float) -> bool:
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
    """Yield (start in `before`, start in `after`, length) of runs of equal tokens."""
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
    matcher = SequenceMatcher(None, before, after)
    # difflib tries each place of a token in `after`, unless it is too frequent.
    places = Counter(after)
    most = len(after) // 100 + 1 if len(after) >= 200 else len(after)
    steps = (UNITS_PER_TOKEN + UNITS_PER_PAIR * (places[token] if places[token] <= most else 0) for token in before)
    until = list(accumulate(steps, initial=0.0))
    matches = []
    regions = [(0, len(before), 0, len(after))]
    while regions:
        a, b, c, d = regions.pop()
        if a == b or c == d or not allowance.take(until[b] - until[a]):
            continue
        start_before, start_after, length = matcher.find_longest_match(a, b, c, d)
        if length:
            matches.append((start_before, start_after, length))
            regions.append((a, start_before, c, start_after))
            regions.append((start_before + length, b, start_after + length, d))
    return sorted(matches)


def _joined(pieces: Iterable[Piece]) -> Iterator[Piece]:
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
    for op, texts in ((Op.REMOVED, removed), (Op.ADDED, added)):
        if texts:
            yield Piece(op, "".join(texts))
            texts.clear()
