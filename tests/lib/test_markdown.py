"""What a stranger writes shows as text: it runs nothing, loads nothing, and none of it disappears."""

import re
import time
from html.parser import HTMLParser

import pytest

from annotate.lib.markdown import ATTRIBUTES, LINK, TAGS, render

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
            elif tag in {"td", "th"} and name == "class":
                assert value in {"to-right", "to-center"}
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
    assert render('<b onclick="x()">hi</b>') == '<p>&lt;b onclick="x()"&gt;hi&lt;/b&gt;</p>\n'


def test_an_image_is_the_text_it_was_written_as() -> None:
    html = render("See ![two & *cats*](https://x.y/c.png)!")
    assert html == "<p>See ![two &amp; cats](https://x.y/c.png)!</p>\n"


def test_a_link_opens_elsewhere_and_tells_nobody_where_it_was() -> None:
    html = render("[a](https://x.y) <mailto:a@b.c>")
    assert html.count('target="_blank"') == html.count('rel="noopener noreferrer nofollow"') == 2


def test_what_markdown_would_swallow_stays() -> None:
    assert "[1]: https://x.y" in re.sub(r"<[^>]+>", "", render("[1]: https://x.y"))
    assert "a word in the fence" in render("``` a word in the fence\ncode\n```")
    deep = "> " * 60 + "at the bottom"
    assert "at the bottom" in render(deep)
    assert "at the bottom" in render("- " * 60 + "at the bottom")


def test_a_new_line_is_a_new_line() -> None:
    assert render("Roses are red\nViolets are blue") == "<p>Roses are red<br>\nViolets are blue</p>\n"


def test_code_and_tables_are_kept() -> None:
    assert (
        render("```python\nif a < b:\n    pass\n```")
        == "<pre><small>python</small><code>if a &lt; b:\n    pass\n</code></pre>\n"
    )
    html = render("| a | b | c |\n|---|--:|:-:|\n| 1 | 2 | 3 |")
    assert '<td>1</td>\n<td class="to-right">2</td>\n<td class="to-center">3</td>' in html


@pytest.mark.parametrize(
    ("written", "top", "levels"),
    [
        ("# a\n## b\n# c", 3, "343"),
        ("### a\n# b\n###### c\n## d", 3, "3344"),
        ("# a\n## b\n### c\n#### d\n##### e", 3, "34566"),
        ("a\n=\n\nb\n-\n", 2, "23"),
    ],
)
def test_headings_stand_below_the_page_and_skip_no_level(written: str, top: int, levels: str) -> None:
    html = render(written, top_heading=top)
    assert "".join(re.findall(r"<h(\d)>", html)) == levels
    assert "".join(re.findall(r"</h(\d)>", html)) == levels


def test_the_same_text_gives_the_same_html() -> None:
    text = "\n".join(VECTORS)
    assert render(text) == render(text)


@pytest.mark.parametrize(
    "text",
    [
        "A *sentence* with `code` and a [link](https://x.y).\n" * 2_000,
        "[" * 100_000,
        "[a](b" * 20_000,
        "![[" * 33_000,
        "*a_ " * 25_000,
        "> " * 50_000,
        "<![CDATA[" * 11_000,
        "`" * 50_000 + "a" + "`" * 49_999,
        "|a" * 50_000 + "\n" + "|-" * 50_000,
    ],
    ids=lambda text: text[:9],
)
def test_a_hundred_thousand_characters_are_no_trouble(text: str) -> None:
    started = time.process_time()
    render(text)
    assert time.process_time() - started < 5


@pytest.mark.parametrize("text", ["[" * 200_000, "![a" * 60_000, "[" * 5_000])
def test_a_wall_of_brackets_is_shown_and_keeps_nobody_waiting(text):
    began = time.process_time()
    shown = render(text)
    assert time.process_time() - began < 5
    assert shown.count("[") == text.count("[")
