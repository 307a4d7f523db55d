"""gunicorn as bin/start runs it: over a PostgreSQL that hangs, and sent files that nobody may send.

No page waits for good, static files do not wait, and what is refused is refused before it is stored.
"""

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import psutil
import psycopg2
import pytest

from annotate.launch.bootstrap import ROOT
from tests.launch.processes import wait_until
from tests.launch.web import Site, running

STATEMENT, LOCK, CONNECT = 4, 2, 3


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    limits = {"DB_STATEMENT_TIMEOUT": STATEMENT, "DB_LOCK_TIMEOUT": LOCK, "DB_CONNECT_TIMEOUT": CONNECT}
    with running(tmp_path_factory, **limits) as found:
        yield found


def postgres(site: Site) -> list[psutil.Process]:
    """The processes of this server alone."""
    connection = psycopg2.connect(site.url)
    try:
        postmaster = psutil.Process(connection.info.backend_pid).parent()
        assert postmaster is not None
        return [postmaster, *postmaster.children(recursive=True)]
    finally:
        connection.close()


@pytest.fixture
def hung(site: Site) -> Iterator[None]:
    """All of PostgreSQL's processes are stopped: it takes connections and says nothing."""
    # Each thread of the web has its connection by now.
    ask_at_once(site, 16)
    stopped = postgres(site)
    try:
        for process in stopped:
            if process.is_running():
                process.send_signal(signal.SIGSTOP)
        yield
    finally:
        for process in stopped:
            try:
                process.send_signal(signal.SIGCONT)
            except psutil.NoSuchProcess:
                continue


def ask_at_once(
    site: Site, count: int, *, meanwhile: Callable[[], None] = lambda: None
) -> list[tuple[int, dict[str, str], str, float]]:
    answers: list[tuple[int, dict[str, str], str, float]] = []
    threads = [threading.Thread(target=lambda: answers.append(site.ask("/"))) for _ in range(count)]
    for thread in threads:
        thread.start()
    meanwhile()
    for thread in threads:
        thread.join()
    return answers


def test_static_files_do_not_wait_and_pages_say_when_to_try_again(site: Site, hung: None) -> None:
    began = time.monotonic()

    def static_files() -> None:
        # Long enough that all the others have come, and shorter than they wait.
        while time.monotonic() < began + STATEMENT / 2:
            status, _headers, body, took = site.ask("/static/css/base.css", seconds=10)
            assert (status, "font" in body) == (200, True)
            assert took < 2

    answers = ask_at_once(site, 16, meanwhile=static_files)
    assert [status for status, *_rest in answers] == [503] * 16
    for _status, headers, body, _took in answers:
        assert headers["Retry-After"] == "5"
        assert "Try again in a few seconds" in body
    # Eight threads wait for the whole time, and the eight requests behind them only for a moment.
    assert time.monotonic() - began < STATEMENT + 2 + 10
    status, headers, body, took = site.ask("/desk/tasks/1/", Accept="application/json, text/html")
    assert (status, headers["Content-Type"]) == (503, "application/json")
    assert "words" in body
    assert took < STATEMENT + 2
    assert site.ask("/api/v1/pools/", Authorization="Token abc")[0] == 503


def test_afterwards_pages_come_as_before(site: Site) -> None:
    wait_until(lambda: site.ask("/")[0] == 302, seconds=30)
    assert [status for status, *_rest in ask_at_once(site, 16)] == [302] * 16


def test_a_lock_that_is_not_given_back_is_not_waited_for(site: Site) -> None:
    with psycopg2.connect(site.url) as other:
        with other.cursor() as cursor:
            cursor.execute("LOCK TABLE django_session")
            status, headers, _body, took = site.ask("/")
        other.rollback()
    other.close()
    assert (status, headers["Retry-After"]) == (503, "5")
    assert LOCK - 0.5 < took < LOCK + 5
    assert site.ask("/")[0] == 302


def test_a_server_without_room_for_another_connection_is_told_in_the_same_way(site: Site) -> None:
    """Also one that is down, or starts again."""
    taken = []
    with psycopg2.connect(site.url) as first, first.cursor() as cursor:
        cursor.execute(
            "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE pid <> pg_backend_pid()"
            " AND usename = current_user"
        )
        try:
            while True:
                taken.append(psycopg2.connect(site.url))
        except psycopg2.OperationalError:
            pass
        status, headers, _body, _took = site.ask("/")
    for each in (*taken, first):
        each.close()
    assert (status, headers["Retry-After"]) == (503, "5")
    wait_until(lambda: site.ask("/")[0] == 302, seconds=30)


def test_the_limits_are_those_of_the_web_alone(site: Site) -> None:
    """A worker's statements fill campaigns of a million tasks."""
    code = (
        "from django.db import connection; cursor = connection.cursor(); "
        "cursor.execute('SHOW statement_timeout'); print(cursor.fetchone())"
    )
    done = subprocess.run(
        [sys.executable, "manage.py", "shell", "--no-imports", "-c", code],
        cwd=ROOT,
        env={**os.environ, "DATABASE_URL": site.url},
        capture_output=True,
        text=True,
        check=True,
    )
    assert "('0',)" in done.stdout


MB = 1024 * 1024
TOKEN = "a" * 32
IMPORT = "/studio/pools/1/import/"
BEFORE_FILE = (
    f'--b\r\nContent-Disposition: form-data; name="csrfmiddlewaretoken"\r\n\r\n{TOKEN}\r\n'
    '--b\r\nContent-Disposition: form-data; name="content"\r\n\r\nprompts\r\n'
    '--b\r\nContent-Disposition: form-data; name="file"; filename="big.jsonl"\r\n\r\n'
).encode()
AFTER_FILE = b"\r\n--b--\r\n"


@contextmanager
def nothing_stored(site: Site) -> Iterator[None]:
    """No file is made where Django keeps those that it receives, not even for a moment."""
    seen: set[str] = set()
    over = threading.Event()

    def look() -> None:
        while not over.wait(0.002):
            seen.update(path.name for path in site.temporary.glob("*.upload*"))

    watch = threading.Thread(target=look)
    watch.start()
    try:
        yield
    finally:
        over.set()
        watch.join()
    assert not seen


def send(site: Site, path: str, *, size: int, sent: int | None = None, role: str = "", chunked: bool = False) -> str:
    """A form with a file of this size, of which so much is sent. What comes back, headers and all."""
    session = f"; sessionid={site.sessions[role]}" if role else ""
    length = len(BEFORE_FILE) + size + len(AFTER_FILE)
    how_long = "Transfer-Encoding: chunked" if chunked else f"Content-Length: {length}"
    head = (
        f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nCookie: csrftoken={TOKEN}{session}\r\nAccept: text/html, */*\r\n"
        f"Content-Type: multipart/form-data; boundary=b\r\n{how_long}\r\nConnection: close\r\n\r\n"
    )
    line = b'{"prompt": "' + b"x" * 1000 + b'"}\n'
    with socket.create_connection(("127.0.0.1", site.port), timeout=60) as connection:
        connection.sendall(head.encode())
        if chunked:
            connection.sendall(b"%x\r\n%s\r\n0\r\n\r\n" % (len(BEFORE_FILE), BEFORE_FILE))
        else:
            connection.sendall(BEFORE_FILE)
            left = size if sent is None else sent
            try:
                while left:
                    left -= connection.send((line * 64)[:left])
                if sent is None:
                    connection.sendall(AFTER_FILE)
            except (BrokenPipeError, ConnectionResetError):
                pass  # refused meanwhile
        answer = b""
        while read := connection.recv(MB):
            answer += read
    return answer.decode()


def test_what_a_stranger_sends_is_refused_before_it_is_sent(site: Site) -> None:
    """Of 50 MB one is on its way when the answer comes."""
    with nothing_stored(site):
        answer = send(site, IMPORT, size=50 * MB, sent=MB)
        assert answer.startswith("HTTP/1.1 302")
        assert "Location: /account/login/" in answer
        assert send(site, "/account/login/", size=50 * MB, sent=MB).startswith("HTTP/1.1 413")
        assert send(site, "/account/login/", size=1000).startswith("HTTP/1.1 400")
        assert send(site, "/api/v1/pools/", size=50 * MB, sent=MB).startswith("HTTP/1.1 413")
        assert send(site, "/api/v1/pools/", size=5 * MB, sent=MB).startswith("HTTP/1.1 401")
        assert send(site, "/admin/login/", size=50 * MB, sent=MB).startswith("HTTP/1.1 413")
        assert send(site, "/nowhere/", size=50 * MB, sent=MB).startswith("HTTP/1.1 404")


def test_so_is_what_a_labeler_sends(site: Site) -> None:
    with nothing_stored(site):
        assert send(site, IMPORT, size=50 * MB, sent=MB, role="labeler").startswith("HTTP/1.1 403")
        assert send(site, "/desk/preview/", size=3 * MB, role="labeler").startswith("HTTP/1.1 400")


def test_a_manager_reads_why_a_file_is_too_large(site: Site) -> None:
    with nothing_stored(site):
        answer = send(site, IMPORT, size=120 * MB, role="manager")
        assert answer.startswith("HTTP/1.1 413")
        assert "This is too large: 120.0 MB. You can send at most 101.0 MB." in answer
        # Other forms are no place for files, of whatever size.
        assert send(site, "/studio/people/invite/", size=3 * MB, role="manager").startswith("HTTP/1.1 400")
        assert send(site, "/studio/people/invite/", size=30 * MB, role="manager").startswith("HTTP/1.1 413")
        assert send(site, IMPORT, size=0, role="manager", chunked=True).startswith("HTTP/1.1 411")


def test_a_manager_imports_a_file(site: Site) -> None:
    answer = send(site, IMPORT, size=5 * MB, role="manager")
    assert answer.startswith("HTTP/1.1 302")
    assert "Location: /studio/imports/" in answer
