"""What stands around every page: the policy for content, the colours, the keys, failures that are told, error pages."""

import re
from pathlib import Path

import pytest
from django.template.loader import render_to_string
from django.test import Client, RequestFactory
from playwright.sync_api import Browser, Page, expect

from tests.pages.conftest import Told, violations

TEMPLATES = Path(__file__).resolve().parents[2] / "templates"
INLINE = re.compile(
    r"<script(?![^>]*\bsrc=)|<style|\sstyle=|\son[a-z]+=[\"']|javascript:|\shx-on|\shx-vals=[\"']js:", re.I
)
ELSEWHERE = re.compile(r"(?:src|href)=[\"']?(?:https?:)?//", re.I)


@pytest.mark.parametrize("pattern", [INLINE, ELSEWHERE], ids=["inline", "elsewhere"])
def test_no_template_needs_what_the_policy_forbids(pattern: re.Pattern[str]) -> None:
    faults = [
        f"{path.relative_to(TEMPLATES)}: {found.group()}"
        for path in sorted(TEMPLATES.rglob("*.html"))
        for found in pattern.finditer(path.read_text())
    ]
    assert faults == []


@pytest.mark.urls("tests.pages.urls")
@pytest.mark.parametrize("code", ["403", "403_csrf", "404", "429"])
def test_a_refusal_has_one_heading_and_a_way_on(code: str) -> None:
    html = render_to_string(f"{code}.html", request=RequestFactory().get("/"))
    assert len(re.findall(r"<h1>[^<]+</h1>", html)) == 1
    assert '<a href="/">' in html


def test_the_page_of_a_broken_server_needs_nothing_of_it() -> None:
    html = render_to_string("500.html")
    assert "<h1>Server error</h1>" in html


@pytest.mark.urls("tests.pages.urls")
def test_a_form_without_its_token_is_told_what_to_do() -> None:
    response = Client(enforce_csrf_checks=True).post("/", {"text": "x"})
    assert response.status_code == 403
    assert 'data-fact="out-of-date"' in response.content.decode()


@pytest.mark.browser
class TestInTheBrowser:
    def test_the_colours_are_kept(self, page: Page) -> None:
        page.emulate_media(color_scheme="light")
        page.goto("/")
        toggle = page.locator("[data-theme-toggle]")
        light = page.evaluate("getComputedStyle(document.documentElement).backgroundColor")
        toggle.click()
        toggle.click()
        expect(page.locator("html")).to_have_attribute("data-theme", "dark")
        page.reload()
        assert page.evaluate("getComputedStyle(document.documentElement).backgroundColor") != light
        expect(toggle).to_have_attribute("aria-label", "Colours: dark")
        toggle.click()
        assert page.evaluate("getComputedStyle(document.documentElement).backgroundColor") == light

    def test_the_key_help_lists_what_the_page_offers(self, page: Page) -> None:
        page.goto("/")
        page.keyboard.press("?")
        expect(page.locator("#key-help")).to_contain_text("Load")
        expect(page.locator("#key-help")).to_contain_text("Submit, from anywhere")
        page.keyboard.press("Escape")
        page.locator("#id_text").focus()
        page.keyboard.press("?")
        expect(page.locator("#key-help")).to_be_hidden()

    def test_a_key_that_is_still_down_when_a_dialog_opens_does_nothing_in_it(self, page: Page) -> None:
        page.goto("/")
        help_ = page.locator("#key-help")
        page.locator("[data-opens=key-help]").focus()
        page.keyboard.down("Enter")
        expect(help_).to_be_visible()
        expect(help_).to_be_focused()  # and none of its controls
        help_.get_by_role("button", name="Close").focus()
        page.keyboard.down("Enter")  # the same key press repeats
        expect(help_).to_be_visible()
        page.keyboard.up("Enter")
        expect(help_).to_be_visible()
        page.keyboard.press("Enter")
        expect(help_).to_be_hidden()

    @pytest.mark.parametrize("kind", ["click", "keydown"])
    def test_what_was_on_its_way_before_a_dialog_was_on_the_screen_does_nothing_in_it(
        self, page: Page, kind: str
    ) -> None:
        page.goto("/")
        taken = page.evaluate(
            """async (kind) => {
              const make = () => kind === "click" ? new MouseEvent(kind, { cancelable: true, bubbles: true })
                : new KeyboardEvent(kind, { key: " ", code: "Space", cancelable: true, bubbles: true });
              const frames = async (count) => { while (count--) await new Promise(requestAnimationFrame); };
              const box = document.querySelector("input[data-keys-off]");
              const [early, unseen] = [make(), make()];
              document.querySelector("[data-opens=key-help]").click();
              const taken = [box.dispatchEvent(unseen)];
              await frames(5);
              taken.push(box.dispatchEvent(early));
              box.dispatchEvent(new KeyboardEvent("keyup", { code: "Space", bubbles: true }));
              taken.push(box.dispatchEvent(make()));
              return taken;
            }""",
            kind,
        )
        assert taken == [False, False, True]
        expect(page.locator("input[data-keys-off]")).to_be_checked(checked=kind == "click")

    def test_a_part_is_loaded_by_a_key_and_its_scripts_do_not_run(self, page: Page) -> None:
        page.goto("/")
        page.keyboard.press("x")
        expect(page.locator("#part")).to_contain_text("loaded")
        expect(page).to_have_title(re.compile("A test"))

    @pytest.mark.parametrize(("status", "words"), [(502, "The server could not answer"), (409, "out of date")])
    def test_a_part_that_fails_says_so(self, page: Page, server: Told, status: int, words: str) -> None:
        server.part = status
        page.goto("/")
        page.keyboard.press("x")
        expect(page.locator("#toasts")).to_contain_text(words)
        server.part = 200
        page.keyboard.press("x")
        expect(page.locator("#toasts")).to_be_empty()

    def test_an_expired_session_moves_the_whole_page(self, page: Page, server: Told) -> None:
        server.part = 302
        page.goto("/?page=2")
        page.keyboard.press("x")
        expect(page.locator("h1")).to_have_text("Log in")
        assert page.url.endswith("/account/login/?next=%2F%3Fpage%3D2")

    @pytest.mark.parametrize("scheme", ["light", "dark"])
    @pytest.mark.parametrize("width", [1280, 390])
    @pytest.mark.parametrize("path", ["/", "/account/login/", "/account/password/reset/", "/account/signup/"])
    def test_it_is_accessible_and_fits(
        self, browser: Browser, address: str, path: str, width: int, scheme: str
    ) -> None:
        size = {"width": width, "height": 800}
        with browser.new_context(base_url=address, viewport=size, color_scheme=scheme) as context:  # type: ignore[arg-type]
            page = context.new_page()
            page.goto(path)
            assert violations(page) == []
            assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
