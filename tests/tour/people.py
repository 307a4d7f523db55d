"""What people do in the browser, by the words they read on the page."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from playwright.sync_api import Browser, Page, expect

from tests.tour.platform import Platform

DESKTOP = {"width": 1280, "height": 900}


@contextmanager
def at_work(browser: Browser, platform: Platform, login: str, password: str | None = None) -> Iterator[Page]:
    """A person logged in, in a browser of their own. A page's script error or CSP refusal fails the test."""
    context = browser.new_context(base_url=platform.url, viewport=DESKTOP)
    page = context.new_page()
    trouble: list[str] = []
    page.on("pageerror", lambda error: trouble.append(str(error)))
    page.on("console", lambda said: trouble.append(said.text) if "Content Security Policy" in said.text else None)
    page.goto("/")
    page.get_by_label("Login").or_(page.get_by_label("Username")).first.fill(login)
    page.get_by_label("Password", exact=True).fill(password or platform.password(login))
    page.get_by_role("button", name="Log in").click()
    expect(page.get_by_role("button", name="Log in")).to_have_count(0)
    try:
        yield page
        assert trouble == []
    finally:
        context.close()


def begin(page: Page, campaign: str) -> None:
    """From the desk's first page to a task of the campaign, reading its guideline on the way where it is new."""
    page.goto("/desk/")
    offer = page.get_by_role("article", name=campaign)
    offer.get_by_role("button", name="Start").or_(offer.get_by_role("link")).last.click()
    agree = page.get_by_role("button", name="I have read it")
    submit = page.get_by_role("button", name="Submit, next task")
    expect(agree.or_(submit).first).to_be_visible()
    if agree.is_visible():
        agree.click()
    expect(submit).to_be_visible()


def submit_and_stop(page: Page) -> None:
    page.get_by_role("button", name="Submit and stop").click()
    expect(page.locator("[data-undo]")).to_be_visible()


def rank_by_keys(page: Page, places: Sequence[int], ratings: Sequence[int]) -> None:
    """Rate and rank the candidates A, B, ... with the keyboard alone."""
    letters = "ABCDEFGHI"[: len(places)]
    page.wait_for_load_state()  # the keys are the modules' business
    page.locator("body").press("Escape")
    for letter, rating in zip(letters, ratings, strict=True):
        page.keyboard.press(letter.lower())
        page.keyboard.press(str(rating))
    page.keyboard.press("r")
    for letter, place in zip(letters, places, strict=True):
        page.keyboard.press(letter.lower())
        page.keyboard.press(str(place))


def candidates(page: Page) -> int:
    page.wait_for_load_state()
    return page.locator("[data-candidate]").count()
