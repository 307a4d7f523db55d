"""Render Markdown as safe HTML that hides nothing, in linear time (docs/markdown.md).

Two independent measures keep markup out: all text is escaped, and nh3 keeps only the elements below.
"""

import re
from functools import lru_cache

import nh3
from django.utils.safestring import SafeString, mark_safe

from annotate.lib.budget import left, spend
from annotate.lib.markdown.blocks import Page
from annotate.lib.markdown.characters import hidden_in, plain_newlines, with_codes
from annotate.lib.markdown.estimate import MAX_COST, UNIT_CHARACTERS, cost
from annotate.lib.markdown.plain import AsWritten, as_written, changed, has_endless_line, visible

__all__ = ["MAX_COST", "UNIT_CHARACTERS", "AsWritten", "as_written", "changed", "cost", "render", "visible"]

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
    "pre": {"as-written", "fenced"},
    "span": {"number"},
    "td": {"to-center", "to-right"},
    "th": {"to-center", "to-right"},
}
SCHEMES = {"http", "https", "mailto"}

CACHED_TEXTS = 500
MAX_CACHED_CHARACTERS = 20_000


def render(text: str, *, top_heading: int = 3) -> SafeString:
    """Show `text` as written if it costs too much. `top_heading`: level of the first heading, 2 to 6."""
    text = plain_newlines(text)
    if len(text) > UNIT_CHARACTERS * min(MAX_COST, left()) or has_endless_line(text):
        return as_written(text)
    cached = len(text) <= MAX_CACHED_CHARACTERS
    units = _cached_cost(text, MAX_COST) if cached else cost(text, MAX_COST)
    if units > MAX_COST or not spend(units):
        spend(len(text) // UNIT_CHARACTERS)
        return as_written(text)
    return _cached(text, top_heading) if cached else _rendered(text, top_heading)


def _rendered(text: str, top_heading: int) -> SafeString:
    page = Page(top_heading)
    page.add_blocks(text.split("\n"), depth=0)
    clean = CLEANER.clean(with_codes("".join(page.html), hidden_in(text)))
    return mark_safe(NO_LINK.sub(_as_text, clean))  # noqa: S308  # cleaned; afterwards only links are removed


def _as_text(link: "re.Match[str]") -> str:
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
