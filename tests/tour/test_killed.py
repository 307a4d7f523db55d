"""kill -9 at the worst moments of the running platform: nothing that was acknowledged is lost, nothing is doubled."""

import random
import socket
import threading
import time
from dataclasses import dataclass
from urllib.parse import urlencode

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.tour.people import at_work, begin
from tests.tour.platform import Platform, eventually

pytestmark = pytest.mark.browser


@dataclass(frozen=True)
class KilledRun:
    """A sampling run that lost its worker. `completions`: how many it must have at its end."""

    id: int
    completions: int


@pytest.fixture(scope="module")
def killed_run(browser: Browser, platform: Platform) -> KilledRun:
    """The dead worker's lease ends while other tests run."""
    with at_work(browser, platform, "manager") as page:
        page.goto("/studio/runs/new/")
        page.get_by_label("Pool").select_option(label="Demonstration prompts")
        page.get_by_label("Completions per prompt").fill("9")
        page.get_by_role("button", name="Start the run").click()
        run = platform.value("SELECT max(id) FROM samples_samplerun")
        wanted = platform.value("SELECT count(*) * 9 FROM samples_samplerequest WHERE run_id = %s", run)
        eventually(lambda: stored(platform, run) > 0.2 * wanted, seconds=90)
        assert platform.kill("-Q sampling")
        assert stored(platform, run) < wanted
    return KilledRun(run, wanted)


@pytest.mark.usefixtures("killed_run")
def test_gunicorn_killed_between_a_submit_and_its_answer_loses_and_doubles_nothing(
    browser: Browser, platform: Platform
):
    chance = random.Random(7)
    with at_work(browser, platform, "labeler") as page:
        for number in range(6):
            text = f"An answer that must survive the {number}th kill."
            begin(page, "Write answers")
            page.get_by_label("Your answer").fill(text)
            # From "before it arrives" to "stored, but not answered".
            submit_and_kill(platform, page, text, seconds=chance.uniform(0, 0.12))
            eventually(lambda: answers(platform))
            # The person sees an error or nothing, and presses the button again: the same page, the same key.
            page.get_by_role("button", name="Submit and stop").click()
            expect(page.locator("[data-undo]")).to_be_visible()
            stored = platform.value("SELECT count(*) FROM demonstrations_demonstration WHERE text = %s", text)
            assert stored == 1


def test_what_was_typed_survives_the_browser_and_the_server(browser: Browser, platform: Platform):
    with at_work(browser, platform, "labeler") as page:
        begin(page, "Write answers")
        page.get_by_label("Your answer").fill("Half a sentence, and then")
        expect(page.locator("[data-save-state]").first).to_contain_text("Saved")
    assert platform.kill("gunicorn")
    eventually(lambda: answers(platform))
    with at_work(browser, platform, "labeler") as page:
        begin(page, "Write answers")
        expect(page.get_by_label("Your answer")).to_have_value("Half a sentence, and then")


def test_the_sampling_worker_killed_in_a_run_goes_on_where_it_was(
    browser: Browser, platform: Platform, killed_run: KilledRun
):
    with at_work(browser, platform, "manager") as page:
        page.goto(f"/studio/runs/{killed_run.id}/")
        expect(page.locator("[data-state=done]").first).to_be_visible(timeout=240_000)
    assert stored(platform, killed_run.id) == killed_run.completions
    groups = "SELECT 1 FROM samples_completion WHERE run_id = %s GROUP BY prompt_id, k HAVING count(*) > 1"
    assert platform.rows(groups, killed_run.id) == []


def stored(platform: Platform, run: int) -> int:
    return platform.value("SELECT count(*) FROM samples_completion WHERE run_id = %s", run)


def submit_and_kill(platform: Platform, page: Page, text: str, *, seconds: float) -> None:
    """Send the page's form over a socket of our own, and kill every web process before reading the answer."""
    form = page.locator("form.wanted")
    fields = {
        "csrfmiddlewaretoken": form.locator("[name=csrfmiddlewaretoken]").input_value(),
        "submit_key": form.locator("[name=submit_key]").input_value(),
        "text": text,
        "then": "stop",
    }
    body = urlencode(fields)
    cookies = "; ".join(f"{cookie['name']}={cookie['value']}" for cookie in page.context.cookies())
    head = (
        f"POST {form.get_attribute('action')} HTTP/1.1\r\nHost: 127.0.0.1:{platform.port}\r\nCookie: {cookies}\r\n"
        f"Content-Type: application/x-www-form-urlencoded\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    victims = platform.processes("gunicorn")
    assert len(victims) >= 3, "one master and two workers"
    kill = threading.Timer(seconds, lambda: [victim.kill() for victim in victims if victim.is_running()])
    with socket.create_connection(("127.0.0.1", platform.port), timeout=10) as wire:
        wire.sendall((head + body).encode())
        kill.start()
        kill.join()


def answers(platform: Platform) -> bool:
    try:
        with socket.create_connection(("127.0.0.1", platform.port), timeout=5) as wire:
            wire.sendall(b"GET /account/login/ HTTP/1.0\r\nHost: 127.0.0.1\r\n\r\n")
            return wire.recv(15).startswith(b"HTTP/1.")
    except OSError:
        time.sleep(0.1)
        return False
