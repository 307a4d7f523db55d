"""Markdown by anybody, a model included, as HTML that can do no harm and hides nothing.

People judge these texts, so every visible character of the source is visible in the result, in the same order. The
only exceptions are the marks below, and each is hidden only where its effect can be seen instead:

- `#` to `######` and a space before a heading;
- `-`, `*` or `+` and a space before a list item (the number of a numbered item stays, as it was written);
- `>` and a space before a quoted line, and a lone `>` between two quoted lines;
- the lines of at least three backticks or tildes around code, if both are there (the info string stays);
- the pipes of a table and the row of dashes under its head (an escaped pipe stays, with its backslash);
- backticks around code, if both are on one line;
- `*`, `**` or `***` around words of one line, outside of which are white space, punctuation or Chinese or Japanese
  characters: `2*3*4` and `f(*args)` stay. Underscores are never marks: `__init__` stays. Words that are bold already,
  as those of a heading, are underlined instead;
- the brackets of `[text](https://...)`: the address and its title follow the text.

Everything else is text: backslashes, entities, HTML, images, `---`, footnotes, link definitions. Line breaks, spaces
and indentation are kept by the style sheet (`white-space: pre-wrap`). Lines indented by four spaces are code.

Characters that cannot be seen, or that reorder the text around them, are shown as their code (see hidden_in).

The parser takes time in proportion to the text. Before it begins, `cost` estimates that time from the text alone;
a text that costs more than MAX_COST, or more than is left of the request's budget, is shown as it was written.

Two fences, each enough alone, keep markup out: all text is escaped, and nh3 keeps only the few elements below.
"""

import math
import re
from collections.abc import Iterator
from functools import cache, lru_cache
from html import escape
from itertools import islice

import nh3
from django.utils.safestring import SafeString, mark_safe

from annotate.lib.budget import left, spend, spend_codes
from annotate.lib.text import cut_before

TAGS = set(
    "a blockquote code div em h2 h3 h4 h5 h6 li mark ol p pre small span strong table tbody td th thead tr ul".split()
)
ATTRIBUTES = {
    "a": {"href"},
    "div": {"dir", "tabindex"},
    **{tag: {"dir"} for tag in "blockquote code h2 h3 h4 h5 h6 li p pre td th".split()},
}
CLASSES = {
    "div": {"wide-table"},
    "li": {"numbered"},
    "pre": {"as-written"},
    "span": {"number"},
    "td": {"to-center", "to-right"},
    "th": {"to-center", "to-right"},
}
SCHEMES = {"http", "https", "mailto"}
LINK = re.compile(r"(?:https?://|mailto:)[^\s<>\"]", re.IGNORECASE)

# Blocks nested deeper are text: nobody reads a ninth level, and each level costs another pass over its lines.
MAX_DEPTH = 8
# Units of annotate.lib.budget for one text. Twelve such texts fit into a request: a prompt, a guideline and candidates.
MAX_COST = 12_000

# A guideline is on every page of its campaign, and a prompt is shown to several people.
CACHED_TEXTS = 500
MAX_CACHED_CHARACTERS = 20_000


# ---- Characters that cannot be seen ---------------------------------------------------------------------------------

# Shown as their code, because a reader would not notice them or would read another text than is there: controls,
# embeddings, overrides and isolates (which reorder the text around them), soft hyphens, spaces and joiners without
# width, fillers, tags, what Unicode tells programs not to show, and lone surrogates. Not among them, because scripts
# and emoji need them: variation selectors.
_ALWAYS_HIDDEN = (
    "\x00-\x08\x0b-\x1f\x7f-\x9f\u00ad\u115f\u1160\u17b4\u17b5\u2028\u2029\u202a-\u202e\u2060-\u206f"
    "\u3164\ufeff\uffa0\ufff0-\ufffb\ud800-\udfff\U0001d173-\U0001d17a\U000e0000-\U000e00ff\U000e01f0-\U000e0fff"
)
# Characters that some scripts need. A text without a letter of such a script shows them as codes as well.
# Marks of direction reorder numbers and signs around them; Hebrew puts U+034F between points.
_MARKS = "\u034f\u061c\u200e\u200f"
# Scripts other than Latin, and emoji.
_JOINERS = "\u200c\u200d"
# Thai, Lao, Burmese and Khmer are written without spaces, and this shows where a line may end.
_WORD_ENDS = "\u200b"
# It separates a vowel from its word, and gives both another shape.
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
# The flags of England, Scotland and Wales: a black flag and tags.
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
# What is followed must be what is read. Joiners are part of Persian addresses.
NOT_IN_ADDRESSES = _class_of(_MARKS + _WORD_ENDS + _MONGOLIAN_SEPARATOR)


def hidden_in(text: str) -> "re.Pattern[str]":
    """Which characters of this text are shown as their code."""
    if text.isascii() or not _NEEDED_SOMEWHERE.search(text):
        return _class_of("")
    return _class_of("".join(needed for needed, script in _NEEDED_WITH.items() if not script.search(text)))


# A text with more of these characters shows each of them as HIDDEN: it would be twenty times as long with their codes.
MAX_CODES = 8_000
HIDDEN = "\N{REPLACEMENT CHARACTER}"
FEW_KINDS = 8


def visible(text: str) -> SafeString:
    """`text` as the content of an element, with a marked code such as U+202E for each character that `hidden_in` names.

    Beyond MAX_CODES, or if the request has shown too many of them, each is HIDDEN instead. Lines that a browser lays
    out slowly are in pieces (see PIECE).
    """
    text = _plain_newlines(text)
    hidden = hidden_in(text)
    text = _without_too_many_codes(text, hidden)
    html = _in_pieces(text, hidden) if _has_endless_line(text) else _with_codes(_text(text), hidden)
    return mark_safe(html)  # noqa: S308  # escaped


def changed(text: str) -> SafeString:
    """A piece of a difference, as `visible` shows it. In white space a mark shows each line end, which has no width."""
    html = visible(text)
    ends = html.count("\n")
    if ends and text.isspace() and ends <= MAX_CODES and spend_codes(ends):
        html = mark_safe(html.replace("\n", '<span class="line-end"></span>\n'))  # noqa: S308  # escaped
    return html


def _code(found: "re.Match[str]") -> str:
    return f"<mark>U+{ord(found[0]):04X}</mark>"


@cache
def _marks(hidden: "re.Pattern[str]") -> dict[int, str]:
    numbers = [*range(0x10000), *range(0x1D100, 0x1D200), *range(0xE0000, 0xE1000)]
    return {number: HIDDEN for number in numbers if hidden.match(chr(number))}


def _without_too_many_codes(text: str, hidden: "re.Pattern[str]") -> str:
    """`text`, or if its codes would be too many, `text` with HIDDEN in their place."""
    if not hidden.search(text):
        return text
    number = sum(1 for _found in islice(hidden.finditer(text), MAX_CODES + 1))
    if number <= MAX_CODES and spend_codes(number):
        return text
    # Replacing one kind takes a twentieth of a translation's time, but there are 4,000 kinds.
    at = 0
    for _kind in range(FEW_KINDS):
        found = hidden.search(text, at)
        if not found:
            return text
        at = found.start()
        text = text.replace(found[0], HIDDEN)
    return text.translate(_marks(hidden))


def _with_codes(html: str, hidden: "re.Pattern[str]") -> str:
    # A translation would take ten times as long: there are few codes, but a text may have 200,000 other characters.
    html = hidden.sub(_code, html)
    if f"{_BLACK_FLAG}<mark>" in html:
        for codes, tags in _FLAGS.items():
            html = html.replace(_BLACK_FLAG + codes, _BLACK_FLAG + tags)
    return html


class AsWritten(SafeString):
    """What `render` returns for a text that it does not render."""

    unrendered = True
    # Does it show HIDDEN in place of the codes of invisible characters?
    hides_codes = False


# A browser takes minutes to lay out a paragraph of 200,000 characters that change direction or carry accents. So a long
# text is laid out in pieces of this many characters, which end with a line where they can.
PIECE = 2_000
# A text with a longer line is not rendered, and is written in pieces wherever it is. Latin letters are faster.
MAX_LINE = 10_000
MAX_ASCII_LINE = 50_000


def as_written(text: str) -> AsWritten:
    """`text` unrendered: every character and space as it is, in lines that each find their own direction."""
    given = _plain_newlines(text)
    hidden = hidden_in(given)
    text = _without_too_many_codes(given, hidden)
    shown = _in_pieces(text, hidden) if len(text) > PIECE else _with_codes(_text(text), hidden)
    # A browser drops a newline right after <pre>, so the text's own first newline needs one before it.
    html = AsWritten(f'<pre class="as-written" dir="auto">\n{shown}</pre>')
    html.hides_codes = text is not given
    return html


def _in_pieces(text: str, hidden: "re.Pattern[str]") -> str:
    return "".join(f'<span class="piece">{_with_codes(_text(piece), hidden)}</span>' for piece in _pieces(text))


def _has_endless_line(text: str) -> bool:
    if len(text) <= MAX_LINE:
        return False
    longest = max(text.split("\n"), key=len)
    return len(longest) > (MAX_ASCII_LINE if longest.isascii() else MAX_LINE)


def _pieces(text: str) -> Iterator[str]:
    begin = 0
    while begin < len(text):
        end = begin + PIECE
        if end < len(text):
            end = text.rfind("\n", begin, end) + 1 or cut_before(text, end)
        yield text[begin:end]
        begin = end


def _text(text: str) -> str:
    return escape(text, quote=False)


def _plain_newlines(text: str) -> str:
    return text.replace("\r\n", "\n").replace("\r", "\n") if "\r" in text else text


# ---- The cost of a text ---------------------------------------------------------------------------------------------


# A unit pays for this many characters that are not marks.
UNIT_CHARACTERS = 10
# Lines that open lists, quotes and headings, several on a line too, and lines that are only indented.
OPENERS = re.compile(r"\n(?:[ \t]*+(?:[-*+>]|\#{1,6}+|[0-9]{1,9}+[.)])[ \t]++)++")
INDENTED = re.compile(r"\n[ \t]++")
MAX_LEAD = 2 * MAX_DEPTH + 2


def cost(text: str, enough: float = math.inf) -> int:
    """Estimate what rendering `text` takes, in units of annotate.lib.budget, from counts of what makes work.

    The quick counts come first. If they exceed `enough`, the slower ones are left out.

    The weights are measured: bench/rendering.py searches for the text that takes longest for its estimate.
    """
    units = len(text) / UNIT_CHARACTERS + 1.2 * text.count("\n") + 3 * text.count("\n\n")
    units += 3.5 * (text.count("*") - text.count("**")) + 2.5 * text.count("`") + 3.5 * text.count("|")
    units += 8 * text.count("](") + 7 * (text.count("<http") + text.count("<mailto:"))
    units += 0.6 * sum(text.count(character) for character in "<>&") + 3 * text.count("~~~")
    if units > enough:
        return int(units) + 1
    lines = "\n" + text
    for lead in OPENERS.findall(lines):
        units += 9 * min(MAX_DEPTH + 1, len(lead.split())) + 0.7 * min(MAX_LEAD, len(lead))
    units += sum(0.7 * min(MAX_LEAD, len(lead)) for lead in INDENTED.findall(lines))
    hidden = hidden_in(text)
    if hidden.search(text):
        units += 2 * len(hidden.findall(text))
    return int(units) + 1


# ---- Rendering ------------------------------------------------------------------------------------------------------


def render(text: str, *, top_heading: int = 3) -> SafeString:
    """`text` as HTML. Its first heading becomes an `h<top_heading>` (2..6), and no level below it is left out."""
    text = _plain_newlines(text)
    if len(text) > UNIT_CHARACTERS * min(MAX_COST, left()) or _has_endless_line(text):
        return as_written(text)
    cached = len(text) <= MAX_CACHED_CHARACTERS
    units = _cached_cost(text, MAX_COST) if cached else cost(text, MAX_COST)
    if units > MAX_COST or not spend(units):
        spend(len(text) // UNIT_CHARACTERS)  # finding out that it costs too much took time as well
        return as_written(text)
    return _cached(text, top_heading) if cached else _rendered(text, top_heading)


def _rendered(text: str, top_heading: int) -> SafeString:
    page = _Page(top_heading)
    page.add_blocks(text.split("\n"), depth=0)
    clean = CLEANER.clean(_with_codes("".join(page.html), hidden_in(text)))
    return mark_safe(NO_LINK.sub(_as_text, clean))  # noqa: S308  # cleaned; only `a` elements are taken out after it


def _as_text(link: "re.Match[str]") -> str:
    """A link whose address the cleaner refused, as text with its brackets. Those around a bare address are there."""
    return link[1] + link[2] if link[2] else f"[{link[1]}]"


_cached = lru_cache(maxsize=CACHED_TEXTS)(_rendered)
_cached_cost = lru_cache(maxsize=CACHED_TEXTS)(cost)

CLEANER = nh3.Cleaner(
    tags=TAGS,
    attributes=ATTRIBUTES,
    allowed_classes=CLASSES,
    link_rel="noopener noreferrer nofollow",
    set_tag_attribute_values={"a": {"target": "_blank"}},
    url_schemes=SCHEMES,
    url_relative="deny",
)

NO_LINK = re.compile(r"<a (?!href=)[^>]*+>(.*?)</a>(&gt;)?")

# What begins a block. Quantifiers are possessive, so that no line makes the search go back.
START = re.compile(
    r" {0,3}+(?:(?P<fence>`{3,}+(?=[^`]*+\Z)|~{3,}+)"
    r"|(?P<heading>\#{1,6}+)[ \t]++(?=\S)"
    r"|(?P<quote>>)\ (?=[ \t]*+\S)"
    r"|(?P<bullet>[-*+])[ \t]++(?=\S)"
    r"|(?P<number>[0-9]{1,9}+[.)])[ \t]++(?=\S))"
)
QUOTED = re.compile(r" {0,3}+>(?: |\Z)")
DASHES = re.compile(r" {0,3}+\|?+[ \t]*+:?+-++:?+[ \t]*+(?:\|[ \t]*+:?+-++:?+[ \t]*+)*+\|?+[ \t]*+\Z")
PIPE = re.compile(r"(?<!\\)\|")


class _Page:
    """The HTML so far and the headings that the next one is under."""

    def __init__(self, top_heading: int) -> None:
        self.top_heading = top_heading
        self.html: list[str] = []
        self.outline: list[int] = []

    def add_blocks(self, lines: list[str], *, depth: int, label: str = "", own: bool = False) -> None:
        """Add `lines`. `label`: HTML before the first paragraph. `own`: the block around has the direction of the first
        block in it that is not code."""
        if label and (not lines or self._start(lines, 0, depth) or _is_code(lines[0])):
            self.html.append(f"<p>{label}</p>")
            label = ""
        at = 0
        while at < len(lines):
            if _is_blank(lines[at]):
                at += 1
                continue
            # An element with a `dir` of its own says nothing about the direction of the one around it.
            direction = "" if own else ' dir="auto"'
            start = self._start(lines, at, depth)
            code = start["fence"] if isinstance(start, re.Match) else not start and _is_code(lines[at])
            own = own and bool(code)
            if start:
                at = self._add_block(start, lines, at, depth, direction)
            elif _is_code(lines[at]):
                at = self._add_indented_code(lines, at)
            else:
                at = self._add_paragraph(lines, at, depth, label, direction)
            label = ""

    def _start(self, lines: list[str], at: int, depth: int) -> "re.Match[str] | str | None":
        """The match of what begins a block on this line, "table" for the head of a table, None for text and code."""
        line = lines[at]
        start = START.match(line)
        if start and (depth < MAX_DEPTH or start["fence"] or start["heading"]):
            return start
        if "|" in line and at + 1 < len(lines) and _is_table(line, lines[at + 1]):
            return "table"
        return None

    def _add_block(self, start: "re.Match[str] | str", lines: list[str], at: int, depth: int, direction: str) -> int:
        """Add the block that begins at line `at`, and return the number of the line after it."""
        if isinstance(start, str):
            return self._add_table(lines, at, direction)
        if start["fence"]:
            return self._add_fence(start, lines, at)
        if start["heading"]:
            return self._add_heading(start, lines, at, direction)
        if start["quote"]:
            return self._add_quote(lines, at, depth, direction)
        return self._add_list(start, lines, at, depth, direction)

    def _add_paragraph(self, lines: list[str], at: int, depth: int, label: str, direction: str) -> int:
        end = at + 1
        while end < len(lines) and not _is_blank(lines[end]) and not self._start(lines, end, depth):
            end += 1
        self.html.append(f"<p{direction}>{label}{_inline(lines[at:end])}</p>\n")
        return end

    def _add_heading(self, start: "re.Match[str]", lines: list[str], at: int, direction: str) -> int:
        """As an outline below the page's own: relative to the first heading, never two steps down at a time."""
        written = len(start["heading"])
        while self.outline and self.outline[-1] >= written:
            self.outline.pop()
        self.outline.append(written)
        tag = f"h{min(self.top_heading + len(self.outline) - 1, 6)}"
        self.html.append(f"<{tag}{direction}>{_inline([lines[at][start.end() :]])}</{tag}>\n")
        return at + 1

    def _add_fence(self, start: "re.Match[str]", lines: list[str], at: int) -> int:
        fence = start["fence"]
        end = next((n for n in range(at + 1, len(lines)) if _closes(fence, lines[n])), None)
        # Without its second fence, the first one is no mark: a reader should see that it is left open.
        info = (lines[at] if end is None else lines[at][start.end() :]).strip(" \t")
        small = f"<small>{_text(info)}</small>" if info else ""
        code = "".join(f"{line}\n" for line in lines[at + 1 : end])
        self.html.append(f'<pre dir="ltr">{small}<code dir="ltr">{_text(code)}</code></pre>\n')
        return len(lines) if end is None else end + 1

    def _add_indented_code(self, lines: list[str], at: int) -> int:
        end = at
        for number in range(at, len(lines)):
            if _is_code(lines[number]):
                end = number + 1
            elif not _is_blank(lines[number]):
                break
        code = "\n".join(lines[at:end])
        self.html.append(f'<pre dir="ltr"><code dir="ltr">{_text(code)}\n</code></pre>\n')
        return end

    def _add_quote(self, lines: list[str], at: int, depth: int, direction: str) -> int:
        quoted = []
        while at < len(lines) and (mark := QUOTED.match(lines[at])):
            quoted.append(lines[at][mark.end() :])
            at += 1
        bare = 0  # a lone > is a mark only between quoted lines
        while _is_blank(quoted[-1]):
            quoted.pop()
            bare += 1
        self.html.append(f"<blockquote{direction}>")
        self.add_blocks(quoted, depth=depth + 1, own=True)
        self.html.append("</blockquote>\n")
        for number in range(at - bare, at):
            self.html.append(f"<p>{_text(lines[number])}</p>\n")
        return at

    def _add_list(self, start: "re.Match[str]", lines: list[str], at: int, depth: int, direction: str) -> int:
        kind = "ol" if start["number"] else "ul"
        self.html.append(f"<{kind}>")
        following: re.Match[str] | None = start
        while following:
            at = self._add_item(following, lines, at, depth, direction)
            direction = ' dir="auto"'
            while at < len(lines) and _is_blank(lines[at]):
                at += 1
            following = START.match(lines[at]) if at < len(lines) else None
            if following and not following["number" if kind == "ol" else "bullet"]:
                following = None
        self.html.append(f"</{kind}>\n")
        return at

    def _add_item(self, start: "re.Match[str]", lines: list[str], at: int, depth: int, direction: str) -> int:
        """An item's lines are those indented further than its mark, and blank ones between them."""
        line = lines[at]
        marker = start["number"] or start["bullet"]
        before = line.index(marker)
        width = len(line[: start.end()].expandtabs(4))
        first = line[start.end() :]
        if width > before + len(marker) + 4:  # code: its indentation is not the mark's
            width = before + len(marker) + 1
            first = line[width:]
        inner = [first]
        blank = 0
        at += 1
        while at < len(lines):
            if _is_blank(lines[at]):
                blank += 1
            elif _indentation(lines[at]) > before:
                inner += [""] * blank
                blank = 0
                inner.append(_outdented(lines[at], width))
            else:
                break
            at += 1
        label = f'<span class="number">{marker} </span>' if start["number"] else ""
        numbered = ' class="numbered"' if label else ""
        self.html.append(f"<li{numbered}{direction}>")
        self.add_blocks(inner, depth=depth + 1, label=label, own=True)
        self.html.append("</li>\n")
        return at - blank

    def _add_table(self, lines: list[str], at: int, direction: str) -> int:
        classes = [_alignment(cell) for cell in _cells(lines[at + 1])]
        # The first cell of its head gives the table its direction: that of its columns, and where scrolling begins.
        self.html.append(f'<div class="wide-table"{direction} tabindex="0"><table><thead>')
        self._add_row("th", lines[at], classes, first="")
        self.html.append("</thead><tbody>")
        at += 2
        while at < len(lines) and "|" in lines[at] and not START.match(lines[at]):
            self._add_row("td", lines[at], classes)
            at += 1
        self.html.append("</tbody></table></div>\n")
        return at

    def _add_row(self, tag: str, line: str, classes: list[str], first: str = ' dir="auto"') -> None:
        self.html.append("<tr>")
        direction = first
        for number, cell in enumerate(_cells(line)):
            aligned = classes[number] if number < len(classes) else ""
            self.html.append(f"<{tag}{direction}{aligned}>{_inline([cell])}</{tag}>")
            direction = ' dir="auto"'
        self.html.append("</tr>\n")


def _is_blank(line: str) -> bool:
    """Other white space than spaces and tabs is text: some of it is shown by its code."""
    return not line.strip(" \t")


def _is_code(line: str) -> bool:
    return line.startswith(("    ", "\t", " \t", "  \t", "   \t")) and not _is_blank(line)


def _closes(fence: str, line: str) -> bool:
    run = line.strip(" \t")
    return len(run) >= len(fence) and run == fence[0] * len(run) and not _is_code(line)


def _indentation(line: str) -> int:
    """In columns. A tab goes to the next multiple of four."""
    if "\t" not in line:
        return len(line) - len(line.lstrip(" "))
    lead = line[: len(line) - len(line.lstrip(" \t"))]
    return len(lead.expandtabs(4))


def _outdented(line: str, columns: int) -> str:
    """`line` without `columns` of its indentation. A tab that reaches beyond them leaves spaces."""
    lead = line[: len(line) - len(line.lstrip(" \t"))]
    return " " * max(0, len(lead.expandtabs(4)) - columns) + line[len(lead) :]


def _is_table(head: str, dashes: str) -> bool:
    return bool(
        "|" in dashes and DASHES.match(dashes) and not _is_code(head) and len(_cells(head)) == len(_cells(dashes))
    )


def _cells(line: str) -> list[str]:
    row = line.strip(" \t").removeprefix("|")
    if row.endswith("|") and not row.endswith("\\|"):
        row = row[:-1]
    return [cell.strip(" \t") for cell in PIPE.split(row)]


def _alignment(dashes: str) -> str:
    if not dashes.endswith(":"):
        return ""
    return ' class="to-center"' if dashes.startswith(":") else ' class="to-right"'


# ---- Marks inside a line --------------------------------------------------------------------------------------------

MARK = re.compile(
    r"(?P<ticks>`++)|(?P<stars>\*++)"
    r"|(?<!!)\[(?P<words>[^\[\]]*+)\]\((?P<url>[^\s()<>\"]++(?:\([^\s()<>\"]*+\)[^\s()<>\"]*+){0,3}+)"
    r"(?P<title>[ ]\"[^\"]*+\")?+\)"
    r"|<(?P<auto>(?:https?://|mailto:)[^\s<>\"]++)>"
)
ANY_MARK = re.compile(r"[*`]|\]\(|<http|<mailto:")
TICKS = re.compile(r"`++")
LETTER = re.compile(r"[^\W\d_]")
# What is right outside of emphasised words, and right inside of them.
BEFORE = re.compile(r"[\s(\[{\"'“‘«„:,;.!?…—–\-、。，：；！？（「『《]")
FIRST = re.compile(r"[\w(\[{\"'“‘«„`$#@&.\-（「『《]")
LAST = re.compile(r"[^\s(\[{“‘«„*（「『《]")
AFTER = re.compile(r"[\s)\]}\"'”’»:,;.!?…—–\-、。，：；！？）」』》]")
# Chinese, Japanese and Korean put no space around words; `**` there is emphasis, a single star may multiply.
CJK = re.compile("[\u2e80-\u2fff\u3040-\u9fff\uac00-\ud7a3\uf900-\ufaff]")
EMPHASIS = {1: ("<em>", "</em>"), 2: ("<strong>", "</strong>"), 3: ("<strong><em>", "</em></strong>")}


def _inline(lines: list[str]) -> str:
    text = "\n".join(lines)
    if not ANY_MARK.search(text):
        return _text(text)
    return "\n".join([_line(line) if ANY_MARK.search(line) else _text(line) for line in lines])


def _line(line: str, links: bool = True) -> str:
    """One line as HTML. Emphasis opens and closes like brackets; each length of stars is open once at most."""
    html: list[str] = []
    opened: list[tuple[int, int, int]] = []  # number of stars, place in html, place in line
    closing = _closing_ticks(line)
    at = 0
    while mark := MARK.search(line, at):
        html.append(_text(line[at : mark.start()]))
        at = mark.end()
        if mark["ticks"]:
            if end := closing.get(mark.start()):
                html.append(f'<code dir="ltr">{_text(line[at:end])}</code>')
                at = end + at - mark.start()
            else:
                html.append(mark[0])
        elif mark["stars"]:
            _add_stars(line, mark, html, opened)
        else:
            html.append(_link(mark) if links else _text(mark[0]))
    html.append(_text(line[at:]))
    return "".join(html)


def _closing_ticks(line: str) -> dict[int, int]:
    """Where each run of backticks is closed by the next run of its length."""
    closing: dict[int, int] = {}
    last: dict[int, int] = {}
    for run in TICKS.finditer(line):
        length = run.end() - run.start()
        if length in last:
            closing[last[length]] = run.start()
        last[length] = run.start()
    return closing


def _add_stars(line: str, mark: "re.Match[str]", html: list[str], opened: list[tuple[int, int, int]]) -> None:
    start, end = mark.span()
    length = end - start
    html.append(mark[0])
    if length not in EMPHASIS:
        return
    before, after = line[start - 1 : start] if start else "", line[end : end + 1]
    if LAST.match(before) and _is_outside(AFTER, after, length):
        for number, (stars, place, began) in enumerate(opened):
            if stars == length:
                # Without a letter between them, single stars may be a product. No span is searched twice.
                if length > 1 or LETTER.search(line, began, start):
                    html[place], html[-1] = EMPHASIS[length]
                del opened[number:]
                return
    if FIRST.match(after) and _is_outside(BEFORE, before, length):
        opened[:] = [entry for entry in opened if entry[0] != length]
        opened.append((length, len(html) - 1, end))


def _is_outside(pattern: "re.Pattern[str]", character: str, length: int) -> bool:
    return not character or bool(pattern.match(character) or (length > 1 and CJK.match(character)))


def _link(mark: "re.Match[str]") -> str:
    url = mark["auto"] or mark["url"]
    if not LINK.match(url) or NOT_IN_ADDRESSES.search(url):
        return _text(mark[0])
    anchor = f'<a href="{escape(url)}">'
    if mark["auto"]:
        return f"&lt;{anchor}{_text(url)}</a>&gt;"
    if not mark["words"].strip():
        return _text(mark[0])
    return f"{anchor}{_line(mark['words'], links=False)}</a> ({_text(url)}{_text(mark['title'] or '')})"
