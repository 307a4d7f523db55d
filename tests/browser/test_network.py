"""Whatever the network does between a labeler and the server, there is one answer in the end, with what they wrote."""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import timedelta
from typing import Any
from urllib.parse import urljoin

import pytest
from django.conf import settings as django_settings
from django.test import Client
from django.urls import reverse
from django.utils import timezone
from playwright.sync_api import Page, Route, expect

from annotate.accounts.models import User
from annotate.demonstrations.models import Demonstration
from annotate.demonstrations.workflow import DEMONSTRATIONS
from annotate.work import leases, refusals
from annotate.work.models import Assignment, Draft, Event
from annotate.work.states import Move
from tests import factories as make
from tests.browser.world import PASSWORD

pytestmark = pytest.mark.browser
KEPT = "() => Object.values(localStorage).filter((record) => record.includes('hour of work')).length"
TEXT = "An hour of work, “every word” of it.\nAnd a second line."


@dataclass
class Sitting:
    me: User
    page: Page
    held: Assignment

    def submit(self) -> None:
        self.page.get_by_label("Your answer").fill(TEXT)
        self.page.keyboard.press("Control+Enter")

    def waits(self, words: str) -> None:
        expect(self.page.locator("[data-hand-in-words]")).to_contain_text(words)

    def goes_on(self) -> None:
        """To a task that is not the one just handed in, or home."""
        here = re.escape(reverse("desk:task", args=[self.held.id]))
        expect(self.page).not_to_have_url(re.compile(f"{here}$"))
        expect(self.page.locator("[data-undo]")).to_be_visible()


@pytest.fixture
def sit(transactional_db, visit) -> Iterator[Callable[..., Sitting]]:
    """sit(prompts): somebody at the first task of a campaign, their page loaded. A script's error fails."""
    visitors = []

    def sit_down(prompts: int = 2, **fields: Any) -> Sitting:
        pool = make.pool()
        for _ in range(prompts):
            make.prompt(pool)
        campaign = make.campaign(over=pool, **fields)
        DEMONSTRATIONS.fill(campaign=campaign, now=timezone.now())
        me = make.user(username="ada")
        me.set_password(PASSWORD)
        me.save()
        make.acknowledge(me, campaign)
        held = leases.claim(campaign_id=campaign.id, labeler=me, now=timezone.now())
        visitors.append(visit(me))
        visitors[-1].page.goto(reverse("desk:task", args=[held.id]))
        return Sitting(me, visitors[-1].page, held)

    yield sit_down
    assert [words for visitor in visitors for _where, words in visitor.heard if words.startswith("script error")] == []


def lines(text: str) -> str:
    """A form that is sent whole ends its lines as the network does."""
    return text.replace("\r\n", "\n")


def one_answer(by: User) -> None:
    assert list(Demonstration.objects.values_list("text", "assignment__labeler")) == [(TEXT, by.id)]
    assert Event.objects.filter(move=Move.SUBMIT).count() == 1
    assert not Draft.objects.filter(labeler=by).exists()


def log_in_elsewhere(page: Page, user: User) -> None:
    """In another tab of this browser; who was logged in before is not any more."""
    client = Client()
    client.force_login(user)
    session = client.cookies[django_settings.SESSION_COOKIE_NAME]
    page.context.clear_cookies(name=session.key)
    page.context.add_cookies([{"name": session.key, "value": session.value, "url": urljoin(page.url, "/")}])


def test_a_connection_lost_in_mid_sentence(sit):
    at = sit()
    at.page.get_by_label("Your answer").fill("An hour of work,")
    expect(at.page.locator("[data-save-state=saved]")).to_be_visible()
    at.page.context.set_offline(True)
    at.page.get_by_label("Your answer").fill(TEXT)
    expect(at.page.locator("[data-save-state=kept]")).to_be_visible()
    at.page.context.set_offline(False)
    expect(at.page.locator("[data-save-state=saved]")).to_be_visible()
    assert Draft.objects.get().body == {"text": [TEXT]}
    at.page.keyboard.press("Control+Enter")
    at.goes_on()
    one_answer(at.me)
    assert at.page.evaluate(KEPT) == 0


def test_a_submit_without_a_connection_is_sent_when_it_is_back(sit):
    at = sit()
    at.page.context.set_offline(True)
    at.submit()
    at.page.keyboard.press("Control+Enter")
    at.waits("no connection. This browser keeps your answer")
    expect(at.page.get_by_label("Your answer")).to_have_value(TEXT)
    assert not Demonstration.objects.exists()
    at.page.context.set_offline(False)
    at.goes_on()
    one_answer(at.me)
    assert at.page.evaluate(KEPT) == 0


@pytest.mark.parametrize("stored", [False, True])
def test_a_proxy_that_answers_for_the_server(sit, stored):
    at = sit()

    def bad_gateway(route: Route) -> None:
        if stored:
            route.fetch()
        route.fulfill(status=502, body="<h1>Bad gateway</h1>")

    at.page.route("**/submit/", bad_gateway, times=1)
    at.submit()
    at.waits("no connection")
    assert Demonstration.objects.exists() == stored
    at.page.get_by_role("button", name="Send now").click()
    at.goes_on()
    one_answer(at.me)
    assert at.page.evaluate(KEPT) == 0


def test_a_page_that_is_left_while_its_answer_is_on_the_way(sit):
    at = sit()
    held: list[Route] = []
    at.page.route("**/submit/", lambda route: held.append(route), times=1)
    with at.page.expect_request("**/submit/"):
        at.submit()
    at.page.goto(reverse("desk:home"))
    expect(at.page.locator("[data-fact=today][data-count='1']")).to_be_visible()
    one_answer(at.me)
    assert at.page.evaluate(KEPT) == 0


def test_a_lease_that_ended_meanwhile_while_the_task_is_free(sit):
    at = sit()
    at.page.context.set_offline(True)
    at.submit()
    at.waits("no connection")
    leases.sweep(now=timezone.now() + timedelta(days=1))
    at.page.context.set_offline(False)
    at.goes_on()
    one_answer(at.me)


def test_a_task_that_went_to_somebody_else_meanwhile(sit):
    at = sit(prompts=1)
    other = make.user()
    make.acknowledge(other, at.held.campaign)
    at.page.context.set_offline(True)
    at.submit()
    at.waits("no connection")
    leases.sweep(now=timezone.now() + timedelta(days=1))
    leases.claim(campaign_id=at.held.campaign_id, labeler=other, now=timezone.now())
    at.page.context.set_offline(False)
    expect(at.page.get_by_role("heading", name="This task is no longer yours")).to_be_visible()
    expect(at.page.get_by_label("Your text")).to_have_value(TEXT)
    assert lines(Draft.objects.get(labeler=at.me).body["text"][0]) == TEXT
    at.page.get_by_role("link", name="Back to work").click()
    box = at.page.get_by_role("region", name="Answers in this browser")
    expect(box).to_contain_text(f"was not submitted. {refusals.LeaseLost.message}")
    box.locator("summary").click()
    expect(box.get_by_role("textbox")).to_have_value(TEXT)
    box.get_by_role("button", name="Discard it").click()
    expect(box).to_be_hidden()
    assert not Demonstration.objects.exists()


def test_a_browser_that_was_closed_and_opened_again(sit, visit):
    at = sit()
    at.page.context.set_offline(True)
    at.submit()
    at.waits("You can close this page")
    state = at.page.context.storage_state()
    at.page.context.close()
    page = visit(storage_state=state).page
    page.goto(reverse("desk:home"))
    expect(page.locator("[data-fact=today][data-count='1']")).to_be_visible()
    expect(page.get_by_role("region", name="Answers in this browser")).to_be_hidden()
    one_answer(at.me)
    assert page.evaluate(KEPT) == 0


def test_a_session_that_ended_meanwhile(sit):
    at = sit()
    at.page.context.clear_cookies()
    at.submit()
    at.waits("you are logged out")
    at.page.get_by_role("link", name="Log in").click()
    at.page.get_by_label("Login").fill("ada")
    at.page.get_by_label("Password", exact=True).fill(PASSWORD)
    at.page.keyboard.press("Enter")
    at.goes_on()
    one_answer(at.me)
    assert at.page.evaluate(KEPT) == 0


def test_another_person_at_the_same_browser(sit):
    at = sit(overlap=2)
    other = make.user()
    make.acknowledge(other, at.held.campaign)
    theirs = leases.claim(campaign_id=at.held.campaign_id, labeler=other, now=timezone.now())
    assert theirs.task_id == at.held.task_id, "so that the server could take the text for theirs"
    log_in_elsewhere(at.page, other)
    at.submit()
    at.waits("you are logged out")

    second = at.page.context.new_page()
    second.goto(reverse("desk:task", args=[theirs.id]))
    expect(second.get_by_label("Your answer")).to_have_value("")
    second.get_by_label("Your answer").fill("Theirs")
    expect(second.locator("[data-save-state=saved]")).to_be_visible()
    expect(second.get_by_role("region", name="Answers in this browser")).to_be_hidden()
    expect(second.locator("[data-draft-offer]")).to_be_hidden()
    with at.page.expect_response("**/submit/"):
        at.page.get_by_role("button", name="Send now").click()
    assert not Demonstration.objects.exists()
    assert Draft.objects.get().body == {"text": ["Theirs"]}

    log_in_elsewhere(at.page, at.me)
    at.page.evaluate("dispatchEvent(new Event('online'))")
    at.goes_on()
    one_answer(at.me)
