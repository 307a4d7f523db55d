"""Markdown by anybody, a model included, as HTML that can do no harm and hides nothing.

Two fences, each enough alone: markdown-it-py never passes on raw HTML, and nh3 keeps only the few elements below.
Nothing in the result loads anything: an image stays the text it was written as. What Markdown would swallow (link
definitions, the first line of a code block, text nested too deep) stays readable, because people judge these texts.
"""

import re
from collections.abc import Iterable, Sequence
from functools import cache, lru_cache

import nh3
from django.utils.html import escape
from django.utils.safestring import SafeString, mark_safe
from markdown_it import MarkdownIt
from markdown_it.renderer import RendererHTML
from markdown_it.token import Token
from markdown_it.utils import EnvType, OptionsDict

TAGS = set("a blockquote br code em h2 h3 h4 h5 h6 hr li ol p pre small strong table tbody td th thead tr ul".split())
ATTRIBUTES = {"a": {"href", "title"}, "ol": {"start"}}
SCHEMES = {"http", "https", "mailto"}
LINK = re.compile(r"(https?://|mailto:)\S", re.IGNORECASE)
# The style attributes that markdown-it gives to cells of aligned columns, which the content security policy forbids.
ALIGNED = {"text-align:center": "to-center", "text-align:right": "to-right"}
# markdown-it drops what is nested deeper, without a word; such a text is shown as it was written.
DEEPEST = 50
# From each opening bracket markdown-it looks for the closing one up to the end of its paragraph: a hundred thousand
# take it half a minute. So many make data, not prose, and they are shown as they were written too.
MOST_BRACKETS = 5_000


# A guideline stands on every page of its campaign, and a prompt is shown to several people.
KEPT = 500
MOST_KEPT_CHARACTERS = 20_000


def render(text: str, *, top_heading: int = 3) -> SafeString:
    """`text` as HTML. Its first heading becomes an `h<top_heading>` (2..6), and no level below it is left out."""
    if len(text) > MOST_KEPT_CHARACTERS:
        return _rendered(text, top_heading)
    return _kept(text, top_heading)


def _rendered(text: str, top_heading: int) -> SafeString:
    if text.count("[") > MOST_BRACKETS:
        return _as_written(text)
    parser = _parser()
    tokens = parser.parse(text)
    if any(token.level >= DEEPEST - 1 for token in tokens):
        return _as_written(text)
    _set_heading_levels(tokens, top_heading)
    return _cleaned(parser.renderer.render(tokens, parser.options, {}))


_kept = lru_cache(maxsize=KEPT)(_rendered)


@cache
def _parser() -> MarkdownIt:
    # People and models write lines and mean lines, so a single newline is a line break, unlike in CommonMark.
    parser = MarkdownIt("commonmark", {"html": False, "breaks": True, "maxNesting": DEEPEST})
    parser.enable("table").disable("reference")
    parser.validateLink = lambda url: LINK.match(url) is not None  # type: ignore[method-assign]
    parser.add_render_rule("image", _image_as_written)
    parser.add_render_rule("fence", _fence)
    parser.add_render_rule("th_open", _cell)
    parser.add_render_rule("td_open", _cell)
    return parser


def _cleaned(html: str) -> SafeString:
    return mark_safe(  # noqa: S308  # this is what makes it safe
        nh3.clean(
            html,
            tags=TAGS,
            attributes=ATTRIBUTES,
            allowed_classes={"td": set(ALIGNED.values()), "th": set(ALIGNED.values())},
            link_rel="noopener noreferrer nofollow",
            set_tag_attribute_values={"a": {"target": "_blank"}},
            url_schemes=SCHEMES,
            url_relative="deny",
        )
    )


def _as_written(text: str) -> SafeString:
    return mark_safe(f"<pre><code>{escape(text)}</code></pre>")  # noqa: S308  # escaped


def _set_heading_levels(tokens: Iterable[Token], top: int) -> None:
    """Levels as an outline below the page's own: relative to the first heading, never two steps down at once."""
    outline: list[int] = []  # the written levels of the headings that the current one stands under
    for token in tokens:
        if token.type == "heading_open":
            written = int(token.tag[1])
            while outline and outline[-1] >= written:
                outline.pop()
            outline.append(written)
        if token.type in {"heading_open", "heading_close"}:
            token.tag = f"h{min(top + len(outline) - 1, 6)}"


def _image_as_written(
    renderer: RendererHTML, tokens: Sequence[Token], index: int, options: OptionsDict, env: EnvType
) -> str:
    image = tokens[index]
    words = renderer.renderInlineAsText(image.children or [], options, env)
    return escape(f"![{words}]({image.attrs['src']})")


def _fence(renderer: RendererHTML, tokens: Sequence[Token], index: int, options: OptionsDict, env: EnvType) -> str:
    fence = tokens[index]
    info = f"<small>{escape(fence.info.strip())}</small>" if fence.info.strip() else ""
    return f"<pre>{info}<code>{escape(fence.content)}</code></pre>\n"


def _cell(renderer: RendererHTML, tokens: Sequence[Token], index: int, options: OptionsDict, env: EnvType) -> str:
    aligned = ALIGNED.get(str(tokens[index].attrs.get("style", "")))
    return f'<{tokens[index].tag} class="{aligned}">' if aligned else f"<{tokens[index].tag}>"
