"""The desk in Chromium: each kind of work by keyboard alone, and without JavaScript."""

import re

import pytest
from django.utils import timezone
from playwright.sync_api import expect

from annotate.accounts import actions as accounts
from annotate.accounts.events import SENTENCES
from annotate.accounts.models import EventKind, Role
from annotate.demonstrations.models import Demonstration
from annotate.desk.views.tasks import SKIPPED, SUBMITTED
from annotate.instructions.actions import add_briefs
from annotate.instructions.forms import NOTHING_CHANGED, PAIRS_INCOMPLETE, RESPONSE_MISSING
from annotate.instructions.models import Instruction, Reason
from annotate.pools.models import Kind
from annotate.rankings.models import Placing, Showing
from annotate.work.models import Assignment, Draft, Skip
from annotate.work.states import State
from tests import factories as make
from tests.desk.conftest import marks

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]


@pytest.fixture
def sit(browser, live_server, labeler):
    """sit(campaign...): a labeler and their page, at the desk. A script's error, or what the CSP refuses, fails."""
    contexts, complaints = [], []

    def open_page(*campaigns, **options):
        me = labeler(*campaigns)
        context = browser.new_context(viewport={"width": 1280, "height": 800}, base_url=live_server.url, **options)
        contexts.append(context)
        session = me.client.cookies["sessionid"].value
        context.add_cookies([{"name": "sessionid", "value": session, "url": live_server.url}])
        page = context.new_page()
        page.on("console", lambda line: complaints.append(line.text) if "Content Security" in line.text else None)
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.goto("/desk/")
        return me, page

    yield open_page
    for context in contexts:
        # A page that is left saves its draft: not into a database that is being emptied.
        context.pages[0].wait_for_load_state("networkidle")
        context.route("**", lambda route: route.abort())
        context.close()
    assert not complaints


def press(page, *keys):
    for key in keys:
        page.keyboard.press(key)


def begin(page):
    """n, from the desk to the next task; its keys work when the page is loaded."""
    with page.expect_navigation(url="**/tasks/**", wait_until="load"):
        page.keyboard.press("n")


def test_a_demonstration_by_keyboard_alone(sit, demonstrations):
    campaign = demonstrations(prompts=2)
    _me, page = sit(campaign)
    begin(page)
    expect(page.get_by_role("heading", name="Write the answer")).to_be_visible()
    press(page, "w")
    page.keyboard.type("One line.\nAnd **another**.")
    expect(page.locator("#length")).to_have_text("4 words, 26 characters")
    first = page.url
    press(page, "Control+Enter")
    expect(page.locator("[data-undo]")).to_be_visible()
    assert page.url != first
    assert Demonstration.objects.get().text == "One line.\nAnd **another**."


def test_a_preview_is_a_tab_away(sit, demonstrations):
    campaign = demonstrations()
    _me, page = sit(campaign)
    begin(page)
    expect(page.get_by_role("tab", name="Preview")).to_be_visible()
    press(page, "w")
    page.keyboard.type("**Bold** <script>alert(1)</script>")
    page.get_by_role("tab", name="Write").focus()
    press(page, "ArrowRight")
    preview = page.get_by_role("tabpanel", name="Preview")
    expect(preview.locator("strong")).to_have_text("Bold")
    expect(preview).to_contain_text("<script>alert(1)</script>")


def test_a_ranking_by_keyboard_alone(sit, rankings):
    campaign = rankings(k=4)
    me, page = sit(campaign)
    begin(page)
    expect(page.get_by_role("heading", name="Ranking", exact=True)).to_be_visible()
    press(page, "a", "7", "b", "3", "c", "7", "d", "1")
    press(page, "r")
    for letter, place in zip("abcd", "1213", strict=True):
        press(page, letter, place)
    expect(page.locator("[data-order]")).to_have_text("A = C > B > D")
    press(page, "Control+Enter")
    expect(page.locator("[data-undo]")).to_be_visible()
    order = Showing.objects.get(labeler=me.user).order
    placed = {row.candidate_id: (row.rating, row.rank) for row in Placing.objects.all()}
    assert [placed[candidate] for candidate in order] == [(7, 1), (3, 2), (7, 1), (1, 3)]


def test_a_rewriting_by_keyboard_alone_with_its_changes_shown(sit, instructions):
    campaign = instructions()
    _me, page = sit(campaign)
    begin(page)
    expect(page.get_by_role("heading", name="Rewrite the prompt")).to_be_visible()
    press(page, "w", "Control+a")
    page.keyboard.type("Write a poem about a frog, number 0.")
    expect(page.locator("ins")).to_have_text("a poem")
    press(page, "Tab", "Tab", "Space")
    expect(page.get_by_label(str(Reason.UNDERSPECIFIED.label))).to_be_checked()
    press(page, "Control+Enter")
    expect(page.locator("[data-undo]")).to_be_visible()
    row = Instruction.objects.get()
    assert (row.text, row.reasons) == ("Write a poem about a frog, number 0.", ["underspecified"])


def by_mouse(page):
    page.get_by_role("button", name="Submit, next task").click()


def by_keys(page):
    press(page, "Control+Enter")


def from_the_preview(page):
    page.get_by_role("tab", name="Preview").click()
    expect(page.get_by_role("tabpanel", name="Preview")).to_contain_text("One answer")
    by_mouse(page)


def from_the_preview_by_keys(page):
    page.get_by_role("tab", name="Preview").click()
    by_keys(page)


def from_the_page_behind(page):
    page.get_by_role("heading", level=1).click()
    by_keys(page)


def without_the_outbox(page):
    """As the form is sent where the script of the outbox is missing."""
    page.locator("form[data-hand-in]").evaluate("form => HTMLFormElement.prototype.submit.call(form)")


def with_the_next_task_ready(page):
    with page.expect_response("**/tasks/*/?ahead"):
        page.get_by_label("Your answer").press_sequentially("!")
    by_mouse(page)


WAYS = [
    by_mouse,
    by_keys,
    from_the_preview,
    from_the_preview_by_keys,
    from_the_page_behind,
    without_the_outbox,
    with_the_next_task_ready,
]


@pytest.mark.parametrize("way", WAYS, ids=[way.__name__ for way in WAYS])
def test_what_is_typed_after_a_submit_goes_into_the_next_text_and_nothing_else_happens(sit, demonstrations, way):
    campaign = demonstrations(prompts=3, undo_minutes=5)
    _me, page = sit(campaign)
    begin(page)
    first = page.url
    page.get_by_label("Your answer").fill("One answer")
    way(page)
    expect(page.get_by_text(str(SUBMITTED)).locator("visible=true")).to_have_count(1)
    answer = page.get_by_label("Your answer")
    expect(answer).to_be_focused()
    assert page.evaluate("[scrollY, location.hash]") == [0, ""]
    assert page.url.split("?")[0] != first
    page.keyboard.type("z s ")
    press(page, "Enter")
    expect(answer).to_have_value("z s \n")
    expect(page.get_by_role("dialog")).to_have_count(0)
    assert (Demonstration.objects.count(), Skip.objects.count()) == (1, 0)
    page.reload()
    expect(answer).not_to_be_focused()


def test_a_double_click_submits_one_answer(sit, demonstrations):
    """Its second click may meet the next task, with a text that is half written."""
    campaign = demonstrations(prompts=2, undo_minutes=5)
    me, page = sit(campaign)
    first = me.take(campaign)
    me.submit(first, text="One answer")
    me.save(me.take(campaign), text="Half an ans")
    me.post("undo", first.id)
    page.goto(f"/desk/tasks/{first.id}/")
    button = page.get_by_role("button", name="Submit, next task")
    button.hover()
    page.mouse.down(click_count=1)
    page.mouse.up(click_count=1)
    expect(page.get_by_label("Your answer")).to_have_value("Half an ans")
    page.wait_for_load_state()
    box = button.bounding_box()
    page.mouse.move(box["x"] + 5, box["y"] + 5)
    page.evaluate("addEventListener('submit', () => { document.body.dataset.sent = 'yes' }, true)")
    page.mouse.down(click_count=2)
    page.mouse.up(click_count=2)
    expect(button).to_be_focused()
    assert page.locator("body[data-sent]").count() == 0
    assert [row.text for row in Demonstration.objects.all()] == ["One answer"]


def test_what_is_typed_after_a_rewriting_goes_into_the_next_one(sit, instructions):
    campaign = instructions(prompts=2)
    _me, page = sit(campaign)
    begin(page)
    page.get_by_label("Instruction").fill("Write a poem about a frog.")
    expect(page.locator("ins").first).to_be_visible()
    page.get_by_label(str(Reason.UNDERSPECIFIED.label)).check()
    page.get_by_role("heading", name="Your changes").click()
    by_mouse(page)
    expect(page.locator("[data-undo]")).to_be_visible()
    expect(page.get_by_label("Instruction")).to_be_focused()


KINDS = ["demonstrations", "rankings", "instructions"]


@pytest.mark.parametrize("kind", KINDS[:2])
def test_what_is_typed_while_an_answer_is_on_its_way_means_nothing(request, sit, kind):
    _me, page = sit(request.getfixturevalue(kind)(prompts=2))
    begin(page)
    if kind == "demonstrations":
        page.get_by_label("Your answer").fill("One answer")
    else:
        press(page, "a", "7", "b", "3", "c", "7", "d", "1", "r", "a", "1", "b", "2", "c", "1", "d", "3")
    held = []
    page.route("**/submit/", lambda route: held.append(route))
    with page.expect_request("**/submit/"):
        press(page, "Control+Enter")
    guideline = page.locator("details.guideline")
    was_open = guideline.evaluate("one => one.open")
    chosen = page.locator(".is-selected").all_inner_texts()
    page.keyboard.type("?u a b1?")
    expect(page.get_by_role("dialog")).to_have_count(0)
    assert guideline.evaluate("one => one.open") == was_open
    assert page.locator(".is-selected").all_inner_texts() == chosen
    held[0].continue_()
    expect(page.locator("[data-undo]")).to_be_visible()


@pytest.mark.parametrize("kind", KINDS)
def test_no_single_letter_undoes_or_skips_on_a_page_where_text_is_written(request, sit, kind):
    campaign = request.getfixturevalue(kind)(prompts=2, undo_minutes=5)
    me, page = sit(campaign)
    done = me.take(campaign)
    answer = {
        "demonstrations": {"text": "One"},
        "rankings": marks(4),
        "instructions": {"text": "One", "category": "chat"},
    }[kind]
    if kind == "instructions":
        answer["reasons"] = "unclear"
    assert me.submit(done, **answer).status_code == 302
    page.goto("/desk/")
    begin(page)
    before = page.url
    # The page before has just submitted: it offers to take the answer back.
    page.evaluate(
        "(undo) => sessionStorage.setItem('annotate:submitted', JSON.stringify({ undo }))",
        f"/desk/answers/{done.id}/undo/",
    )
    page.reload()
    expect(page.get_by_role("button", name="Undo")).to_be_visible()
    # Letters of a ranking have a meaning that can be seen and changed; none of them leaves the page.
    press(page, *"abcdefghijklmnopqrstvxyz")
    expect(page.get_by_role("dialog")).to_have_count(0)
    assert page.url == before
    assert Assignment.objects.get(id=done.id).submitted_at is not None
    assert not Skip.objects.exists()
    listed = page.locator("#key-help dt").all_inner_texts()
    assert not {"s", "z"} & {text.strip() for text in listed}
    assert page.locator("[aria-keyshortcuts=s], [aria-keyshortcuts=z]").count() == 0


def test_enter_held_on_the_skip_button_skips_nothing(sit, demonstrations):
    campaign = demonstrations(prompts=2)
    _me, page = sit(campaign)
    begin(page)
    page.get_by_role("button", name="Skip", exact=True).focus()
    page.keyboard.down("Enter")
    dialog = page.get_by_role("dialog", name="Skip this task")
    expect(dialog).to_be_visible()
    for _ in range(3):
        page.keyboard.down("Enter")
    page.keyboard.up("Enter")
    press(page, " ", "Enter", "z", " ")  # typed on: nothing has the focus that would take it
    expect(dialog).to_be_visible()
    assert dialog.get_by_role("radio", checked=True).count() == 0
    assert not Skip.objects.exists()
    # What is meant works as ever.
    press(page, "Tab", "Space", "Enter")
    expect(page.get_by_text(str(SKIPPED))).to_be_visible()
    assert Skip.objects.count() == 1


@pytest.mark.parametrize("kind", KINDS)
def test_enter_of_an_input_method_submits_nothing(request, sit, kind):
    campaign = request.getfixturevalue(kind)()
    _me, page = sit(campaign)
    begin(page)
    field = page.locator("[data-answer] textarea").first
    field.fill("にほn")
    sent = submits(page)
    for more in ("isComposing: true", "keyCode: 229"):
        field.evaluate(
            "(field) => field.dispatchEvent(new KeyboardEvent('keydown', "
            f"{{ key: 'Enter', ctrlKey: true, bubbles: true, cancelable: true, {more} }}))"
        )
    expect(page.locator("[data-incomplete]")).to_be_hidden()
    assert sent == []


COVERED_BY_NOTHING = """(field) => {
  const { left, top, width, height } = field.getBoundingClientRect();
  const there = [0.1, 0.5].map((part) => document.elementFromPoint(left + width / 2, top + height * part));
  return there.some((one) => (field.closest("label") ?? field).contains(one));
}"""


def seen(field):
    """The field has the focus, and no bar covers it."""
    expect(field).to_be_focused()
    field.page.wait_for_function(COVERED_BY_NOTHING, arg=field.element_handle())


@pytest.mark.parametrize("width", [1280, 390])
@pytest.mark.parametrize("by", [by_mouse, by_keys])
def test_an_incomplete_answer_is_pointed_at(sit, demonstrations, by, width):
    _me, page = sit(demonstrations(undo_minutes=5))
    page.set_viewport_size({"width": width, "height": 800})
    begin(page)
    page.get_by_role("tab", name="Preview").click()
    by(page)
    seen(page.get_by_label("Your answer"))
    bar = page.locator("[data-incomplete]")
    expect(bar).to_contain_text("Your answer")
    page.keyboard.type("  ")
    expect(bar).to_be_hidden()
    by(page)  # white space is for the server to refuse
    expect(page.locator(".errorlist")).to_be_visible()
    seen(page.get_by_label("Your answer"))
    expect(bar).to_be_visible()


@pytest.mark.parametrize("width", [1280, 390])
@pytest.mark.parametrize("by", [by_mouse, by_keys])
def test_an_incomplete_rewriting_is_pointed_at(sit, instructions, by, width):
    _me, page = sit(instructions())
    page.set_viewport_size({"width": width, "height": 800})
    begin(page)
    sent = submits(page)
    bar = page.locator("[data-incomplete]")
    page.get_by_label("Instruction").fill("")
    by(page)
    seen(page.get_by_label("Instruction"))
    expect(bar).to_have_text(re.compile("Instruction.+Why did you change it"))
    page.get_by_label("Instruction").fill("Write a poem about a frog.")
    by(page)
    reason = page.get_by_label(str(Reason.UNDERSPECIFIED.label))
    seen(page.get_by_label(str(Reason.UNCLEAR.label)))
    expect(bar).to_have_text(re.compile("(?<!Instruction and )Why did you change it"))
    reason.check()
    expect(bar).to_be_hidden()
    expect(page.locator("[aria-invalid=true]")).to_have_count(0)
    assert sent == []
    # What only the server can see is said in the bar as well.
    page.get_by_label("Instruction").fill("Write something about a frog, number 0.")
    by(page)
    expect(bar).to_contain_text(str(NOTHING_CHANGED))
    seen(page.get_by_label("Instruction"))


@pytest.mark.parametrize("by", [by_mouse, by_keys])
def test_incomplete_pairs_are_pointed_at(sit, by):
    _me, page = sit(few_shot())
    begin(page)
    sent = submits(page)
    bar = page.locator("[data-incomplete]")
    page.get_by_label("Instruction").fill("Add one")
    page.get_by_label("Query 1").fill("1")
    page.get_by_label("Response 1").fill("2")
    by(page)
    seen(page.get_by_label("Query 2"))
    expect(bar).to_have_text(re.compile("Query 2.+Response 2.+Use case"))
    page.get_by_label("Use case").select_option("other")
    page.get_by_label("Query 2").fill("2")
    by(page)
    seen(page.get_by_label("Response 2"))
    expect(bar).to_have_text(re.compile("(?<!Query 2, )Response 2"))
    page.get_by_label("Query 3").fill("3")  # begun, so it is needed whole
    expect(bar).to_have_text(re.compile("Response 2.+Response 3"))
    page.get_by_label("Query 3").fill("")
    page.get_by_label("Response 2").fill("3")
    expect(bar).to_be_hidden()
    assert sent == []
    by(page)
    expect(page.locator("[data-undo]")).to_be_visible()
    assert len(Instruction.objects.get().pairs) == 2


@pytest.mark.parametrize("by", [by_mouse, by_keys])
def test_pairs_of_white_space_are_pointed_at_by_the_server(sit, by):
    _me, page = sit(few_shot())
    begin(page)
    page.get_by_label("Instruction").fill("Add one")
    page.get_by_label("Use case").select_option("other")
    for number in (1, 2):
        page.get_by_label(f"Query {number}").fill(str(number))
        page.get_by_label(f"Response {number}").fill(" ")
    by(page)
    expect(page.get_by_text(str(RESPONSE_MISSING)).first).to_be_visible()
    seen(page.get_by_label("Response 1"))
    expect(page.locator("[data-incomplete]")).to_contain_text(f"Not submitted yet. {PAIRS_INCOMPLETE}")


def submits(page):
    """The addresses to which answers are sent from now on."""
    sent = []
    page.on("request", lambda request: sent.append(request.url) if request.url.endswith("/submit/") else None)
    return sent


@pytest.mark.parametrize("width", [1280, 390])
@pytest.mark.parametrize("by", [by_mouse, by_keys])
def test_the_first_missing_candidate_is_pointed_at(sit, rankings, by, width):
    _me, page = sit(rankings(texts=tuple(f"Text {letter}. " * 400 for letter in "abcdefg")))
    page.set_viewport_size({"width": width, "height": 800})
    begin(page)
    press(page, "a", "5", "b", "5", "c", "5", "r", "a", "1", "b", "2", "c", "3")
    by(page)
    seen(page.locator("[name=rating-D]").first)
    bar = page.locator("[data-incomplete]")
    expect(bar).to_contain_text(re.compile("Rate D, E, F,? and G. Place D, E, F,? and G."))
    assert not Placing.objects.exists()


def test_a_missing_candidate_is_in_sight_also_if_the_page_was_still_scrolling(sit, rankings):
    _me, page = sit(rankings(texts=tuple(f"Text {letter}. " * 400 for letter in "abcdefg")))
    begin(page)
    throttle = page.context.new_cdp_session(page)
    throttle.send("Emulation.setCPUThrottlingRate", {"rate": 10})
    for _ in range(6):
        press(page, "Escape", "a", "5", "b", "5", "c", "5", "r", "a", "1", "b", "2", "c", "3", "Control+Enter")
        seen(page.locator("[name=rating-D]").first)
        page.evaluate("document.activeElement.blur(); scrollTo(0, 0)")


def test_letters_go_on_from_the_list_of_places_that_an_incomplete_submit_pointed_at(sit, rankings):
    _me, page = sit(rankings())
    begin(page)
    press(page, "a", "7", "b", "5", "c", "4", "d", "1", "r", "a", "1", "Control+Enter")
    expect(page.locator("[name=place-B]")).to_be_focused()
    press(page, "c", "3", "d", "3")
    expect(page.locator("[name=place-C]")).to_have_value("3")
    page.locator("[name=place-B]").focus()
    press(page, "2")  # a digit still chooses from the list itself
    expect(page.locator("[name=place-B]")).to_have_value("2")
    expect(page.locator("[name=rating-B]:checked")).to_have_value("5")
    press(page, "Control+Enter")
    expect(page.locator("[data-undo]")).to_be_visible()


def few_shot():
    campaign = make.campaign("instructions", rewrite_pool=False, target_pool=make.pool())
    add_briefs(campaign=campaign, kind=Kind.FEW_SHOT, count=1, now=make.NOW)
    return campaign


def test_a_few_shot_instruction_with_pairs_added_and_removed(sit):
    _me, page = sit(few_shot())
    begin(page)
    page.get_by_label("Instruction").fill("Add one")
    for number in (1, 2, 3):
        page.get_by_label(f"Query {number}").fill(str(number))
        page.get_by_label(f"Response {number}").fill(str(number + 1))
    page.get_by_role("button", name="Add a pair").click()
    expect(page.get_by_label("Query 4")).to_be_focused()
    page.keyboard.type("4")
    press(page, "Tab")
    page.keyboard.type("5")
    page.get_by_role("button", name="Remove 2").click()
    page.get_by_label("Use case").select_option("other")
    press(page, "Control+Enter")
    expect(page.locator("[data-undo]")).to_be_visible()
    assert [(pair["query"], pair["response"]) for pair in Instruction.objects.get().pairs] == [
        ("1", "2"),
        ("3", "4"),
        ("4", "5"),
    ]


def test_what_is_typed_survives_a_reload(sit, demonstrations):
    campaign = demonstrations()
    me, page = sit(campaign)
    begin(page)
    page.get_by_label("Your answer").fill("Half a sentence")
    expect(page.locator("[data-save-state=saved]")).to_be_visible()
    assert Draft.objects.get(labeler=me.user).body == {"text": ["Half a sentence"]}
    page.reload()
    expect(page.get_by_label("Your answer")).to_have_value("Half a sentence")


def test_two_windows_of_a_task_lose_neither_text(sit, demonstrations):
    campaign = demonstrations()
    me, page = sit(campaign)
    begin(page)
    other = page.context.new_page()
    other.goto(page.url)
    other.get_by_label("Your answer").fill("Of the other window")
    expect(other.locator("[data-save-state=saved]")).to_be_visible()
    page.get_by_label("Your answer").fill("Of this window")
    expect(page.locator("[data-draft-offer]")).to_be_visible()
    assert Draft.objects.get(labeler=me.user).body == {"text": ["Of this window"]}
    # Going on here says nothing new, and changes nothing about the offer.
    page.get_by_label("Your answer").press_sequentially(" and more")
    expect(page.locator("[data-save-state=saved]")).to_be_visible()
    page.get_by_role("button", name="Use it").click()
    expect(page.get_by_label("Your answer")).to_have_value("Of the other window")
    # What stood here is offered in its turn.
    page.get_by_role("button", name="Use it").click()
    expect(page.get_by_label("Your answer")).to_have_value("Of this window and more")


def test_choices_of_a_ranking_survive_a_reload(sit, rankings):
    campaign = rankings(k=4)
    _me, page = sit(campaign)
    begin(page)
    press(page, "b", "6", "r", "b", "2")
    expect(page.locator("[data-save-state=saved]")).to_be_visible()
    page.reload()
    expect(page.locator("[name=rating-B]:checked")).to_have_value("6")
    expect(page.locator("[data-count]")).to_have_text(re.compile(r"1\D+4\D+1\D+4"))


def test_a_skip_asks_its_reason_in_a_dialog(sit, demonstrations):
    campaign = demonstrations(prompts=2)
    _me, page = sit(campaign)
    begin(page)
    skip = page.get_by_role("button", name="Skip", exact=True)
    skip.click()
    dialog = page.get_by_role("dialog", name="Skip this task")
    expect(dialog).to_be_visible()
    press(page, "Escape")
    expect(dialog).to_be_hidden()
    skip.click()
    dialog.get_by_label("The task is very unclear").check()
    dialog.get_by_role("button", name="Skip", exact=True).click()
    expect(page.get_by_text(str(SKIPPED))).to_be_visible()
    assert Skip.objects.get().reason == "unclear"


def test_a_lease_lost_meanwhile_is_told_and_the_text_is_kept(sit, demonstrations):
    campaign = demonstrations()
    me, page = sit(campaign)
    begin(page)
    page.get_by_label("Your answer").fill("An hour of work")
    expect(page.locator("[data-save-state=saved]")).to_be_visible()
    Assignment.objects.filter(labeler=me.user).update(state=State.CANCELLED, labeler=None, leased_until=None)
    press(page, "Control+Enter")
    expect(page.get_by_role("heading", name="This task is no longer yours")).to_be_visible()
    expect(page.get_by_label("Your text")).to_have_value("An hour of work")


def test_the_day_goes_without_javascript(sit, demonstrations, rankings):
    written, ranked, invented = demonstrations(), rankings(k=4), few_shot()
    _me, page = sit(written, ranked, invented, java_script_enabled=False)
    page.get_by_role("button", name=re.compile(f"Start.*{written.name}$")).click()
    page.get_by_label("Your answer").fill("Plain")
    page.get_by_role("button", name="Submit and stop").click()
    page.get_by_role("button", name=re.compile(f"Start.*{ranked.name}$")).click()
    for letter in "ABCD":
        page.locator(f"[name=rating-{letter}]").nth(4).check(force=True)
        page.locator(f"[name=place-{letter}]").select_option("1")
    page.get_by_role("button", name="Skip").click()
    page.get_by_role("link", name="Cancel").click()
    page.get_by_role("button", name="Submit and stop").click()
    page.get_by_role("button", name=re.compile(f"Start.*{invented.name}$")).click()
    page.get_by_label("Instruction").fill("Add one")
    page.get_by_role("button", name="Add a pair").click()
    for number in (1, 2, 3):
        page.get_by_label(f"Query {number}").fill(str(number))
        page.get_by_label(f"Response {number}").fill(str(number + 1))
    page.get_by_role("button", name="Add a pair").click()
    expect(page.get_by_label("Query 4")).to_have_value("")
    page.get_by_label("Use case").select_option("other")
    page.get_by_role("button", name="Submit and stop").click()
    expect(page.locator("[data-fact=today][data-count='3']")).to_be_visible()
    assert Demonstration.objects.get().text == "Plain"
    assert list(Placing.objects.values_list("rating", "rank").distinct()) == [(5, 1)]
    assert len(Instruction.objects.get().pairs) == 3


def test_after_a_logout_back_shows_no_page(sit, demonstrations):
    _me, page = sit(demonstrations(prompts=2))
    begin(page)
    page.get_by_role("textbox", name="Answer").fill("Only mine.")
    expect(page.locator("[data-save-state=saved]")).to_be_visible()
    page.goto("/account/logout/")
    page.get_by_role("main").get_by_role("button", name="Log out").click()
    page.wait_for_url("**/account/login/")
    page.go_back()
    page.go_back()
    expect(page.get_by_label("Login")).to_be_visible()
    assert "Only mine." not in page.content()


def test_a_notice_about_the_account_is_dismissed_and_the_answer_stays(sit, demonstrations):
    me, page = sit(demonstrations(prompts=1))
    boss = make.user(Role.MANAGER, first_name="Grace")
    for _ in range(2):
        accounts.new_link(user=me.user, site="http://testserver/", by=boss, now=timezone.now())
    begin(page)
    page.get_by_role("textbox", name="Answer").fill("In the middle of a sentence")
    notice = page.get_by_role("form", name="Changes to your account")
    expect(notice).to_contain_text(SENTENCES[EventKind.LINK_MADE] % {"by": "Grace"})
    notice.get_by_role("button", name="Dismiss").click()
    expect(notice).to_have_count(0)
    expect(page.get_by_role("textbox", name="Answer")).to_have_value("In the middle of a sentence")
    page.reload()
    expect(page.get_by_role("textbox", name="Answer")).to_be_visible()
    expect(notice).to_have_count(0)
