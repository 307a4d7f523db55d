import re
from functools import cache
from html import escape
from itertools import islice

from annotate.lib.budget import spend_codes

# Default_Ignorable_Code_Point, controls, line separators and surrogates, without the variation selectors, which scripts
# and emoji need.
_ALWAYS_HIDDEN = (
    "\x00-\x08\x0b-\x1f\x7f-\x9f\u00ad\u115f\u1160\u17b4\u17b5\u2028\u2029\u202a-\u202e\u2060-\u206f"
    "\u3164\ufeff\uffa0\ufff0-\ufffb\ud800-\udfff\U0001d173-\U0001d17a\U000e0000-\U000e00ff\U000e01f0-\U000e0fff"
)
# Some scripts need these; other texts show them as codes. Marks reorder numbers and signs.
_MARKS = "\u034f\u061c\u200e\u200f"
_JOINERS = "\u200c\u200d"
# Possible line ends in Thai, Lao, Burmese and Khmer.
_WORD_ENDS = "\u200b"
_MONGOLIAN_SEPARATOR = "\u180e"
_NEEDED = _MARKS + _JOINERS + _WORD_ENDS + _MONGOLIAN_SEPARATOR
_NEEDED_SOMEWHERE = re.compile(f"[{_NEEDED}]")
_NEEDED_WITH = {
    _MARKS: re.compile(
        "[\u0590-\u061b\u061d-\u08ff\ufb1d-\ufdff\ufe70-\ufefe\U00010800-\U00010fff\U0001e800-\U0001efff]"
    ),
    _JOINERS: re.compile(
        f"[^\x00-\u024f\u1e00-\u1eff\u2010-\u2027\u2030-\u205f\u20a0-\u20cf{_ALWAYS_HIDDEN}{_NEEDED}]"
    ),
    _WORD_ENDS: re.compile("[\u0e00-\u0eff\u1000-\u109f\u1780-\u17b3\u17b6-\u17ff]"),
    _MONGOLIAN_SEPARATOR: re.compile("[\u1820-\u18aa]"),
}
_FLAGS = {
    "".join(f"<mark>U+E00{ord(tag):X}</mark>" for tag in f"{nation}\x7f"): "".join(
        chr(0xE0000 + ord(tag)) for tag in f"{nation}\x7f"
    )
    for nation in ("gbeng", "gbsct", "gbwls")
}
_BLACK_FLAG = "\U0001f3f4"


@cache
def _class_of(characters: str) -> "re.Pattern[str]":
    return re.compile(f"[{_ALWAYS_HIDDEN}{characters}]")


CONTROLS = _class_of(_NEEDED)
# They disguise addresses. Persian addresses contain joiners.
NOT_IN_ADDRESSES = _class_of(_MARKS + _WORD_ENDS + _MONGOLIAN_SEPARATOR)


def hidden_in(text: str) -> "re.Pattern[str]":
    if text.isascii() or not _NEEDED_SOMEWHERE.search(text):
        return _class_of("")
    return _class_of("".join(needed for needed, script in _NEEDED_WITH.items() if not script.search(text)))


# Codes are up to twenty times as long, so longer texts show HIDDEN.
MAX_CODES = 8_000
HIDDEN = "\N{REPLACEMENT CHARACTER}"
FEW_KINDS = 8


def _code(match: "re.Match[str]") -> str:
    return f"<mark>U+{ord(match[0]):04X}</mark>"


@cache
def _to_hidden(hidden: "re.Pattern[str]") -> dict[int, str]:
    numbers = [*range(0x10000), *range(0x1D100, 0x1D200), *range(0xE0000, 0xE1000)]
    return {number: HIDDEN for number in numbers if hidden.match(chr(number))}


def limit_codes(text: str, hidden: "re.Pattern[str]") -> str:
    if not hidden.search(text):
        return text
    number = sum(1 for _match in islice(hidden.finditer(text), MAX_CODES + 1))
    if number <= MAX_CODES and spend_codes(number):
        return text
    # Replacing one of 4,000 kinds takes a twentieth of a translation's time.
    at = 0
    for _kind in range(FEW_KINDS):
        match = hidden.search(text, at)
        if not match:
            return text
        at = match.start()
        text = text.replace(match[0], HIDDEN)
    return text.translate(_to_hidden(hidden))


def with_codes(html: str, hidden: "re.Pattern[str]") -> str:
    # Ten times as fast as str.translate, because most characters are visible.
    html = hidden.sub(_code, html)
    if f"{_BLACK_FLAG}<mark>" in html:
        for codes, tags in _FLAGS.items():
            html = html.replace(_BLACK_FLAG + codes, _BLACK_FLAG + tags)
    return html


def escaped(text: str) -> str:
    return escape(text, quote=False)


def plain_newlines(text: str) -> str:
    return text.replace("\r\n", "\n").replace("\r", "\n") if "\r" in text else text
