"""What is typed is on the server or in the browser, whatever happens in between, and comes back."""

import pytest
from playwright.sync_api import Page, expect

from tests.pages.conftest import Told

pytestmark = pytest.mark.browser


@pytest.fixture
def writing(page: Page) -> Page:
    page.goto("/")
    return page


def write(page: Page, text: str) -> None:
    page.fill("#id_text", text)


def state(page: Page, name: str) -> None:
    expect(page.locator("[data-save-state]")).to_have_attribute("data-save-state", name)


def kept(page: Page) -> int:
    count = page.evaluate("Object.keys(localStorage).filter(key => key.startsWith('annotate:draft:')).length")
    assert isinstance(count, int)
    return count


def test_a_pause_saves_and_then_the_browser_keeps_nothing(writing: Page, server: Told) -> None:
    write(writing, "Hello 👍")
    writing.check("[value=unsafe]")
    writing.fill("#response-2", "Positive")
    state(writing, "saved")
    assert server.drafts == [
        {"text": "Hello 👍", "reasons": ["unsafe"], "query": ["", ""], "response": ["", "Positive"]}
    ]
    assert kept(writing) == 0


def test_offline_it_is_kept_and_saved_as_soon_as_there_is_a_connection(writing: Page, server: Told) -> None:
    writing.context.set_offline(True)
    write(writing, "on a train")
    state(writing, "kept")
    expect(writing.locator("[data-save-trouble]")).to_contain_text("no connection")
    assert kept(writing) == 1
    writing.context.set_offline(False)
    state(writing, "saved")
    assert [body["text"] for body in server.drafts] == ["on a train"]
    assert kept(writing) == 0


@pytest.mark.parametrize(
    ("status", "words"),
    [(302, "you are logged out"), (403, "you are logged out"), (502, "no connection"), (409, "over")],
)
def test_what_the_server_did_not_take_is_offered_again(writing: Page, server: Told, status: int, words: str) -> None:
    server.draft = status
    write(writing, "my words")
    state(writing, "kept")
    expect(writing.locator("[data-save-state]")).to_contain_text(words)
    writing.reload()
    expect(writing.locator("#id_text")).to_have_value("")
    expect(writing.locator("[data-draft-offer]")).to_be_visible()
    server.draft = 200
    writing.click("[data-draft-use]")
    expect(writing.locator("#id_text")).to_have_value("my words")
    state(writing, "saved")
    assert server.drafts[-1]["text"] == "my words"
    assert kept(writing) == 0


def test_neither_the_old_nor_the_new_text_is_lost_by_a_choice(writing: Page, server: Told) -> None:
    server.draft = 302
    write(writing, "old")
    state(writing, "kept")
    writing.reload()
    server.draft = 200
    write(writing, "new")
    state(writing, "saved")
    assert kept(writing) == 1, "saving the new text must not drop the old one"
    writing.click("[data-draft-use]")
    expect(writing.locator("#id_text")).to_have_value("old")
    writing.click("[data-draft-use]")
    expect(writing.locator("#id_text")).to_have_value("new")


def test_a_double_click_discards_one_text(writing: Page, server: Told) -> None:
    server.draft = 302
    for text in ("older", "newer"):
        write(writing, text)
        state(writing, "kept")
        writing.reload()
    offer = writing.locator("[data-draft-offer]")
    expect(offer).to_be_visible()
    before = kept(writing)
    writing.dblclick("[data-draft-drop]")
    expect(offer).to_be_visible()
    assert kept(writing) == before - 1


def test_a_double_click_takes_one_text(writing: Page, server: Told) -> None:
    server.draft = 302
    write(writing, "old")
    state(writing, "kept")
    writing.reload()
    write(writing, "new")
    writing.dblclick("[data-draft-use]")
    expect(writing.locator("#id_text")).to_have_value("old")


def test_leaving_in_mid_sentence_saves(writing: Page, server: Told) -> None:
    write(writing, "in mid sent")
    writing.goto("/account/login/")
    expect(writing.locator("h1")).to_have_text("Log in")
    assert server.drafts[-1]["text"] == "in mid sent"


def test_pairs_come_back_as_many_as_they_were(writing: Page, server: Told) -> None:
    server.draft = 302
    writing.click("[data-pair-add]")
    writing.keyboard.type("third")
    state(writing, "kept")
    writing.reload()
    expect(writing.locator("[data-pair]")).to_have_count(2)
    writing.click("[data-draft-use]")
    expect(writing.locator("#query-3")).to_have_value("third")


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ({"query": ["a", ""], "response": ["", "b"]}, {"query": ["a", ""], "response": ["b", ""]}, False),
        ({"query": ["a", ""], "response": ["b", ""]}, {"query": ["a"], "response": ["b"]}, True),
        ({"text": "a", "reasons": []}, {"text": ["a"], "note": ""}, True),
        ({"text": "25"}, {"text": "2⁵"}, False),
        ({"text": "  a"}, {"text": "a"}, False),
    ],
)
def test_texts_are_the_same_only_in_the_same_fields(writing: Page, one: object, other: object, same: bool) -> None:
    compare = "async (texts) => (await import('/static/js/values.js')).same(...texts)"
    assert writing.evaluate(compare, [one, other]) is same


def test_pairs_are_added_and_removed_with_their_numbers(writing: Page) -> None:
    writing.click("[data-pair-add]")
    writing.click("[data-pair-add]")
    expect(writing.locator("[data-pair-add]")).to_be_hidden()
    writing.locator("[data-pair-remove]").nth(1).click()
    expect(writing.locator("[data-pair-number]")).to_have_text(["1", "2", "3"])
    assert writing.locator("[data-pair] textarea").evaluate_all("all => all.map(one => one.id)") == [
        f"{name}-{number}" for number in (1, 2, 3) for name in ("query", "response")
    ]


def test_a_double_click_removes_one_pair(writing: Page) -> None:
    writing.click("[data-pair-add]")
    for number in (1, 2, 3):
        writing.fill(f"#query-{number}", f"query {number}")
    box = writing.locator("[data-pair-remove]").first.bounding_box()
    assert box
    writing.mouse.dblclick(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    queries = writing.locator("[name=query]").evaluate_all("all => all.map(one => one.value)")
    assert queries == ["query 2", "query 3"]


def test_an_answer_submitted_by_key_is_sent_once_and_not_offered_again(writing: Page, server: Told) -> None:
    server.draft = 302
    write(writing, "the answer")
    writing.keyboard.press("Control+Enter")
    expect(writing.locator("#sent")).to_contain_text("the answer")
    expect(writing.locator("[data-draft-offer]")).to_be_hidden()
    assert "more_pairs" not in writing.locator("#sent").inner_text()


def test_a_lost_lease_is_told_and_takes_nothing_away(writing: Page, server: Told) -> None:
    write(writing, "still here")
    server.renew = 409
    expect(writing.locator("[data-lease-notice]")).to_be_visible()
    expect(writing.locator("[data-lease-words]")).to_have_text("Your time is over.")
    expect(writing.locator("#id_text")).to_have_value("still here")
    expect(writing.get_by_role("button", name="Submit", exact=True)).to_be_enabled()


def test_words_and_characters_are_counted_as_on_the_server(writing: Page) -> None:
    count = writing.locator("#count")
    expect(count).to_have_text("0 words, 0 characters")
    write(writing, "two\n words👍 ")
    expect(count).to_have_text("2 words, 12 characters")
    write(writing, "far too many characters")
    expect(count).to_have_class("too-much")


def test_the_preview_is_the_servers(writing: Page) -> None:
    write(writing, "**bold** <b onclick=x>")
    writing.get_by_role("tab", name="Preview").click()
    panel = writing.get_by_role("tabpanel")
    expect(panel.locator("strong")).to_have_text("bold")
    expect(panel).to_contain_text("<b onclick=x>")
    writing.keyboard.press("ArrowLeft")
    expect(writing.locator("#id_text")).to_be_visible()


def test_what_was_typed_before_the_script_arrived_is_saved_too(page: Page, server: Told) -> None:
    held = []
    page.route("**/draft.js", lambda route: held.append(route))
    page.goto("/", wait_until="commit")
    write(page, "typed on a slow line")
    held[0].continue_()
    state(page, "saved")
    assert server.drafts[-1]["text"] == "typed on a slow line"


def test_who_types_without_a_pause_is_saved_every_five_seconds(page: Page, server: Told) -> None:
    page.clock.install()
    page.goto("/")
    page.clock.pause_at("2100-01-01")
    page.focus("#id_text")
    for fives in (1, 2):
        with page.expect_request("**/draft", timeout=10_000) as saving:
            for _ in range(50):
                page.keyboard.type("x")
                page.clock.run_for(100)
        assert 0 < len(saving.value.post_data_json["body"]["text"]) <= 50 * fives
        saving.value.response()
        assert len(server.drafts) >= fives


def test_who_types_without_a_pause_has_a_copy_in_the_browser_after_a_second(page: Page) -> None:
    page.clock.install()
    page.goto("/")
    page.clock.pause_at("2100-01-01")
    page.focus("#id_text")
    for _ in range(11):
        page.keyboard.type("x")
        page.clock.run_for(100)
    assert kept(page) == 1
