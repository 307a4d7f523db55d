"""The platform behind pytest-django's live server, and people in Chromium who look at it."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest
from django.conf import settings as django_settings
from django.test import Client
from playwright.sync_api import Browser, ConsoleMessage, Page, Request

from annotate.accounts.models import User
from tests.browser import world as worlds


@pytest.fixture
def world(transactional_db, settings, tmp_path) -> worlds.World:
    settings.STORAGES = settings.STORAGES | {
        "exports": {"BACKEND": "django.core.files.storage.FileSystemStorage", "OPTIONS": {"location": tmp_path}}
    }
    return worlds.build()


@dataclass
class Visitor:
    """Somebody's browser, and what its console has complained about: (where, what)."""

    page: Page
    heard: list[tuple[str, str]] = field(default_factory=list)
    pages: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        self.page.on("pageerror", lambda error: self.heard.append(("", f"script error: {error}")))
        self.page.on("console", self._hear)
        self.page.on("request", self._go)

    def _hear(self, said: ConsoleMessage) -> None:
        if said.type == "error":
            self.heard.append((said.location.get("url", ""), said.text))

    def _go(self, request: Request) -> None:
        if request.is_navigation_request():
            self.pages.add(request.url)

    def faults(self) -> list[str]:
        """What is new since the last call. That a page has an error's status is said by its status."""
        heard, self.heard[:] = list(self.heard), []
        return [
            f"{text} {where}".strip()
            for where, text in heard
            if not (text.startswith("Failed to load resource") and where in self.pages)
        ]


@pytest.fixture
def visit(browser: Browser, live_server: Any) -> Iterator[Callable[..., Visitor]]:
    """visit(user): their browser, logged in already; options are those of a browser context."""
    contexts = []

    def open_browser(user: User | None = None, *, width: int = 1280, **options: Any) -> Visitor:
        size = {"width": width, "height": 900}
        context = browser.new_context(base_url=live_server.url, viewport=size, locale="en-GB", **options)
        contexts.append(context)
        context.set_default_timeout(10_000)
        if user is not None:
            client = Client()
            client.force_login(user)
            name = django_settings.SESSION_COOKIE_NAME
            context.add_cookies([{"name": name, "value": client.cookies[name].value, "url": live_server.url}])
        return Visitor(context.new_page())

    yield open_browser
    for context in contexts:
        context.close()
