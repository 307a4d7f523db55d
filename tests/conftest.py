"""What every test may ask for: a database, a browser and a Redis server. None is ever skipped."""

import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from django.conf import settings
from django.db import connection
from django.test import TransactionTestCase
from hypothesis import settings as hypothesis_settings
from playwright.sync_api import Browser, expect, sync_playwright
from pytest_django import DjangoDbBlocker

from annotate.launch.check import find_browser
from tests.databases import empty_tables, migrated_template

pytest_plugins = ["tests.no_silent_skips"]

BROWSER_FLAGS = (
    "--no-sandbox",  # as root Chromium has none
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)

# Other connections to the test database that are in a query or in a transaction.
BUSY = """
    SELECT 1 FROM pg_stat_activity
    WHERE datname = current_database() AND pid <> pg_backend_pid() AND state <> 'idle'
"""
QUIET_LOOKS = 8
# A process keeps a file to its end. The order of the packages would put some of these last. Files that mostly wait take
# turns with files that keep a processor busy.
LONGEST = (
    "tests/tour/test_killed.py",
    "tests/browser/test_accessibility.py",
    "tests/launch/test_slow_clients.py",
    "tests/launch/test_start.py",
    "tests/desk/test_browser.py",
    "tests/tour/test_day.py",
    "tests/models_worker/test_runner.py",
    "tests/tour/test_real_data.py",
    "tests/browser/test_keyboard.py",
    "tests/models_worker/test_tasks.py",
    "tests/pages/test_ranking_board.py",
    "tests/tour/test_under_load.py",
    "tests/broker/test_redis.py",
    "tests/work/test_model.py",
)


def pytest_configure() -> None:
    # A busy machine takes longer for an example than Hypothesis allows, without anything being wrong.
    hypothesis_settings.register_profile("annotate", deadline=None)
    hypothesis_settings.load_profile("annotate")
    # Messages that tests send inside this process go nowhere; a test with real workers gives them a broker.
    settings.CELERY_BROKER_URL = "memory://"
    # Pages name static files by their source: nothing has to be collected first.
    plain = {"BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"}
    settings.STORAGES = settings.STORAGES | {"staticfiles": plain}
    # Logins are many and need not be slow.
    settings.PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
    TransactionTestCase._fixture_teardown = empty_tables


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What takes longest begins first, so that no process is left alone with it at the end."""

    def place(item: pytest.Item) -> int:
        return next((at for at, path in enumerate(LONGEST) if item.nodeid.startswith(path)), len(LONGEST))

    items.sort(key=place)


@pytest.fixture(scope="session")
def django_db_modify_db_settings(
    django_db_modify_db_settings: None, request: pytest.FixtureRequest, django_db_blocker: DjangoDbBlocker
) -> None:
    """Each process's database is a copy of one that is migrated already. `migrate` runs on it all the same."""
    if request.config.getvalue("reuse_db") and not request.config.getvalue("create_db"):
        return
    with django_db_blocker.unblock():
        connection.settings_dict["TEST"]["TEMPLATE"] = migrated_template()


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Chromium of this machine; a test opens its own context in it.

    For a module, because Playwright keeps an event loop in this thread, and other modules run their own.
    """
    found = find_browser()
    assert found, "Chromium is not installed; bin/test installs it where it may"
    # Playwright runs an event loop in this thread, which Django would take for code that must not block.
    os.environ["DJANGO_ALLOW_ASYNC_UNSAFE"] = "true"
    # A machine that does other things beside the tests is slow, not wrong.
    expect.set_options(timeout=20_000)
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=found, args=list(BROWSER_FLAGS))
        yield chromium
        chromium.close()


@pytest.fixture(autouse=True)
def quiet_at_the_end(request: pytest.FixtureRequest) -> Iterator[None]:
    """A page that is closed still saves its draft: the tables are emptied when the live server has nothing to do."""
    if "live_server" not in request.fixturenames:
        yield
        return
    request.getfixturevalue("transactional_db")  # so that this ends before the tables are emptied
    yield
    deadline, quiet = time.monotonic() + 20, 0
    while quiet < QUIET_LOOKS and time.monotonic() < deadline:
        with connection.cursor() as cursor:
            cursor.execute(BUSY)
            quiet = 0 if cursor.fetchone() else quiet + 1
        time.sleep(0.05)


@pytest.fixture(scope="session")
def redis_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A Redis server of this run, for CELERY_BROKER_URL."""
    server = shutil.which("redis-server")
    assert server, "Redis is not installed; bin/test installs it where it may"
    port = free_port()
    folder = tmp_path_factory.mktemp("redis")
    process = subprocess.Popen(
        [server, "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--dir", str(folder)],
        stdout=(folder / "log").open("wb"),
        stderr=subprocess.STDOUT,
    )
    try:
        wait_for_port(port, process, folder / "log")
        yield f"redis://127.0.0.1:{port}/0"
    finally:
        process.terminate()
        process.wait(10)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def wait_for_port(port: int, process: "subprocess.Popen[bytes]", log: Path) -> None:
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline and process.poll() is None:
        with socket.socket() as client:
            if client.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.05)
    raise AssertionError(log.read_text())
