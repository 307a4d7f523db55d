"""The whole work without a mouse: nothing here clicks, and whatever has the focus can be seen to have it."""

import re

import pytest
from django.urls import reverse
from playwright.sync_api import Locator, Page, expect

from annotate.demonstrations.models import Demonstration
from annotate.instructions.models import Instruction, Reason
from annotate.rankings.models import Placing
from annotate.studio.views.review import ACCEPTED, SENT_BACK
from annotate.work.models import Skip, SkipReason
from tests.browser.world import PASSWORD, reviewable

pytestmark = pytest.mark.browser

FOCUS = """() => {
  const element = document.activeElement;
  const { outlineStyle, boxShadow } = getComputedStyle(element);
  const shown = element.matches("[type=radio]") ? getComputedStyle(element.nextElementSibling ?? element) : null;
  return {
    what: element.outerHTML.slice(0, 120),
    body: element === document.body,
    seen: outlineStyle !== "none" || boxShadow !== "none" || (shown && shown.outlineStyle !== "none"),
  };
}"""


@pytest.fixture
def page(world, visit) -> Page:
    """A stranger's browser, which complains about errors at the end."""
    visitor = visit()
    yield visitor.page
    assert visitor.faults() == []


def there(page: Page, wanted: Locator) -> None:
    """The page has come, and its scripts listen to keys."""
    expect(wanted).to_be_visible()
    page.wait_for_load_state()


def press(page: Page, *keys: str) -> None:
    for key in keys:
        page.keyboard.press(key)


def tab_to(page: Page, wanted: Locator, *, by: str = "Tab") -> None:
    """Go on until the wanted element has the focus; each stop on the way must show that it has it."""
    for _ in range(80):
        press(page, by)
        focus = page.evaluate(FOCUS)
        assert focus["seen"] or focus["body"], f"nobody sees that this has the focus: {focus['what']}"
        if wanted.evaluate("element => element === document.activeElement"):
            return
    raise AssertionError(f"the keyboard does not reach {wanted}")


def log_in(page: Page, username: str) -> None:
    page.goto("/")
    tab_to(page, page.get_by_label("Login"))
    page.keyboard.type(username)
    tab_to(page, page.get_by_label("Password", exact=True))
    page.keyboard.type(PASSWORD)
    press(page, "Enter")
    there(page, page.get_by_role("heading", name="Work", exact=True))


def start(page: Page, username: str, campaign: str) -> None:
    log_in(page, username)
    tab_to(page, page.get_by_role("button", name=re.compile(f"Start ?: {campaign}")))
    press(page, "Enter")
    there(page, page.get_by_role("button", name="Submit, next task"))


def test_a_guideline_is_read_and_a_demonstration_written(page, world):
    log_in(page, "cleo")
    tab_to(page, page.get_by_role("link", name=re.compile("Read the guideline ?: Frogs, demonstrations")))
    press(page, "Enter")
    there(page, page.get_by_role("heading", name="Changes since version 1"))
    press(page, "Control+Enter")
    there(page, page.get_by_role("heading", name="Write the answer"))
    first = page.url
    tab_to(page, page.get_by_role("textbox", name="Answer"))
    page.keyboard.type("It jumps. What else?")
    expect(page.get_by_role("dialog")).to_have_count(0)  # a question mark that is typed is no call for help
    press(page, "Control+Enter")
    page.wait_for_url(lambda url: url != first and "/desk/tasks/" in url)
    assert Demonstration.objects.get(assignment__labeler=world.cleo).text == "It jumps. What else?"
    # Whoever wrote goes on writing: no letter of the next answer acts as a key.
    expect(page.get_by_role("textbox", name="Answer")).to_be_focused()
    page.keyboard.type("skip? what?")
    expect(page.get_by_role("textbox", name="Answer")).to_have_value("skip? what?")
    expect(page.get_by_role("dialog")).to_have_count(0)
    assert page.evaluate("scrollY") == 0
    # A reload is no such thing.
    page.reload()
    expect(page.get_by_role("textbox", name="Answer")).not_to_be_focused()


@pytest.mark.parametrize(("campaign", "field"), [("demonstrations", "Answer"), ("rewriting", "Instruction")])
def test_one_key_goes_to_where_one_writes(page, campaign, field):
    start(page, "ben", f"Frogs, {campaign}")
    press(page, "w")
    expect(page.get_by_role("textbox", name=field)).to_be_focused()
    before = page.get_by_role("textbox", name=field).input_value()
    press(page, "w")
    assert len(page.get_by_role("textbox", name=field).input_value()) == len(before) + 1


def test_a_preview_is_looked_at_and_left(page):
    start(page, "ben", "Frogs, demonstrations")
    answer = page.get_by_role("textbox", name="Answer")
    tab_to(page, answer)
    page.keyboard.type("It **jumps**.")
    tab_to(page, page.get_by_role("tab", name="Write"), by="Shift+Tab")
    press(page, "ArrowRight")
    expect(page.get_by_role("tabpanel").locator("strong")).to_have_text("jumps")
    press(page, "ArrowLeft")
    expect(answer).to_have_value("It **jumps**.")
    tab_to(page, answer)
    tab_to(page, page.get_by_role("tab", name="Write"), by="Shift+Tab")
    press(page, "ArrowRight", "w")
    expect(answer).to_be_focused()


def ranks(world) -> dict[str, int]:
    """By letter, as Ben saw the candidates."""
    placings = Placing.objects.filter(ranking__assignment__labeler=world.ben).order_by("-ranking_id")
    latest = placings.first().ranking
    shown = latest.assignment.task.showings.get(labeler=world.ben).order
    return {"ABCDE"[shown.index(row.candidate_id)]: row.rank for row in latest.placings.all()}


def test_candidates_are_rated_and_ranked_with_ties_by_single_keys(page, world):
    start(page, "ben", "Frogs, rankings")
    for letter, rating in zip("abcde", "67361", strict=True):
        press(page, letter, rating)
    press(page, "r")
    for letter, place in zip("abcde", "21525", strict=True):
        press(page, letter, place)
    expect(page.locator("[data-order]")).to_have_text("B > A = D > C = E")
    first = page.url
    press(page, "Control+Enter")
    page.wait_for_url(lambda url: url != first and "/desk/tasks/" in url)
    assert ranks(world) == {"A": 2, "B": 1, "C": 3, "D": 2, "E": 3}


def test_candidates_are_rated_and_ranked_where_single_keys_are_switched_off(page, world):
    start(page, "ben", "Frogs, rankings")
    press(page, "?")
    tab_to(page, page.get_by_role("checkbox", name="Turn off shortcuts"))
    press(page, "Space", "Escape")
    for letter, rating, place in zip("ABCDE", (6, 7, 3, 6, 1), "21525", strict=True):
        card = page.locator(f"[data-candidate={letter}]")
        tab_to(page, card.get_by_role("radio").first)
        press(page, "Space", *["ArrowRight"] * (rating - 1))
        tab_to(page, card.get_by_role("combobox"))
        press(page, place)
    expect(page.locator("[data-order]")).to_have_text("B > A = D > C = E")
    tab_to(page, page.get_by_role("button", name="Submit and stop"))
    press(page, "Enter")
    expect(page.locator("[data-undo]")).to_be_visible()
    assert ranks(world) == {"A": 2, "B": 1, "C": 3, "D": 2, "E": 3}


def test_a_prompt_is_rewritten(page, world):
    start(page, "ben", "Frogs, rewriting")
    tab_to(page, page.get_by_role("textbox", name="Instruction"))
    press(page, "Control+a")
    page.keyboard.type("What is a toad, and what is it not?")
    expect(page.get_by_role("insertion").first).to_be_visible()
    tab_to(page, page.get_by_role("checkbox", name=str(Reason.UNCLEAR.label)))
    press(page, "Space")
    tab_to(page, page.get_by_role("combobox", name="Use case"))
    page.keyboard.type("Open")
    tab_to(page, page.get_by_role("button", name="Submit and stop"))
    press(page, "Enter")
    expect(page.locator("[data-undo]")).to_be_visible()
    written = Instruction.objects.get(assignment__labeler=world.ben)
    assert (written.text, written.reasons, written.category) == (
        "What is a toad, and what is it not?",
        ["unclear"],
        "open_qa",
    )


def test_an_instruction_with_pairs_is_written(page, world):
    start(page, "ben", "Frogs, few-shot")
    tab_to(page, page.get_by_role("textbox", name="Instruction"))
    page.keyboard.type("Add the numbers.")
    for number, (query, response) in enumerate([("1 + 1", "2"), ("2 + 2", "4"), ("3 + 3", "6")], start=1):
        tab_to(page, page.get_by_role("textbox", name=f"Query {number}"))
        page.keyboard.type(query)
        tab_to(page, page.get_by_role("textbox", name=f"Response {number}"))
        page.keyboard.type(response)
    tab_to(page, page.get_by_role("button", name="Add a pair"))
    press(page, "Enter")
    expect(page.get_by_role("textbox", name="Query 4")).to_be_focused()
    page.keyboard.type("4 + 4")
    tab_to(page, page.get_by_role("textbox", name="Response 4"))
    page.keyboard.type("8")
    tab_to(page, page.get_by_role("combobox", name="Use case"))
    page.keyboard.type("Other")
    press(page, "Control+Enter")
    expect(page.locator("[data-undo]")).to_be_visible()
    written = Instruction.objects.get(assignment__labeler=world.ben)
    assert [pair["response"] for pair in written.pairs] == ["2", "4", "6", "8"]


def test_a_refused_form_says_what_is_missing_and_lets_one_go_on(page, world):
    start(page, "ben", "Frogs, demonstrations")
    answer = page.get_by_role("textbox", name="Answer")
    press(page, "Control+Enter")
    expect(answer).to_be_focused()
    expect(page.locator("[data-incomplete]")).to_be_visible()
    page.keyboard.type("  ")
    press(page, "Control+Enter")
    there(page, page.locator(".errorlist"))
    tab_to(page, answer)
    page.keyboard.type("Now there is something.")
    press(page, "Control+Enter")
    expect(page.locator("[data-undo]")).to_be_visible()


def test_a_task_is_skipped_with_a_reason(page, world):
    start(page, "ben", "Frogs, demonstrations")
    first, before = page.url, Skip.objects.filter(labeler=world.ben).count()
    tab_to(page, page.get_by_role("button", name="Skip", exact=True))
    press(page, "Enter")
    dialog = page.get_by_role("dialog", name="Skip this task")
    expect(dialog).to_be_visible()
    # The focus stays inside, or goes to the browser's own buttons, but never to the page behind.
    for _ in range(12):
        press(page, "Tab")
        assert page.evaluate("document.activeElement === document.body || !!document.activeElement.closest('dialog')")
    press(page, "Escape")
    expect(dialog).to_be_hidden()
    assert page.url == first

    press(page, "Enter")  # the button has the focus again
    expect(dialog).to_be_visible()
    tab_to(page, dialog.get_by_role("radio").first)
    press(page, "Space", "ArrowDown")
    expect(dialog.get_by_role("radio", name="I would rather not work on this content")).to_be_checked()
    tab_to(page, dialog.get_by_role("button", name="Skip"))
    press(page, "Enter")
    page.wait_for_url(lambda url: url != first and "/desk/tasks/" in url)
    skips = Skip.objects.filter(labeler=world.ben).order_by("-id")
    assert skips.count() == before + 1
    assert skips[0].reason == SkipReason.SENSITIVE


def test_a_reviewer_decides_by_keys(world, visit):
    page = visit(world.rea).page
    sent_back, accepted = reviewable(world)[:2]
    page.goto(reverse("studio:review-answer", args=[sent_back.id]))
    press(page, "c", "Control+Enter")
    expect(page.get_by_label("Comment")).to_be_focused()
    expect(page.locator("[data-comment-missing]")).to_be_visible()
    page.keyboard.type("All of it, please.")
    expect(page.locator("[data-comment-missing]")).to_be_hidden()
    press(page, "Control+Enter")
    there(page, page.get_by_text(str(SENT_BACK)))
    page.goto(reverse("studio:review-answer", args=[accepted.id]))
    press(page, "Control+Shift+Enter")
    there(page, page.get_by_text(str(ACCEPTED), exact=True))
    for assignment, state, comment in ((sent_back, "sent_back", "All of it, please."), (accepted, "accepted", "")):
        assignment.refresh_from_db()
        assert (assignment.state, assignment.comment) == (state, comment)


def test_no_letter_of_a_comment_decides_or_leaves_the_page(world, visit):
    page = visit(world.rea).page
    answer = reviewable(world)[0]
    page.goto(reverse("studio:review-answer", args=[answer.id]))
    page.get_by_label("Comment").fill("Half a sen")
    page.get_by_role("heading", level=1).click()  # the focus leaves the field, and the reviewer types on
    press(page, *"abdefghijklmnopqrstuvwxyz", "Enter", "Space")
    expect(page.get_by_label("Comment")).to_have_value("Half a sen")
    press(page, "c")
    expect(page.get_by_label("Comment")).to_be_focused()
    answer.refresh_from_db()
    assert answer.state == "submitted"


def test_enter_of_an_input_method_decides_nothing(world, visit):
    page = visit(world.rea).page
    answer = reviewable(world)[0]
    page.goto(reverse("studio:review-answer", args=[answer.id]))
    comment = page.get_by_label("Comment")
    comment.fill("もっと")
    for more in ("isComposing: true", "keyCode: 229", "isComposing: true, shiftKey: true"):
        taken = comment.evaluate(
            "(field) => field.dispatchEvent(new KeyboardEvent('keydown', "
            f"{{ key: 'Enter', ctrlKey: true, bubbles: true, cancelable: true, {more} }}))"
        )
        assert taken, "the key is the input method's"
    answer.refresh_from_db()
    assert answer.state == "submitted"


def test_the_colours_are_chosen_and_kept(page):
    log_in(page, "ben")
    tab_to(page, page.locator("[data-theme-toggle]"))
    press(page, "Enter")
    expect(page.locator("html")).to_have_attribute("data-theme", "light")
    press(page, "Enter")
    expect(page.locator("html")).to_have_attribute("data-theme", "dark")
    page.reload()
    expect(page.locator("html")).to_have_attribute("data-theme", "dark")


def test_the_help_lists_the_keys_of_the_page_and_goes(page):
    start(page, "ben", "Frogs, rankings")
    press(page, "?")
    help_ = page.get_by_role("dialog", name="Keyboard")
    for words in (
        "Switch between rating and ranking",
        "letters in one place are tied",
        "Guideline",
        "Submit, from anywhere",
    ):
        expect(help_).to_contain_text(words)
    press(page, "s")  # means nothing while the help is open
    expect(page.get_by_role("dialog")).to_have_count(1)
    press(page, "Escape")
    expect(help_).to_be_hidden()


def test_the_next_task_is_one_key_away_and_the_way_out_is_there(page):
    log_in(page, "ben")
    press(page, "n")
    there(page, page.get_by_role("button", name="Submit, next task"))
    page.goto(reverse("desk:home"))
    tab_to(page, page.get_by_role("link", name="Skip to the content"))
    press(page, "Enter")
    assert page.evaluate("document.activeElement.id") == "main"
    tab_to(page, page.get_by_role("button", name="ben"), by="Shift+Tab")
    press(page, "Enter")
    tab_to(page, page.get_by_role("button", name="Log out"))
    press(page, "Enter")
    expect(page.get_by_role("heading", name="Log in")).to_be_visible()
