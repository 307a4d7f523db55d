"""Blocks of code in Chromium: colours change no character, long lines scroll in their own box, and copies are exact."""

import random

import pytest
from playwright.sync_api import Browser, Page, expect

from annotate.lib.markdown import render
from tests.pages.conftest import Told, read, violations

pytestmark = pytest.mark.browser

LONG = "total = " + " + ".join(f"amounts[{number}]" for number in range(60))
PYTHON = f"def add(a, b):\n    # Not a product.\n    return 'sum', {LONG}\n"
CODES = {
    "python": PYTHON,
    "js": "const f = async (x) => `${x}<b>` // done\n",
    "c++": 'template <class T> T f(T &x) { return x < 1 ? x : "&lt;"; }\n',
    "html": '<p class="a">&amp; <script>alert(1)</script></p>\n',
    "sql": "SELECT count(*) FROM \"t\" WHERE a <> 'it''s' -- none\n",
    "json": '{"a": [1, null, true], "b": "\\u0000"}\n',
    "bash": "for f in *.py; do echo \"$f\" | sed 's/a/b/'; done\n",
    "diff": "--- a\n+++ b\n@@ -1 +1 @@\n-old\n+new\n",
}


def show(page: Page, text: str) -> None:
    page.goto("/prose")
    page.locator(".prose").first.evaluate(
        """(prose, html) => {
          prose.innerHTML = html;
          prose.dispatchEvent(new CustomEvent("rendered", { bubbles: true }));
        }""",
        render(text),
    )


def fenced(code: str, language: str = "") -> str:
    return f"~~~~{language}\n{code}~~~~\n"


@pytest.mark.parametrize("language", CODES)
def test_code_has_colours_and_keeps_every_character(page: Page, language: str) -> None:
    show(page, fenced(CODES[language], language))
    block = page.locator(".prose").first.locator("pre.fenced")
    expect(block.locator("code span").first).to_be_visible()
    assert block.locator("code").text_content() == CODES[language]
    colours = block.locator("code span").evaluate_all("all => all.map((one) => getComputedStyle(one).color)")
    assert len({*colours, block.evaluate("e => getComputedStyle(e).color")}) > 1
    assert block.locator("script").count() == 0
    # The language is still there to read.
    assert language in read(page.locator(".prose").first)


def test_no_code_found_at_random_loses_or_gains_a_character(page: Page) -> None:
    chance = random.Random(11)
    signs = "\"'`<>&\\{}()[]#/*-=+%$@!;:,. \n\t"
    words = ("é", "😀", "שלום", "def ", "class ", "/*", "*/", "<!--", "-->", "1e5", "a1")
    pieces = [*signs, *words]
    codes = ["".join(chance.choices(pieces, k=chance.randrange(1, 80))) + "\n" for _ in range(120)]
    codes.append(PYTHON)  # blocks are coloured in their order
    languages = [*chance.choices([*CODES, "rust", "yaml", "php"], k=len(codes) - 1), "python"]
    show(page, "\n".join(map(fenced, codes, languages)))
    blocks = page.locator(".prose").first.locator("pre.fenced > code")
    expect(blocks).to_have_count(len(codes))
    expect(blocks.last.locator("span").first).to_be_visible()
    assert blocks.all_text_contents() == codes


def test_invisible_characters_stay_marked_in_code(page: Page) -> None:
    show(page, fenced("x = 'a\u202eb'\n", "python") + "\n" + fenced(PYTHON, "python"))
    blocks = page.locator(".prose").first.locator("pre.fenced")
    # Blocks are coloured in their order.
    expect(blocks.nth(1).locator("code span").first).to_be_visible()
    expect(blocks.nth(0).locator("mark")).to_have_text("U+202E")


def test_a_long_line_scrolls_in_its_own_box_by_keys(page: Page) -> None:
    page.set_viewport_size({"width": 390, "height": 800})
    show(page, fenced(PYTHON) + "\n" + fenced("x = 1\n"))
    long, short = (page.locator(".prose").first.locator("pre.fenced").nth(number) for number in (0, 1))
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    assert long.evaluate("e => e.scrollWidth > 2 * e.clientWidth")
    # Three lines, none of them broken.
    assert long.evaluate("e => e.clientHeight") < 4 * 30
    expect(long).to_have_attribute("tabindex", "0")
    expect(short).not_to_have_attribute("tabindex", "0")
    long.focus()
    page.keyboard.press("ArrowRight")
    page.wait_for_function("e => e.scrollLeft > 0", arg=long.element_handle())


def test_lines_wrap_or_have_numbers_and_the_choice_is_kept(page: Page) -> None:
    show(page, fenced(PYTHON, "python"))
    box = page.locator(".prose").first
    block, wrap, numbers = (
        box.locator("pre.fenced"),
        box.locator("[data-code=wrap]"),
        box.locator("[data-code=numbers]"),
    )
    wrap.click()
    expect(wrap).to_have_attribute("aria-pressed", "true")
    assert block.evaluate("e => e.scrollWidth <= e.clientWidth")
    numbers.click()
    expect(wrap).to_have_attribute("aria-pressed", "false")
    expect(block.locator(".gutter")).to_have_text("1\n2\n3", use_inner_text=True)
    lines = block.locator("code").evaluate("e => [...e.getClientRects()].length && e.getBoundingClientRect().top")
    assert abs(block.locator(".gutter").bounding_box()["y"] - lines) < 2  # type: ignore[index]
    show(page, fenced(PYTHON, "python"))
    expect(numbers).to_have_attribute("aria-pressed", "true")
    expect(block.locator(".gutter")).to_be_visible()
    numbers.click()
    expect(block.locator(".gutter")).to_have_count(0)


def test_a_copy_is_exactly_the_code(page: Page) -> None:
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    show(page, fenced(PYTHON, "python"))
    box = page.locator(".prose").first
    box.locator("[data-code=numbers]").click()
    copy = box.locator("[data-code-copy]")
    copy.click()
    expect(copy).to_have_text(str(copy.get_attribute("data-text-done")))
    assert page.evaluate("navigator.clipboard.readText()") == PYTHON


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_coloured_code_is_accessible(browser: Browser, address: str, server: Told, scheme: str) -> None:
    with browser.new_context(base_url=address, color_scheme=scheme) as context:  # type: ignore[arg-type]
        page = context.new_page()
        show(page, "\n".join(fenced(code, language) for language, code in CODES.items()))
        expect(page.locator(".prose").first.locator("pre.fenced:has(code > span)")).to_have_count(len(CODES))
        page.locator("[data-code=numbers]").first.click()
        assert [line for line in violations(page) if not line.startswith("heading-order")] == []
