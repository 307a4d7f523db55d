"""What is handed in is delivered once, or is here, and the page says which."""

import re
from collections.abc import Iterator

import pytest
from playwright.sync_api import Page, Route, expect

from tests.pages.conftest import Told

pytestmark = pytest.mark.browser
KEPT = "() => Object.values(localStorage).filter((record) => record.includes('my words')).length"


@pytest.fixture
def task(page: Page, server: Told) -> Iterator[Page]:
    page.goto("/task")
    page.fill("#id_text", "my words")
    yield page
    for other in page.context.pages:
        other.evaluate("localStorage.clear()")


def hand_in(task: Page) -> None:
    task.keyboard.press("Control+Enter")


def waits(task: Page, words: str) -> None:
    expect(task.locator("[data-hand-in-words]")).to_contain_text(words)


def bar(page: Page, words: str) -> None:
    expect(page.locator("[data-outbox-words]")).to_contain_text(words)


def hope(page: Page) -> None:
    """As when the connection comes back."""
    page.evaluate("dispatchEvent(new Event('online'))")


def went_on(task: Page) -> None:
    expect(task).to_have_url(re.compile("/elsewhere$"))
    assert task.evaluate(KEPT) == 0


def test_clicks_and_keys_in_a_row_are_one_submit(task: Page, server: Told) -> None:
    held: list[Route] = []
    task.route("**/submit", lambda route: held.append(route))
    button = task.get_by_role("button", name="Submit", exact=True)
    with task.expect_request("**/submit"):
        button.dblclick()
        task.keyboard.press("Control+Enter")
    expect(button).to_have_attribute("aria-busy", "true")
    expect(task.locator("[data-hand-in-say]")).to_have_text("Submitting…")
    assert len(held) == 1
    held[0].continue_()
    went_on(task)
    assert [sent["text"] for sent in server.submits] == ["my words"]


@pytest.mark.parametrize(
    ("status", "words"),
    [(302, "you are logged out"), (403, "you are logged out"), (429, "no connection"), (502, "no connection")],
)
def test_what_is_not_delivered_waits_and_is_shown_again(task: Page, server: Told, status: int, words: str) -> None:
    server.submit = status
    hand_in(task)
    waits(task, words)
    expect(task.get_by_role("button", name="Submit", exact=True)).to_be_disabled()
    task.reload()
    waits(task, words)
    expect(task.locator("#id_text")).to_have_value("my words")
    expect(task.locator("[data-draft-offer]")).to_be_hidden()
    server.submit = 200
    hope(task)
    went_on(task)
    assert len({sent["submit_key"] for sent in server.submits}) == 1


def test_a_networks_own_login_page_is_no_success(task: Page, server: Told) -> None:
    task.route("**/submit", lambda route: route.fulfill(body="<h1>Welcome to our wireless network</h1>"), times=1)
    hand_in(task)
    waits(task, "no connection")
    task.click("[data-hand-in-now]")
    went_on(task)


def test_what_was_taken_back_is_another_answer(task: Page, server: Told) -> None:
    server.submit = 502
    hand_in(task)
    waits(task, "no connection")
    task.click("[data-hand-in-back]")
    expect(task.locator("#id_text")).to_be_focused()
    task.keyboard.type(" and more")
    expect(task.locator("[data-save-state=saved]")).to_be_visible()
    server.submit = 200
    hope(task)
    hand_in(task)
    went_on(task)
    first, last = server.submits[0], server.submits[-1]
    assert (first["text"], last["text"]) == ("my words", "my words and more")
    assert first["submit_key"] != last["submit_key"], "the first may have arrived, and its key would answer for it"


@pytest.mark.parametrize("status", [409, 422])
def test_a_refusal_is_shown_by_the_page_of_the_plain_form(task: Page, server: Told, status: int) -> None:
    server.submit = status
    hand_in(task)
    expect(task.get_by_text("What the plain form gets")).to_be_visible()
    expect(task.locator("#sent")).to_contain_text("my words")


def test_a_refusal_without_a_page_leaves_the_text_where_it_is(task: Page, server: Told) -> None:
    server.submit = 404
    hand_in(task)
    waits(task, "Not submitted. Your time is over.")
    expect(task.locator("#id_text")).to_have_value("my words")
    expect(task.get_by_role("button", name="Submit", exact=True)).to_be_enabled()


def test_another_page_delivers_and_keeps_what_is_refused_for_the_person_to_discard(task: Page, server: Told) -> None:
    server.submit = 502
    hand_in(task)
    waits(task, "no connection")
    task.goto("/elsewhere")
    box = task.get_by_role("region", name="Answers in this browser")
    expect(box).to_contain_text("1 answer is waiting to be sent.")
    expect(box.get_by_role("link", name="Open the task")).to_have_attribute("href", "/task")
    server.submit = 409
    box.get_by_role("button", name="Send now").click()
    expect(box).to_contain_text("was not submitted. Your time is over.")
    assert server.submits[-1]["then"] == "stop", "nobody is there to take a next task"
    box.get_by_role("button", name="Copy the text").click()
    expect(box.get_by_role("textbox")).to_have_value("my words")
    assert task.evaluate("getSelection().toString() || document.activeElement.value") == "my words"
    sent = len(server.submits)
    task.reload()
    expect(box).to_contain_text("was not submitted")
    assert len(server.submits) == sent, "what was refused is not sent again"
    box.get_by_role("button", name="Discard it").click()
    expect(box).to_be_hidden()


REFUSED = """number => localStorage.setItem(`annotate:outbox:${number}`, JSON.stringify({
  key: `${number}`, url: `/task/${number}`, page: "/task", draft: "", name: "A campaign",
  person: document.body.dataset.person, at: number, then: "", active: "", body: { text: "my words" }, refused: "No.",
}))"""


def test_a_double_click_discards_one_answer(task: Page) -> None:
    for number in (1, 2, 3):
        task.evaluate(REFUSED, number)
    task.goto("/elsewhere")
    discard = task.get_by_role("button", name="Discard it")
    box = discard.first.bounding_box()
    assert box
    task.mouse.dblclick(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    expect(discard).to_have_count(2)


def test_two_tabs_send_it_once_and_both_learn_it(task: Page, server: Told) -> None:
    server.submit = 502
    hand_in(task)
    waits(task, "no connection")
    other = task.context.new_page()
    other.goto("/elsewhere")
    bar(other, "1 answer is waiting to be sent.")
    held: list[Route] = []
    other.route("**/submit", lambda route: held.append(route))
    with other.expect_request("**/submit"):
        hope(other)
    sent, server.submit = len(server.submits), 200
    hope(task)
    task.click("[data-hand-in-now]")
    task.evaluate("navigator.locks.query()")
    assert len(server.submits) == sent, "the other tab is sending it"
    held[0].continue_()
    bar(other, "is submitted.")
    went_on(task)
    assert len(server.submits) == sent + 2, "the other tab's, and the question where to go from here"
    assert len({one["submit_key"] for one in server.submits}) == 1


def test_another_person_neither_sees_nor_sends_it(task: Page, server: Told) -> None:
    server.submit = 302
    hand_in(task)
    waits(task, "you are logged out")
    sent = len(server.submits)
    server.submit, server.person = 200, 8
    hope(task)
    task.goto("/elsewhere")
    expect(task.get_by_role("region", name="Answers in this browser")).to_be_hidden()
    task.goto("/task")
    expect(task.locator("#id_text")).to_have_value("")
    expect(task.locator("[data-hand-in-notice]")).to_be_hidden()
    assert len(server.submits) == sent
    server.person = 7
    task.goto("/elsewhere")
    bar(task, "is submitted.")
    assert [one["text"] for one in server.submits[sent:]] == ["my words"]


def test_where_nothing_can_be_kept_the_page_goes_on_trying_and_says_so(page: Page, server: Told) -> None:
    page.add_init_script("Storage.prototype.setItem = () => { throw new DOMException('full', 'QuotaExceededError') }")
    page.goto("/task")
    page.fill("#id_text", "my words")
    server.submit = 502
    hand_in(page)
    waits(page, "this browser cannot keep your answer. Leave this page open")
    server.submit = 200
    page.click("[data-hand-in-now]")
    went_on(page)
    assert server.submits[-1]["text"] == "my words"
