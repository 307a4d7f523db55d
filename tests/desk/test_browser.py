"""The desk in Chromium: each kind of work by keyboard alone, and without JavaScript."""

import re

import pytest
from playwright.sync_api import expect

from annotate.demonstrations.models import Demonstration
from annotate.edits.actions import add_briefs
from annotate.edits.models import Instruction
from annotate.pools.models import Kind
from annotate.rankings.models import Placing, Showing
from annotate.work.models import Assignment, Draft, Skip, Workflow
from annotate.work.states import State
from tests import factories as make

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
    expect(page.get_by_text("Submitted.")).to_be_visible()
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
    expect(page.get_by_text("Submitted.")).to_be_visible()
    order = Showing.objects.get(labeler=me.user).order
    placed = {row.candidate_id: (row.rating, row.rank) for row in Placing.objects.all()}
    assert [placed[candidate] for candidate in order] == [(7, 1), (3, 2), (7, 1), (1, 3)]


def test_a_rewriting_by_keyboard_alone_with_its_changes_shown(sit, edits):
    campaign = edits()
    _me, page = sit(campaign)
    begin(page)
    expect(page.get_by_role("heading", name="Rewrite the prompt")).to_be_visible()
    press(page, "w", "Control+a")
    page.keyboard.type("Write a poem about a frog, number 0.")
    expect(page.locator("ins")).to_have_text("a poem")
    press(page, "Tab", "Tab", "Space")
    expect(page.get_by_label("Something needed was missing")).to_be_checked()
    press(page, "Control+Enter")
    expect(page.get_by_text("Submitted.")).to_be_visible()
    row = Instruction.objects.get()
    assert (row.text, row.reasons) == ("Write a poem about a frog, number 0.", ["underspecified"])


def few_shot():
    campaign = make.campaign(Workflow.EDITS, rewrite_pool=False, target_pool=make.pool())
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
    expect(page.get_by_text("Submitted.")).to_be_visible()
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
    expect(page.get_by_text("that another window had saved")).to_be_visible()
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
    expect(page.locator("[data-count]")).to_have_text("1 of 4 rated, 1 of 4 placed")


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
    expect(page.get_by_text("You skipped the task.")).to_be_visible()
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
    expect(page.get_by_label("What you wrote")).to_have_value("An hour of work")


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
    expect(page.get_by_text("3 answers today")).to_be_visible()
    assert Demonstration.objects.get().text == "Plain"
    assert list(Placing.objects.values_list("rating", "rank").distinct()) == [(5, 1)]
    assert len(Instruction.objects.get().pairs) == 3
