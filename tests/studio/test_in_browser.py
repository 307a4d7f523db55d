"""The studio in Chromium: keys, previews, and progress that keeps itself up to date."""

from collections.abc import Iterator

import pytest
from django.conf import settings
from django.test import Client
from django.urls import reverse
from django.utils import timezone
from playwright.sync_api import Browser, Page, expect

from annotate.instructions.actions import NoBriefs
from annotate.pools import tasks
from annotate.pools.importers.prompts import NO_PROMPT
from annotate.pools.models import Kind
from annotate.work import filling
from annotate.work.models import Assignment
from annotate.work.states import State
from tests import factories as make
from tests.studio.conftest import answered
from tests.studio.test_imports import run as run_import
from tests.studio.test_imports import started as start_import
from tests.studio.test_runs import sampled
from tests.studio.test_runs import started as start_run

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]


@pytest.fixture
def page(browser: Browser, live_server, manager) -> Iterator[Page]:
    """A manager's page that fails its test at the first error in its scripts or breach of its policy for content."""
    client = Client()
    client.force_login(manager)
    context = browser.new_context(base_url=live_server.url)
    session = client.cookies[settings.SESSION_COOKIE_NAME].value
    context.add_cookies([{"name": settings.SESSION_COOKIE_NAME, "value": session, "url": live_server.url}])
    page = context.new_page()
    faults: list[str] = []
    page.on("pageerror", lambda error: faults.append(str(error)))
    page.on("console", lambda line: faults.append(line.text) if "Content Security Policy" in line.text else None)
    yield page
    context.close()
    assert faults == []


def reviewed(tasks: int = 3, **fields):
    campaign = make.campaign(review_percent=100, **fields)
    for _ in range(tasks):
        make.prompt(campaign.pool)
    filling.add_tasks(campaign=campaign, prompts=campaign.pool.prompts.order_by("id"), now=timezone.now())
    return campaign


def test_a_reviewer_decides_by_keys_alone(page: Page):
    campaign = reviewed()
    first, second, third = (answered(campaign, make.user(), f"Answer {n}") for n in range(3))
    page.goto(reverse("studio:review-answer", args=[first.id]))
    page.keyboard.press("Control+Shift+Enter")
    expect(page.locator(".prose").get_by_text("Answer 1")).to_be_visible()
    page.wait_for_load_state()
    page.keyboard.press("c")
    page.keyboard.press("Control+Enter")
    comment = page.get_by_label("Comment")
    expect(comment).to_be_focused()
    expect(page.locator("[data-comment-missing]")).to_be_visible()
    # A letter that is typed is a letter.
    page.keyboard.type("as you like")
    page.get_by_role("button", name="Send back").click()
    expect(page.locator(".prose").get_by_text("Answer 2")).to_be_visible()
    page.wait_for_load_state()
    page.keyboard.press("Control+Shift+Enter")
    expect(page.locator("[data-fact=nothing-waits]")).to_be_visible()
    decided = dict(Assignment.objects.values_list("id", "state"))
    assert decided == {first.id: State.ACCEPTED, second.id: State.SENT_BACK, third.id: State.ACCEPTED}
    second.refresh_from_db()
    assert second.comment == "as you like"


def test_a_double_click_decides_about_one_answer(page: Page):
    """Its second click may meet the page of the next answer, whose buttons are at the same place."""
    campaign = reviewed()
    first, second = (answered(campaign, make.user(), f"Answer {n}") for n in range(2))
    page.goto(reverse("studio:review-answer", args=[first.id]))
    page.get_by_role("button", name="Accept").hover()
    page.mouse.down(click_count=1)
    page.mouse.up(click_count=1)
    expect(page.locator(".prose").get_by_text("Answer 1")).to_be_visible()
    page.wait_for_load_state()
    box = page.get_by_role("button", name="Accept").bounding_box()
    assert box
    page.mouse.move(box["x"] + 5, box["y"] + 5)
    page.evaluate("addEventListener('submit', () => { document.body.dataset.sent = 'yes' })")
    page.mouse.down(click_count=2)
    page.mouse.up(click_count=2)
    expect(page.get_by_role("button", name="Accept")).to_be_focused()
    assert page.locator("body[data-sent]").count() == 0
    second.refresh_from_db()
    assert second.state == State.SUBMITTED


def test_a_guideline_is_previewed_while_it_is_typed(page: Page):
    page.goto(reverse("studio:guideline-new"))
    expect(page.locator("[data-fact=nothing-written]")).to_be_visible()
    page.get_by_label("Text, in Markdown").fill("## Be kind\n\nand *brief*")
    expect(page.locator("article .prose :is(h2, h3)")).to_have_text("Be kind")
    expect(page.locator("article em")).to_have_text("brief")


def test_a_run_is_followed_to_its_end(page: Page):
    pool = make.pool()
    make.prompt(pool)
    run = start_run(pool)
    page.goto(reverse("studio:run", args=[run.id]))
    expect(page.locator("[hx-get]").first).to_be_visible()
    sampled(run)
    expect(page.locator(".prose").get_by_text("Completion *1*")).to_be_visible()
    expect(page.locator("h1 [data-state=done]")).to_be_visible()
    expect(page.locator("[hx-get]")).to_have_count(0)


def test_an_import_is_followed_to_its_report(page: Page):
    job = start_import(make.pool(), {"prompt": "New"}, {"nothing": "here"})
    page.goto(reverse("studio:import", args=[job.id]))
    expect(page.locator("[hx-get]").first).to_be_visible()
    run_import(job)
    expect(page.get_by_text(str(NO_PROMPT))).to_be_visible()
    expect(page.locator("[hx-get]")).to_have_count(0)


def test_an_import_asks_about_a_field_and_goes_on_without_it(page: Page):
    job = start_import(make.pool(), {"prompt": "Translate.", "passage": "Guten Tag"})
    page.goto(reverse("studio:import", args=[job.id]))
    expect(page.locator("[hx-get]").first).to_be_visible()
    tasks.run_import(job.id)
    # The page finds out by itself.
    expect(page.get_by_role("row", name="passage")).to_contain_text("Guten Tag")
    page.get_by_role("button", name="Import without these fields").click()
    expect(page.locator("[hx-get]").first).to_be_visible()
    tasks.run_import(job.id)
    expect(page.get_by_role("link", name="Translate.")).to_be_visible()
    expect(page.locator("[hx-get]")).to_have_count(0)


def test_a_campaign_without_javascript_is_set_up_opened_and_closed(browser: Browser, live_server, page: Page):
    pool, guideline = make.pool("Bakery"), make.guideline("Answers")
    make.prompt(pool, kind=Kind.PLAIN)
    context = browser.new_context(base_url=live_server.url, java_script_enabled=False)
    context.add_cookies(page.context.cookies())
    plain = context.new_page()
    plain.goto(reverse("studio:campaigns"))
    plain.get_by_role("link", name="New campaign").click()
    plain.get_by_role("link", name="Demonstrations").click()
    plain.get_by_label("Name", exact=True).fill("Write answers")
    plain.get_by_label("Pool", exact=True).select_option(label="Bakery")
    plain.get_by_label("Guideline", exact=True).select_option(label=guideline.name)
    plain.get_by_role("button", name="Create as a draft").click()
    for step, confirmation, badge in (
        ("Open", "Open it", "open"),
        ("Pause", "Pause it", "paused"),
        ("Reopen", "Reopen it", "open"),
        ("Close", "Close it", "closed"),
    ):
        plain.get_by_role("link", name=step, exact=True).click()
        plain.get_by_role("button", name=confirmation).click()
        expect(plain.locator(f"h1 [data-state={badge}]")).to_be_visible()
    context.close()


def test_a_policy_s_form_shows_what_its_origin_needs_and_whatever_is_in_the_way(page: Page):
    page.goto(reverse("studio:policy-new"))
    model, adapter, dtype = (page.get_by_label(name) for name in ("Model on the server", "Adapter", "Dtype"))
    expect(adapter).to_be_visible()
    expect(model).to_be_hidden()
    adapter.fill("/models/lora")
    page.get_by_label("Origin").select_option("server")
    expect(model).to_be_visible()
    expect(dtype).to_be_hidden()
    # Otherwise the form would be refused for something nobody sees.
    expect(adapter).to_be_visible()


def test_a_refused_form_comes_back_at_its_first_fault(page: Page):
    page.goto(reverse("studio:policy-new"))
    page.get_by_label("Name", exact=True).fill("owl")
    page.get_by_role("button", name="Register").click()
    expect(page.get_by_label("Folder, hub id or address")).to_be_focused()
    campaign = make.campaign("instructions")
    page.goto(reverse("studio:campaign", args=[campaign.id]))
    page.get_by_role("button", name="Add briefs").click()
    expect(page.get_by_text(str(NoBriefs.message))).to_be_in_viewport()
