import hashlib
import re
import unicodedata
from functools import cache
from typing import Final, Literal


def storable(text: str) -> bool:
    """PostgreSQL takes no NUL and no lone surrogate."""
    if "\x00" in text:
        return False
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def mended(text: str) -> str:
    if storable(text):
        return text
    mark = "\N{REPLACEMENT CHARACTER}"
    # Two halves in a row become their character.
    return text.replace("\x00", mark).encode("utf-16", "surrogatepass").decode("utf-16", "replace")


# White space, controls, Default_Ignorable_Code_Point, interlinear marks, Braille blank.
_UNSEEN: Final = (
    r"\s\x00-\x1f\x7f-\x9f\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f\u202a-\u202e"
    r"\u2060-\u206f\u2800\u3164\ufe00-\ufe0f\ufeff\uffa0\ufff0-\ufffb"
    r"\U0001bca0-\U0001bca3\U0001d173-\U0001d17a\U000e0000-\U000e0fff"
)
_SEEN: Final = re.compile(f"[^{_UNSEEN}]")
_INVISIBLE: Final = re.compile(rf"(?!\s)[{_UNSEEN}]")
_WHOLE: Final = re.compile(r"(\d+)\.0+")


def is_blank(text: str) -> bool:
    return _SEEN.search(text) is None


def tidy(text: str) -> str:
    """Return the form in which people's texts are stored and compared. Completions stay as the model wrote them."""
    lines = composed(text).replace("\r\n", "\n").replace("\r", "\n").split("\n")
    first, end = 0, len(lines)
    while first < end and not lines[first].strip():
        first += 1
    while first < end and not lines[end - 1].strip():
        end -= 1
    return "\n".join(lines[first:end])


_COMPOSED_OF: Final = 4


def tidy_within(text: str, most: int) -> str:
    """Skip texts that the caller refuses anyway."""
    return text if len(text) > _COMPOSED_OF * most else tidy(text)


# More marks than any script puts on one character.
_LONG_RUN: Final = 32
_LAST_MARK: Final = 0x1FFFF


def composed(text: str) -> str:
    return _normalized(text, "NFC", "NFD")


def _normalized(text: str, form: Literal["NFC", "NFKC"], decomposed: Literal["NFD", "NFKD"]) -> str:
    """Normalize in linear time. unicodedata takes quadratic time for marks."""
    if unicodedata.is_normalized(form, text):
        return text

    def in_order(run: "re.Match[str]") -> str:
        marks = "".join(unicodedata.normalize(decomposed, mark) for mark in run[0])
        return "".join(sorted(marks, key=unicodedata.combining))

    return unicodedata.normalize(form, _long_runs(decomposed).sub(in_order, text))


@cache
def _long_runs(decomposed: Literal["NFD", "NFKD"]) -> "re.Pattern[str]":
    marks = [
        mark
        for mark in map(chr, range(0x300, _LAST_MARK + 1))
        if unicodedata.combining(unicodedata.normalize(decomposed, mark)[0])
    ]
    return re.compile(f"[{''.join(marks)}]{{{_LONG_RUN},}}")


def equal(one: str, other: str) -> bool:
    return tidy(one) == tidy(other)


def text_hash(text: str) -> str:
    return hashlib.sha256(tidy(text).encode()).hexdigest()


def loose_form(text: str) -> str:
    """Not for equality: 2⁵ and 25 have the same form."""
    return " ".join(_normalized(text, "NFKC", "NFKD").split())


def name_form(name: str) -> str:
    """Return one form for names that look alike, also for 1 and 1.0. Idempotent."""
    seen = _INVISIBLE.sub("", loose_form(name))
    form = loose_form(seen.casefold())
    whole = _WHOLE.fullmatch(form)
    return whole[1] if whole else form


def loose_hash(text: str) -> str:
    return hashlib.sha256(loose_form(text).encode()).hexdigest()


# Parts of the character before.
_MARKS: Final = "".join(mark for mark in map(chr, range(0x300, 0x10000)) if unicodedata.category(mark)[0] == "M")
_RARE_MARKS: Final = "".join(
    mark
    for mark in map(chr, (*range(0x10000, 0x1F000), *range(0xE0100, 0xE01F0)))
    if unicodedata.category(mark)[0] == "M"
)
_JOINER: Final = "\u200d"
# Faster than a class with rare characters.
_EXTENDED: Final = (
    rf"(?:[{_MARKS}\u200c{_JOINER}]|[\U0001f3fb-\U0001f3ff]"
    rf"|(?=[\U00010000-\U0001efff\U000e0100-\U000e01ef])[{_RARE_MARKS}])"
)
_FLAG_LETTERS: Final = r"\U0001f1e6-\U0001f1ff"
# Without spaces each character is a word.
_UNSPACED: Final = r"\u0e00-\u0e4f\u0e80-\u0ecf\u0f40-\u0fbc\u1000-\u103f\u1780-\u17d3\u3040-\u30ff\u3400-\u9fff"

WORDS = re.compile(
    rf"\s++|[^\W{_UNSPACED}]++(?:{_EXTENDED}++[^\W{_UNSPACED}]*+)*+|[{_FLAG_LETTERS}]{{2}}"
    rf"|\S{_EXTENDED}*+(?:(?<={_JOINER})[^\w\s]{_EXTENDED}*+)*+"
)

_CONTINUES: Final = re.compile(rf"{_EXTENDED}|[\U000e0020-\U000e007f]")
_FLAG_LETTERS_BEFORE: Final = re.compile(rf"[{_FLAG_LETTERS}]*+\Z")
_FLAG_LETTER: Final = re.compile(f"[{_FLAG_LETTERS}]")


def cut_before(text: str, most: int) -> int:
    """Return the last position up to `most` that divides no visible character."""
    for place in range(most, max(0, most - _LONG_RUN), -1):
        if text[place - 1] != _JOINER and not _CONTINUES.match(text, place) and not _divides_flag(text, place):
            return place
    return most


def _divides_flag(text: str, place: int) -> bool:
    """Flag letters pair from the start of a run."""
    if not _FLAG_LETTER.match(text, place):
        return False
    run = _FLAG_LETTERS_BEFORE.search(text[max(0, place - _LONG_RUN) : place])
    return run is not None and len(run[0]) % 2 == 1


def words(text: str) -> list[str]:
    return [word for word in WORDS.findall(tidy(text).casefold()) if not word.isspace()]
