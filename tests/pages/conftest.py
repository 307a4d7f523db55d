"""A server of the pages in urls.py, with the project's middleware, its policy for content, and no database."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from socketserver import ThreadingMixIn
from threading import Thread
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

import pytest
from axe_playwright_python.sync_playwright import Axe
from django.contrib.staticfiles.handlers import StaticFilesHandler
from django.core.wsgi import get_wsgi_application
from django.test import override_settings
from playwright.sync_api import Browser, Locator, Page


@dataclass
class Told:
    """How the server shall answer, and what it was sent."""

    draft: int = 200
    renew: int = 200
    part: int = 200
    submit: int = 200
    person: int = 7  # who is logged in
    drafts: list[dict[str, Any]] = field(default_factory=list)
    submits: list[dict[str, Any]] = field(default_factory=list)


told = Told()


class Server(ThreadingMixIn, WSGIServer):
    daemon_threads = True


class Quiet(WSGIRequestHandler):
    def log_message(self, *args: object) -> None:
        pass


@pytest.fixture(scope="package")
def address() -> Iterator[str]:
    with override_settings(
        ROOT_URLCONF="tests.pages.urls", MESSAGE_STORAGE="django.contrib.messages.storage.cookie.CookieStorage"
    ):
        server = make_server("127.0.0.1", 0, StaticFilesHandler(get_wsgi_application()), Server, Quiet)
        Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        server.server_close()


@pytest.fixture
def server() -> Told:
    vars(told).update(vars(Told()))
    return told


@pytest.fixture
def page(browser: Browser, address: str, server: Told) -> Iterator[Page]:
    """A page that fails its test at the first error in its scripts or breach of its policy for content."""
    context = browser.new_context(base_url=address, viewport={"width": 1280, "height": 800}, locale="en-GB")
    page = context.new_page()
    faults: list[str] = []
    page.on("pageerror", lambda error: faults.append(str(error)))
    page.on("console", lambda line: faults.append(line.text) if "Content Security Policy" in line.text else None)
    yield page
    context.close()
    assert faults == []


def read(prose: Locator) -> str:
    """The text that a reader sees, without the buttons above its blocks of code."""
    prose.locator(".code-tools button").evaluate_all("all => all.forEach((one) => { one.hidden = true; })")
    return prose.inner_text()


def violations(page: Page) -> list[str]:
    """What axe finds, as lines."""
    found = Axe().run(page).response["violations"]
    return [f"{rule['id']}: {node['html'][:120]}" for rule in found for node in rule["nodes"]]
