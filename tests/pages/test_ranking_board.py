"""The board ranks by mouse, by touch and by keys alone, and writes nothing that no person chose."""

import json

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.pages.conftest import Told, violations

pytestmark = pytest.mark.browser
LETTERS = "ABCDE"


@pytest.fixture
def board(page: Page) -> Page:
    page.goto("/board")
    expect(page.locator("[data-board]")).to_be_visible()
    return page


def keys(board: Page, *pressed: str) -> None:
    for key in pressed:
        board.keyboard.press(key)


def places(board: Page) -> str:
    return "".join(board.locator(f"[name=place-{letter}]").input_value() or "-" for letter in LETTERS)


def order(board: Page) -> str:
    return board.locator("[data-order]").inner_text()


def said(board: Page) -> str:
    return board.locator("[data-say]").inner_text()


def sent(board: Page) -> dict[str, list[str]]:
    values = json.loads(board.locator("#sent").inner_text())
    assert isinstance(values, dict)
    return values


def test_a_whole_ranking_with_a_tie_by_keys_alone(board: Page) -> None:
    keys(board, "a", "5", "j", "6", "c", "3", "k", "7", "d", "1", "e", "2")
    assert "All are rated" in said(board)
    keys(board, "r", "a", "2", "b", "1", "c", "2", "d", "5", "e", "5", "ArrowUp")
    assert order(board) == "B > A = C > E > D"
    assert said(board) == "Candidate E: place 4."
    keys(board, "Control+Enter")
    assert sent(board) == {
        **{f"rating-{letter}": [rating] for letter, rating in zip(LETTERS, "57312", strict=True)},
        **{f"place-{letter}": [place] for letter, place in zip(LETTERS, "21254", strict=True)},
    }


def test_ranks_are_shown_as_they_will_be_stored(board: Page) -> None:
    for letter, place in zip(LETTERS, "22551", strict=True):
        board.select_option(f"[name=place-{letter}]", place)
    shown = board.locator("[data-implied]").all_inner_texts()
    assert shown == ["1st", "tie for 2nd", "", "", "tie for 3rd"]


def test_an_untouched_board_places_nothing(board: Page) -> None:
    keys(board, "r", "a", "Enter", "j", "k", "r")
    assert places(board) == "-----"
    board.locator("form[data-submit-shortcut]").evaluate("form => form.submit()")  # past the check of the page
    assert sent(board) == {f"place-{letter}": [""] for letter in LETTERS}


def test_what_is_missing_is_said_beside_each_candidate_and_pointed_at(board: Page) -> None:
    keys(board, "a", "6", "b", "5", "r", "a", "1", "c", "2", "Control+Enter")
    expect(board.locator("#sent")).to_have_count(0)
    assert board.evaluate("document.activeElement.name") == "place-B"
    said_beside = [board.locator(f"#missing-{letter}").inner_text() for letter in LETTERS]
    everything = "Rate candidate {0} from 1 to 7. Put candidate {0} in a place."
    assert said_beside == [
        "",
        "Put candidate B in a place.",
        "Rate candidate C from 1 to 7.",
        everything.format("D"),
        everything.format("E"),
    ]
    assert said(board) == "Put candidate B in a place."
    board.select_option("[name=place-B]", "1")
    expect(board.locator("#missing-B")).to_be_hidden()
    expect(board.locator("#missing-C")).to_be_visible()


def test_a_letter_is_dragged_to_a_place_and_back(board: Page) -> None:
    board.drag_and_drop("[data-chip=C]", "[data-place='2'] ul")
    board.drag_and_drop("[data-chip=A]", "[data-place='2'] ul")
    assert places(board) == "2-2--"
    assert said(board) == "Candidate A: place 2, tied with C."
    board.drag_and_drop("[data-chip=C]", "[data-place=''] ul")
    assert places(board) == "2----"
    keys(board, "0")
    assert places(board) == "2----", "the letter that was dragged has the focus"


def test_dropping_one_letter_upon_another_is_a_tie(board: Page) -> None:
    board.drag_and_drop("[data-chip=C]", "[data-place='2'] ul")
    board.drag_and_drop("[data-chip=A]", "[data-chip=C]")
    board.drag_and_drop("[data-chip=E]", "[data-chip=A]", target_position={"x": 3, "y": 3})
    assert places(board) == "2-2-2"


def test_a_letter_dropped_elsewhere_stays_where_it_was(board: Page) -> None:
    board.drag_and_drop("[data-chip=C]", "[data-place='2'] ul")
    board.drag_and_drop("[data-chip=C]", "h1")
    assert places(board) == "--2--"


def test_a_letter_and_then_a_place_are_enough_for_a_mouse(board: Page) -> None:
    board.click("[data-chip=B]")
    board.click("[data-place='3']", position={"x": 10, "y": 10})
    assert places(board) == "-3---"
    keys(board, "ArrowUp", "ArrowUp", "ArrowUp")
    assert places(board) == "-1---"
    keys(board, "Backspace")
    assert places(board) == "-----"


def test_a_letter_taken_back_leaves_no_trace(board: Page) -> None:
    keys(board, "r", "a", "1", "0")
    assert (places(board), order(board)) == ("-----", "")
    assert said(board) == "Candidate A is not placed."


def test_digits_beyond_the_last_place_do_nothing(board: Page) -> None:
    keys(board, "r", "a", "9")
    assert places(board) == "-----"


def test_a_rating_and_a_place_that_contradict_each_other_are_named(board: Page) -> None:
    slip = board.locator("[data-slip]")
    keys(board, "a", "7", "b", "2", "r", "a", "5", "b", "1")
    expect(slip).to_contain_text("A is rated 7 and stands below B, rated 2.")
    keys(board, "a", "1")
    expect(slip).to_be_hidden()


def test_two_compared_candidates_stand_alone_and_nothing_hidden_blocks_the_submit(board: Page) -> None:
    keys(board, "a", "p", "c", "p")
    shown = board.locator("[data-candidate]:visible")
    expect(shown).to_have_count(2)
    keys(board, "Escape")
    expect(shown).to_have_count(5)
    keys(board, "b", "p", "c", "p", "Control+Enter")
    expect(shown).to_have_count(5)


def test_no_text_is_cut_off(board: Page) -> None:
    for text in board.locator(".candidate .prose").all():
        assert text.evaluate("e => e.scrollHeight <= e.clientHeight + 1 && getComputedStyle(e).overflowY === 'visible'")


def test_keys_do_nothing_when_they_are_switched_off(board: Page) -> None:
    keys(board, "?")
    board.locator("[data-keys-off]").check()
    keys(board, "Escape", "a", "5", "r")
    assert board.locator(":checked[type=radio]").count() == 0
    board.reload()
    keys(board, "a", "5")
    assert board.locator(":checked[type=radio]").count() == 0


def test_keys_that_are_typed_into_a_field_are_text(board: Page) -> None:
    board.locator("[name=place-A]").focus()
    keys(board, "3")
    assert places(board) == "3----"


def test_a_draft_put_back_is_drawn(board: Page, server: Told) -> None:
    server.draft = 302
    keys(board, "a", "6", "r", "b", "2")
    expect(board.locator("[data-save-state=kept]")).to_be_visible()
    board.reload()
    board.click("[data-draft-use]")
    assert order(board) == "B"
    expect(board.locator("[name=rating-A][value='6']")).to_be_checked()


def test_without_javascript_the_form_is_whole(browser: Browser, address: str) -> None:
    with browser.new_context(base_url=address, java_script_enabled=False) as context:
        page = context.new_page()
        page.goto("/board")
        expect(page.locator("[data-board]")).to_be_hidden()
        for letter, number in zip(LETTERS, "12345", strict=True):
            page.locator(f"[name=rating-{letter}][value='{number}']").check(force=True)
            page.select_option(f"[name=place-{letter}]", number)
        page.click("text=Submit")
        assert sent(page)["place-E"] == sent(page)["rating-E"] == ["5"]


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 390])
def test_it_is_accessible_and_fits(browser: Browser, address: str, width: int, scheme: str) -> None:
    with browser.new_context(
        base_url=address, viewport={"width": width, "height": 800}, color_scheme=scheme
    ) as context:  # type: ignore[arg-type]
        page = context.new_page()
        page.goto("/board")
        if width < 700:
            page.click("[data-board-toggle]")
        page.click("[data-chip=B]")
        page.click("[data-place='2']", position={"x": 10, "y": 10})
        assert violations(page) == []
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
