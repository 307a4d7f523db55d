import re
from collections.abc import Iterator

from django.utils.safestring import SafeString, mark_safe

from annotate.lib.budget import spend_codes
from annotate.lib.markdown.characters import MAX_CODES, escaped, hidden_in, limit_codes, plain_newlines, with_codes
from annotate.lib.text import cut_before

# Browsers take minutes to lay out 200,000 characters with changes of direction or accents in one element.
PIECE = 2_000
# Longer lines are not rendered. ASCII is faster to lay out.
MAX_LINE = 10_000
MAX_ASCII_LINE = 50_000


def visible(text: str) -> SafeString:
    text = plain_newlines(text)
    hidden = hidden_in(text)
    text = limit_codes(text, hidden)
    html = _in_pieces(text, hidden) if has_endless_line(text) else with_codes(escaped(text), hidden)
    return mark_safe(html)  # noqa: S308  # escaped


def changed(text: str) -> SafeString:
    """White space shows its line ends."""
    html = visible(text)
    ends = html.count("\n")
    if ends and text.isspace() and ends <= MAX_CODES and spend_codes(ends):
        html = mark_safe(html.replace("\n", '<span class="line-end"></span>\n'))  # noqa: S308  # escaped
    return html


class AsWritten(SafeString):
    """`hides_codes`: it shows HIDDEN instead of codes."""

    unrendered = True
    hides_codes = False


def as_written(text: str) -> AsWritten:
    given = plain_newlines(text)
    hidden = hidden_in(given)
    text = limit_codes(given, hidden)
    shown = _in_pieces(text, hidden) if len(text) > PIECE else with_codes(escaped(text), hidden)
    # Browsers drop the newline after <pre>.
    html = AsWritten(f'<pre class="as-written" dir="auto">\n{shown}</pre>')
    html.hides_codes = text is not given
    return html


def _in_pieces(text: str, hidden: "re.Pattern[str]") -> str:
    return "".join(f'<span class="piece">{with_codes(escaped(piece), hidden)}</span>' for piece in _pieces(text))


def has_endless_line(text: str) -> bool:
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
