"""The board ranks by mouse, by touch and by keys alone, and writes nothing that no person chose."""

import json
from collections.abc import Iterator

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


def test_a_key_shows_all_candidates_as_written_and_ranks_nothing(board: Page) -> None:
    candidates = board.locator("[data-candidate]")
    rendered, written = candidates.locator(".reading > .prose"), candidates.locator(".as-written")
    keys(board, "b", "v")
    # The fourth candidate is empty.
    assert [text.is_visible() for text in written.all()] == [True, True, True, False, True]
    assert not any(text.is_visible() for text in rendered.all())
    assert places(board) == "-----"
    keys(board, "v")
    assert all(text.is_visible() for text in rendered.all())
    assert not any(text.is_visible() for text in written.all())


def test_the_outline_of_a_candidate_is_inside_of_it_so_that_bars_cover_it(board: Page) -> None:
    keys(board, "c")
    outline = board.locator("[data-candidate=C]").evaluate(
        "e => { const { outlineStyle, outlineWidth, outlineOffset } = getComputedStyle(e);"
        " return [outlineStyle, parseFloat(outlineWidth) + parseFloat(outlineOffset)]; }"
    )
    assert outline == ["solid", 0]


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
    bar = board.locator("[data-incomplete]")
    expect(bar).to_have_text("Not submitted yet. Rate C, D, and E. Place B, D, and E.")
    board.select_option("[name=place-B]", "1")
    expect(bar).to_have_text("Not submitted yet. Rate C, D, and E. Place D and E.")
    expect(board.locator("#missing-B")).to_be_hidden()
    expect(board.locator("#missing-C")).to_be_visible()


SEEN = """(field) => {
  const { left, top, width, height } = field.getBoundingClientRect();
  const there = document.elementFromPoint(left + width / 2, top + height / 2);
  return (field.closest("label") ?? field).contains(there);
}"""


def focus_is_seen(board: Page, name: str) -> None:
    """The field with that name has the focus, and nothing covers it."""
    field = board.locator(f"[name={name}]").first
    expect(field).to_be_focused()
    assert field.evaluate(SEEN)


@pytest.mark.parametrize("size", [(1280, 800), (1024, 600), (390, 800)])
@pytest.mark.parametrize("by", ["mouse", "keys"])
@pytest.mark.parametrize("missing", ["rating-B", "rating-D", "place-C", "place-E"])
def test_the_first_missing_candidate_is_seen_by_mouse_and_by_keys(
    page: Page, by: str, missing: str, size: tuple[int, int]
) -> None:
    page.set_viewport_size({"width": size[0], "height": size[1]})
    page.goto("/board")
    first = LETTERS.index(missing[-1])
    for number, letter in enumerate(LETTERS):
        if number < first or (number == first and missing.startswith("place")):
            page.locator(f"[name=rating-{letter}][value='4']").check(force=True)
        if number < first:
            page.select_option(f"[name=place-{letter}]", "1")
    if page.locator("[data-board-toggle]").is_visible():
        page.click("[data-board-toggle]")  # the open board covers half of the texts
    if by == "mouse":
        page.click("text=Submit")
    else:
        keys(page, "Control+Enter")
    focus_is_seen(page, missing)
    expect(page.locator("[data-incomplete]")).to_contain_text(missing[-1])
    expect(page.locator("#sent")).to_have_count(0)


def test_the_page_and_not_the_browser_checks_what_is_missing(board: Page) -> None:
    assert board.locator("form[data-submit-shortcut]").evaluate("form => form.noValidate")


def test_a_ranking_that_the_server_sends_back_points_at_what_is_missing(page: Page) -> None:
    page.goto("/board?refused")
    focus_is_seen(page, "rating-A")
    expect(page.locator("[data-incomplete]")).to_have_text(
        "Not submitted yet. Rate A, B, C, D, and E. Place A, B, C, D, and E."
    )


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


ROWS = """() => Object.fromEntries([...document.querySelectorAll("[data-place]")].map((row) => {
  const { x, y, width, height } = row.getBoundingClientRect();
  return [row.dataset.place, [x, y, width, height]];
}))"""


def rows(board: Page) -> dict[str, list[float]]:
    """Where each place is: x, y, width, height; the tray has the key ""."""
    found = board.evaluate(ROWS)
    assert isinstance(found, dict)
    return found


def middle(row: list[float]) -> tuple[float, float]:
    x, y, width, height = row
    return x + width * 0.8, y + height / 2


def move(board: Page, row: list[float]) -> None:
    """Into the middle of a place. Chromium reports a move of a drag with the next one: a resting hand makes many."""
    board.mouse.move(*middle(row), steps=3)
    board.mouse.move(*middle(row))


def drag_over_all(board: Page, letter: str, to: str) -> None:
    """Take the letter over every place to this one. A place that moves meanwhile fails."""
    board.locator(f"[data-chip={letter}]").hover()
    before = rows(board)
    board.mouse.down()
    for place in [*before, to]:
        move(board, before[place])
        expect(board.locator(".is-target")).to_have_attribute("data-place", place, timeout=3000)
        assert rows(board) == before, f"over place {place or 'none'}"
    board.mouse.up()
    expect(board.locator(".is-target")).to_have_count(0)


@pytest.mark.parametrize("width", [1280, 390])
@pytest.mark.parametrize("k", range(4, 10))
def test_no_place_moves_during_a_drag_and_the_letter_goes_where_it_is_dropped(page: Page, k: int, width: int) -> None:
    page.set_viewport_size({"width": width, "height": 800})
    page.goto(f"/board?k={k}")
    if width < 700:
        page.click("[data-board-toggle]")
    page.locator("[data-board]").scroll_into_view_if_needed()
    letters = "ABCDEFGHI"[:k]
    placed = {letters[0]: "3", letters[-1]: "3"}
    for letter, place in placed.items():  # from the tray
        drag_over_all(page, letter, place)
    drag_over_all(page, letters[0], "2")  # from a place that shrinks
    for letter in letters[1:-1]:  # to a place that grows to a second row
        page.locator(f"[name=place-{letter}]").evaluate("(list) => { list.value = '2'; }")
    page.locator(f"[name=place-{letters[1]}]").dispatch_event("change")
    drag_over_all(page, letters[1], "1")
    drag_over_all(page, letters[2], "")
    values = {letter: page.locator(f"[name=place-{letter}]").input_value() for letter in letters}
    expected = dict.fromkeys(letters, "2") | {letters[-1]: "3", letters[1]: "1", letters[2]: ""}
    assert values == expected


Points = list[tuple[float, float]]


class Fingers:
    """Touches the page: with all fingers that are on the screen, or at the end with those that are lifted."""

    def __init__(self, page: Page) -> None:
        self.page, self.session = page, page.context.new_cdp_session(page)

    def send(self, kind: str, points: Points, first: int = 0) -> None:
        touches = [{"x": x, "y": y, "id": number} for number, (x, y) in enumerate(points, start=first)]
        self.session.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": touches})

    def take(self, letter: str) -> None:
        box = self.page.locator(f"[data-chip={letter}]").bounding_box()
        assert box
        x, y = box["x"] + 10, box["y"] + 10
        self.send("touchStart", [(x, y)])
        # After the delay that tells a drag from scrolling.
        self.page.locator(f"[data-chip={letter}].sortable-chosen").wait_for()
        self.send("touchMove", [(x + 10, y + 10)])
        self.page.locator(".sortable-fallback").wait_for()


@pytest.fixture
def phone(browser: Browser, address: str) -> Iterator[Page]:
    size = {"width": 390, "height": 800}
    with browser.new_context(base_url=address, viewport=size, has_touch=True, is_mobile=True) as context:  # type: ignore[arg-type]
        page = context.new_page()
        page.goto("/board?k=7")
        page.tap("[data-board-toggle]")
        yield page


def is_target(page: Page, place: str) -> None:
    expect(page.locator(".is-target")).to_have_attribute("data-place", place, timeout=3000)


def test_a_finger_drags_a_letter_and_no_place_moves(phone: Page) -> None:
    before, fingers = rows(phone), Fingers(phone)
    fingers.take("B")
    for place in ("7", "1", "5"):
        fingers.send("touchMove", [middle(before[place])])
        is_target(phone, place)
        assert rows(phone) == before
    fingers.send("touchEnd", [])
    expect(phone.locator("[name=place-B]")).to_have_value("5")


def test_a_second_finger_places_nothing(phone: Page) -> None:
    before, fingers = rows(phone), Fingers(phone)
    fingers.take("B")
    first = middle(before["5"])
    fingers.send("touchMove", [first])
    is_target(phone, "5")
    second = middle(before["2"])
    fingers.send("touchStart", [first, second])
    fingers.send("touchMove", [first, (second[0] + 5, second[1])])
    is_target(phone, "5")
    fingers.send("touchEnd", [second], first=1)
    expect(phone.locator(".is-target, .sortable-fallback")).to_have_count(0)
    fingers.send("touchEnd", [])
    expect(phone.locator("[name=place-B]")).to_have_value("")


LONG = 40  # moves at an edge: browsers scroll a list only after a moment there


def test_a_list_that_could_scroll_does_not_scroll_under_a_finger(phone: Page) -> None:
    phone.set_viewport_size({"width": 390, "height": 400})
    places = phone.locator(".places")
    assert places.evaluate("e => e.scrollHeight > e.clientHeight")
    before, fingers = rows(phone), Fingers(phone)
    box = places.bounding_box()
    assert box
    fingers.take("B")
    for step in range(LONG):
        fingers.send("touchMove", [(200 + step % 2, box["y"] + box["height"] - 8)])
        phone.locator(".is-target").wait_for()
        assert rows(phone) == before
    place = phone.locator(".is-target").get_attribute("data-place")
    fingers.send("touchEnd", [])
    expect(phone.locator("[name=place-B]")).to_have_value(place or "")


def test_a_list_that_could_scroll_does_not_scroll_under_a_mouse(page: Page) -> None:
    page.set_viewport_size({"width": 1280, "height": 400})
    page.goto("/board?k=9")
    board = page.locator("[data-board]")
    board.scroll_into_view_if_needed()
    assert board.evaluate("e => e.scrollHeight > e.clientHeight")
    page.locator("[data-chip=B]").hover()
    before, box = rows(page), board.bounding_box()
    assert box
    page.mouse.down()
    for step in range(LONG):
        page.mouse.move(box["x"] + 150 + step % 2, box["y"] + box["height"] - 6)
        page.evaluate("() => new Promise(requestAnimationFrame)")
        assert rows(page) == before
    page.locator(".is-target").wait_for()
    place = page.locator(".is-target").get_attribute("data-place")
    page.mouse.up()
    expect(page.locator("[name=place-B]")).to_have_value(place or "")


def test_a_drag_that_is_broken_off_changes_nothing(board: Page) -> None:
    board.drag_and_drop("[data-chip=C]", "[data-place='2'] ul")
    before = rows(board)
    board.locator("[data-chip=C]").hover()
    board.mouse.down()
    move(board, before["4"])
    expect(board.locator(".is-target")).to_have_attribute("data-place", "4")
    keys(board, "Escape")
    board.mouse.up()
    expect(board.locator(".is-target")).to_have_count(0)
    assert places(board) == "--2--"


NOTICE = """() => {
  const notice = document.createElement("section");
  notice.className = "outbox notice";
  notice.id = "notice";
  notice.textContent = "An answer waits in this browser.";
  document.querySelector("nav.breadcrumbs").after(notice);
}"""


@pytest.mark.parametrize("scroll", [0, 120])
@pytest.mark.parametrize("comes", [True, False])
def test_a_notice_that_comes_or_goes_during_a_drag_moves_no_place(board: Page, scroll: int, comes: bool) -> None:
    if not comes:
        board.evaluate(NOTICE)
    board.evaluate("y => scrollTo(0, y)", scroll)
    before = rows(board)
    board.locator("[data-chip=C]").hover()
    board.mouse.down()
    move(board, before["4"])
    expect(board.locator(".is-target")).to_have_attribute("data-place", "4")
    board.evaluate(NOTICE if comes else "document.getElementById('notice').remove()")
    board.evaluate("() => new Promise((painted) => requestAnimationFrame(() => requestAnimationFrame(painted)))")
    assert rows(board) == before
    move(board, before["2"])
    expect(board.locator(".is-target")).to_have_attribute("data-place", "2")
    board.mouse.up()
    assert places(board) == "--2--"
    assert board.locator("[data-board]").evaluate("board => board.style.translate") == ""


def test_in_a_window_of_another_size_a_letter_goes_where_it_is_dropped(board: Page) -> None:
    board.locator("[data-chip=C]").hover()
    board.mouse.down()
    move(board, rows(board)["4"])
    board.set_viewport_size({"width": 1000, "height": 600})
    move(board, rows(board)["2"])
    expect(board.locator(".is-target")).to_have_attribute("data-place", "2")
    board.mouse.up()
    assert places(board) == "--2--"


def test_a_letter_dropped_between_two_places_goes_to_the_nearer_one(board: Page) -> None:
    x, y, width, height = rows(board)["2"]
    board.locator("[data-chip=C]").hover()
    board.mouse.down()
    board.mouse.move(x + width / 2, y + height + 1, steps=5)
    board.mouse.up()
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
    assert said(board) == "Candidate A has no place."


def test_digits_beyond_the_last_place_do_nothing(board: Page) -> None:
    keys(board, "r", "a", "9")
    assert places(board) == "-----"


def test_a_rating_and_a_place_that_contradict_each_other_are_named(board: Page) -> None:
    slip = board.locator("[data-slip]")
    keys(board, "a", "7", "b", "2", "r", "a", "5", "b", "1")
    expect(slip).to_contain_text("A has rating 7 but is placed below B with rating 2.")
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
