"""The task after this one stands ready in the browser, and a submit can be taken back: what the scripts do for it."""

import pytest
from django.urls import reverse
from django.utils import timezone
from playwright.sync_api import Page, expect

from annotate.demonstrations.models import Demonstration
from annotate.demonstrations.workflow import DEMONSTRATIONS
from annotate.work import leases
from annotate.work.models import Assignment, Hand, PageVisit
from annotate.work.states import State
from tests import factories as make

pytestmark = pytest.mark.browser


@pytest.fixture
def sit(transactional_db, visit):
    """sit(prompts): the labeler, their browser at the first of so many tasks, its assignment."""

    def sit_down(prompts):
        pool = make.pool()
        for _ in range(prompts):
            make.prompt(pool)
        campaign = make.campaign(over=pool)
        DEMONSTRATIONS.fill(campaign=campaign, now=timezone.now())
        me = make.user(username="ada")
        make.acknowledge(me, campaign)
        held = leases.claim(campaign_id=campaign.id, labeler=me, now=timezone.now())
        visitor = visit(me)
        visitor.page.goto(reverse("desk:task", args=[held.id]))
        return me, visitor, held

    return sit_down


@pytest.fixture
def working(sit):
    """(the labeler, their page at the first of three tasks, its assignment)"""
    me, visitor, held = sit(3)
    return me, visitor.page, held


def begin(page: Page) -> Assignment:
    """Type something, wait for the next task to be loaded, and return it."""
    with page.expect_response(lambda response: response.url.endswith("?ahead")) as loaded:
        page.get_by_label("Your answer").fill("An answer")
    loaded.value.finished()
    return Assignment.objects.get(state=State.LEASED, hand=Hand.PREFETCHED)


def test_on_the_last_task_the_console_stays_quiet(sit):
    _me, visitor, _held = sit(1)
    with visitor.page.expect_response(lambda response: response.url.endswith("/ahead/")) as asked:
        visitor.page.get_by_label("Your answer").fill("The only answer")
    assert asked.value.json()["page"] is None
    expect(visitor.page.locator("[data-save-state=saved]")).to_be_visible()
    assert visitor.faults() == []


def test_the_next_task_comes_out_of_the_browser_and_is_the_labelers_for_its_whole_lease(working):
    _me, page, _held = working
    ahead = begin(page)
    tools = page.context.new_cdp_session(page)
    tools.send("Network.enable")
    pages = {}
    tools.on(
        "Network.responseReceived",
        lambda told: (
            pages.update({told["response"]["url"]: told["response"]["fromDiskCache"]})
            if told["type"] == "Document"
            else None
        ),
    )
    with page.expect_response(lambda response: response.url.endswith(f"{ahead.id}/renew/")):
        page.keyboard.press("Control+Enter")
    expect(page).to_have_url(reverse("desk:task", args=[ahead.id]))
    expect(page.locator(".prose").get_by_text(ahead.task.prompt.text)).to_be_visible()
    assert list(pages.values()) == [True]
    row = Assignment.objects.get(id=ahead.id)
    assert row.hand == Hand.ACTIVE
    assert row.leased_until > ahead.leased_until


def test_a_submit_is_taken_back_by_its_button_and_what_was_typed_since_is_not_lost(working):
    _me, page, held = working
    ahead = begin(page)
    page.keyboard.press("Control+Enter")
    undo = page.get_by_role("button", name="Undo")
    expect(undo).to_be_visible()
    assert Demonstration.objects.get().text == "An answer"
    page.get_by_label("Your answer").fill("The second answer")
    expect(page.locator("[data-save-state]").first).to_contain_text("Saved")
    undo.click()
    expect(page).to_have_url(reverse("desk:task", args=[held.id]))
    expect(page.get_by_label("Your answer")).to_have_value("An answer")
    assert not Demonstration.objects.exists()
    page.get_by_label("Your answer").fill("A better answer")
    page.keyboard.press("Control+Enter")
    expect(page).to_have_url(reverse("desk:task", args=[ahead.id]))
    expect(page.get_by_label("Your answer")).to_have_value("The second answer")
    assert Demonstration.objects.get().text == "A better answer"


def test_active_seconds_are_counted_and_sent_with_the_answer(working):
    me, page, held = working
    page.get_by_label("Your answer").fill("An answer")
    while page.evaluate("performance.now()") < 2500:
        page.wait_for_timeout(100)
    page.keyboard.press("Control+Enter")
    expect(page.locator("[data-undo]")).to_be_visible()
    row = Assignment.objects.get(id=held.id)
    assert 1 <= row.active_seconds <= 120
    assert PageVisit.objects.filter(task=held.task, labeler=me).count() == 1
