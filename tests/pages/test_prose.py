"""What Chromium shows of rendered texts: every character, number and indentation, each block in its own direction."""

import pytest
from playwright.sync_api import Browser, Page, expect

from annotate.lib.markdown import render
from tests.lib.markdown_texts import TEXTS
from tests.pages.conftest import Told, read, violations

pytestmark = pytest.mark.browser

HEBREW = "שלום עולם"
MIXED = f"""{HEBREW} `x = [1, 2]`

English words first, then {HEBREW}.

1. {HEBREW}
2. English

> {HEBREW}

```python
if x > 1:  # {HEBREW}
    return (x)
```

| {HEBREW} | b |
|---|---|
| 1 | {HEBREW} |
"""


def shown(page: Page, text: str) -> None:
    page.goto("/")
    page.get_by_role("tab", name="Write").focus()
    page.fill("#id_text", text)
    page.get_by_role("tab", name="Preview").click()
    expect(page.locator(".preview .prose")).to_be_visible()


def lines(text: str) -> list[str]:
    """Lines with something on them. Any white space in a line is one space: innerText has a tab between cells."""
    return [" ".join(line.split()) for line in text.splitlines() if line.strip()]


def test_a_reader_sees_every_character_in_order(page: Page) -> None:
    page.goto("/prose")
    articles = page.locator("[data-source]")
    expect(articles).to_have_count(len(TEXTS))
    for number, (source, seen) in enumerate(TEXTS.values()):
        wanted = source if seen is None else seen
        assert lines(read(articles.nth(number).locator(".prose"))) == lines(wanted)


def test_spaces_and_indentation_are_seen(page: Page) -> None:
    shown(page, "def f(x):\n    if x:\n        return  1\n\n    \treturn 2\n\n1. a\n       b\n\n> c\n>   d")
    text = read(page.locator(".preview .prose"))
    assert [line.rstrip() for line in text.splitlines() if line.strip()] == [
        *("def f(x):", "    if x:", "        return  1", "    \treturn 2", "1. a", "    b", "c", "  d")
    ]


def test_the_text_as_written_is_a_click_away(page: Page) -> None:
    text = "1. **a**\n\n   `b`  \\*\n"
    shown(page, text)
    page.get_by_text("As written").click()
    assert page.locator(".preview .as-written").inner_text() == text


def test_one_switch_shows_all_texts_as_written_and_is_kept_for_the_person(page: Page, server: Told) -> None:
    page.goto("/prose")
    rendered, written = page.locator(".prose"), page.locator(".written .as-written")
    switches = page.locator(".written > summary")
    last = switches.last
    last.scroll_into_view_if_needed()
    before = last.bounding_box()
    last.click()
    for number in (0, 5):
        expect(written.nth(number)).to_be_visible()
        expect(rendered.nth(number)).to_be_hidden()
    after = last.bounding_box()
    assert before
    assert after
    assert abs(after["y"] - before["y"]) < 2 or page.evaluate("scrollY + innerHeight >= document.body.scrollHeight - 2")
    page.reload()
    expect(written.first).to_be_visible()
    page.keyboard.press("v")
    expect(written.first).to_be_hidden()
    expect(rendered.first).to_be_visible()
    page.keyboard.press("v")
    expect(rendered.first).to_be_hidden()
    # Another person at this browser has a switch of their own.
    server.person = 8
    page.reload()
    expect(rendered.first).to_be_visible()
    expect(written.first).to_be_hidden()


def test_the_line_that_is_read_stays_when_a_key_switches(page: Page) -> None:
    page.goto("/prose")
    texts = page.locator("[data-source]")
    at = """e => {
      const shown = [...e.querySelectorAll(".prose, .as-written")].find((one) => one.checkVisibility());
      const box = shown.getBoundingClientRect();
      return (innerHeight / 3 - box.top) / box.height;
    }"""
    middle = texts.nth(texts.count() // 2)
    middle.evaluate("e => scrollTo({ top: e.offsetTop - innerHeight / 3 + 40, behavior: 'instant' })")
    before = middle.evaluate(at)
    for _ in range(2):
        page.keyboard.press("v")
        assert abs(middle.evaluate(at) - before) < 0.1


def test_each_block_has_its_own_direction_and_code_runs_left_to_right(page: Page) -> None:
    shown(page, MIXED)
    box = page.locator(".preview .prose")

    def directions(selector: str) -> list[str]:
        return box.locator(selector).evaluate_all("all => all.map(one => getComputedStyle(one).direction)")

    assert directions(":scope > p") == ["rtl", "ltr"]
    assert directions("li") == ["rtl", "ltr"]
    assert directions("li > p") == ["rtl", "ltr"]
    assert directions("blockquote") == ["rtl"]
    assert directions("table") == ["rtl"]
    # It stands at the side where its lines begin, and a wide one is scrolled from there.
    assert box.locator(".wide-table").evaluate(
        "e => Math.abs(e.getBoundingClientRect().right - e.firstChild.getBoundingClientRect().right) < 2"
    )
    assert directions("th, td") == ["rtl", "ltr", "ltr", "rtl"]
    assert set(directions("code, pre")) == {"ltr"}
    # The item's number is to the right of its words.
    number, item = (box.locator(name).first.bounding_box() for name in (".number", "li p"))
    assert number
    assert item
    assert number["x"] > item["x"] + item["width"] / 2
    # The first line of the code begins at the left edge of its box.
    left = box.locator("pre code").evaluate(
        "e => { const first = document.createTreeWalker(e, NodeFilter.SHOW_TEXT).nextNode();"
        " const r = document.createRange(); r.setStart(first, 0); r.setEnd(first, 2);"
        " return r.getBoundingClientRect().left - e.closest('pre').getBoundingClientRect().left; }"
    )
    assert left < 40


NESTED = {
    "a list in a quote": (f"> - {HEBREW}", "blockquote"),
    "a quote in a quote": (f"> > {HEBREW}", "blockquote"),
    "a heading in a quote": (f"> # {HEBREW}", "blockquote"),
    "a table in a quote": (f"> | {HEBREW} |\n> |---|", "blockquote"),
    "a heading in a list": (f"- # {HEBREW}", "li"),
    "a quote in a numbered list": (f"1. > {HEBREW}", "li"),
    "a list in a list": (f"- - {HEBREW}\n  - {HEBREW}\n- {HEBREW}", "li"),
    "code at the beginning of an item": (f"- ```\n  f(x)\n  ```\n  {HEBREW}", "li"),
    "indented code at the beginning of a quote": (f">     f(x)\n>\n> {HEBREW}", "blockquote"),
}


@pytest.mark.parametrize(("text", "around"), NESTED.values(), ids=NESTED.keys())
def test_a_block_around_others_has_the_direction_of_the_first_text_in_it(page: Page, text: str, around: str) -> None:
    """Its bullet, its number or its line is at the side where the text begins."""
    page.goto("/prose")
    box = page.locator(".prose").first
    box.evaluate("(box, html) => { box.innerHTML = html }", render(text))
    directions = box.locator(around).evaluate_all("all => all.map(one => getComputedStyle(one).direction)")
    assert directions
    assert set(directions) == {"rtl"}


def test_emphasis_inside_of_the_same_emphasis_is_seen(page: Page) -> None:
    page.goto("/prose")
    box = page.locator(".prose").first
    box.evaluate("(box, html) => { box.innerHTML = html }", render("*a ***b*** c*\n\n**a ***b*** c**"))
    inner, outer = (
        box.locator(f"{path} >> text=b").last.evaluate("e => getComputedStyle(e).fontStyle")
        for path in ("em em", "strong em")
    )
    assert (inner, outer) == ("normal", "italic")
    assert box.locator("strong strong").evaluate("e => getComputedStyle(e).textDecorationLine") == "underline"


def test_as_written_each_line_has_its_own_direction(page: Page) -> None:
    shown(page, f"{HEBREW}\nEnglish")
    page.get_by_text("As written").click()
    edges = page.locator(".preview .as-written").evaluate(
        """e => { const box = e.getBoundingClientRect(), text = e.firstChild, at = text.data.indexOf("\\n", 1);
        return [[0, at], [at + 1, text.data.length]].map(([from, to]) => { const range = document.createRange();
        range.setStart(text, from); range.setEnd(text, to); const line = range.getBoundingClientRect();
        return line.left - box.left < box.right - line.right ? "left" : "right"; }); }"""
    )
    assert edges == ["right", "left"]


def test_a_wide_table_scrolls_in_its_own_box_and_breaks_no_word(page: Page) -> None:
    page.set_viewport_size({"width": 390, "height": 800})
    words = [f"incomprehensibilities{number}" for number in range(6)]
    shown(page, "|" + "|".join(words) + "|\n" + "|-" * 6 + "|\n")
    box = page.locator(".preview .wide-table")
    assert box.evaluate("e => e.scrollWidth > e.clientWidth")
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    heights = page.locator(".preview th").evaluate_all("all => all.map(e => e.clientHeight)")
    assert max(heights) < 60
    box.focus()
    expect(box).to_be_focused()  # so that arrow keys scroll it


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_texts_are_accessible(browser: Browser, address: str, server: Told, scheme: str) -> None:
    with browser.new_context(base_url=address, color_scheme=scheme) as context:  # type: ignore[arg-type]
        page = context.new_page()
        page.goto("/prose")
        # On this page, unlike on others, no heading comes between the page's own and those of the texts.
        assert [line for line in violations(page) if not line.startswith("heading-order")] == []


@pytest.mark.parametrize("text", [f"ab {HEBREW} ( " * 12_000, "a" + "\u0301" * 150_000], ids=["directions", "accents"])
def test_a_text_that_takes_minutes_to_lay_out_in_one_piece_is_there_in_time(page: Page, text: str) -> None:
    """In one piece the browser answers nothing for minutes, far beyond the limit of every step here."""
    page.goto("/prose")
    page.locator(".prose").first.evaluate("(prose, html) => { prose.innerHTML = html }", render(text))
    expect(page.locator(".as-written .piece").first).to_be_visible()
    assert page.evaluate("() => document.documentElement.scrollHeight") > 10_000
