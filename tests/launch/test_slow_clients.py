"""Clients that send slowly, do not read, or do not close: none of them holds what others wait for.

Each attack opens far more connections than there are threads, and keeps them while others use the site.
"""

import hashlib
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager

import psutil
import pytest

from annotate.accounts.bodies import ANONYMOUS_MAX_BYTES
from annotate.launch.client_socket import THREAD_WAITS
from annotate.launch.gunicorn_worker import ANSWERS_BYTES, BODY_BYTES
from tests.launch.processes import alive, wait_until
from tests.launch.web import Site, running

TIMEOUT, CONNECTIONS, MANY = 8, 60, 40
LONG_PAGE = 3_000_000
STATIC = "/static/vendor/pico.min.css"
LOGIN = "POST /account/login/ HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/x-www-form-urlencoded\r\n"


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    options = ("--worker-connections", str(CONNECTIONS))
    with running(tmp_path_factory, *options, REQUEST_TIMEOUT=TIMEOUT) as found:
        yield found


def connect(site: Site, sent: str | bytes, *, window: int | None = None) -> socket.socket:
    connection = socket.socket()
    connection.settimeout(60)
    if window:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, window)
    connection.connect(("127.0.0.1", site.port))
    connection.sendall(sent if isinstance(sent, bytes) else sent.encode())
    return connection


def read_all(connection: socket.socket) -> str:
    answer = b""
    try:
        while read := connection.recv(65536):
            answer += read
    except ConnectionResetError:
        pass
    return answer.decode()


@contextmanager
def many(open_one: Callable[[], socket.socket], count: int = MANY) -> Iterator[list[socket.socket]]:
    with ExitStack() as stack:
        yield [stack.enter_context(open_one()) for _ in range(count)]


def assert_serves(site: Site) -> None:
    """Pages, forms and files come at once. The machine may be busy, so "at once" is not short."""
    for path, status in ((STATIC, 200), ("/account/login/", 200), ("/", 302), (STATIC, 200)):
        began = time.monotonic()
        assert site.ask(path)[0] == status
        assert time.monotonic() - began < TIMEOUT - 1
    with connect(site, LOGIN + "Connection: close\r\nContent-Length: 3\r\n\r\na=b") as form:
        assert read_all(form).startswith("HTTP/1.1 403")


def test_half_a_request_line_holds_nobody(site: Site) -> None:
    with many(lambda: connect(site, "GET /static/")) as static, many(lambda: connect(site, "GET /acc")):
        assert_serves(site)
        assert read_all(static[-1]).startswith("HTTP/1.1 408 ")


def test_headers_that_come_byte_by_byte_hold_nobody(site: Site) -> None:
    over = threading.Event()
    with many(lambda: connect(site, "GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nX: ")) as slow:

        def trickle() -> None:
            while not over.wait(0.2):
                for each in slow:
                    try:
                        each.send(b"x")
                    except OSError:
                        continue

        sender = threading.Thread(target=trickle)
        sender.start()
        try:
            assert_serves(site)
            began = time.monotonic()
            assert read_all(slow[-1]).startswith("HTTP/1.1 408 ")
            # The limit is one for the whole request, not one for each byte.
            assert time.monotonic() - began < TIMEOUT + 4
        finally:
            over.set()
            sender.join()


def test_bodies_that_do_not_come_hold_nobody(site: Site) -> None:
    with many(lambda: connect(site, LOGIN + f"Content-Length: {ANONYMOUS_MAX_BYTES}\r\n\r\na=")) as slow:
        assert_serves(site)
        assert "HTTP/1.1 408 " in read_all(slow[-1])


def test_the_loop_collects_all_that_a_stranger_may_send(site: Site) -> None:
    assert BODY_BYTES >= ANONYMOUS_MAX_BYTES
    body = "a=" + "b" * (ANONYMOUS_MAX_BYTES - 2)
    with connect(site, LOGIN + f"Connection: close\r\nContent-Length: {len(body)}\r\n\r\n{body}") as whole:
        assert read_all(whole).startswith("HTTP/1.1 403")


@pytest.mark.parametrize(
    "body",
    [
        "Content-Length: 50000000\r\n\r\n",
        "Transfer-Encoding: chunked\r\n\r\n5\r\n",
        "Expect: 100-continue\r\nContent-Length: 1000\r\n\r\n",
        "Expect: 100-continue\r\nContent-Length: 50000000\r\n\r\n",
        f"Content-Length: {'9' * 30}\r\n\r\n",
        f"Content-Length: {'0' * 4100}9\r\n\r\na",
        f"Content-Length: {'9' * 4100}\r\n\r\na",
    ],
)
def test_bodies_that_only_are_announced_hold_nobody(site: Site, body: str) -> None:
    paths = ("/account/login/", "/api/v1/pools/", "/nowhere/", STATIC)
    # Without a token, the application refuses a form before it reads it.
    heads = [LOGIN.replace("/account/login/", path) + f"Cookie: csrftoken={'a' * 32}\r\n" + body for path in paths]
    with ExitStack() as stack:
        for head in heads:
            stack.enter_context(many(lambda head=head: connect(site, head), 12))  # type: ignore[misc]
        assert_serves(site)


def test_clients_that_do_not_read_hold_nobody(site: Site) -> None:
    asked = f"GET {STATIC} HTTP/1.1\r\nHost: 127.0.0.1\r\nAccept-Encoding: identity\r\n\r\n" * 100
    with many(lambda: connect(site, asked, window=4096)):
        assert_serves(site)


def long_page(site: Site) -> str:
    cookie = f"Cookie: sessionid={site.sessions['labeler']}"
    return f"GET /desk/tasks/1/ HTTP/1.1\r\nHost: 127.0.0.1\r\n{cookie}\r\nConnection: close\r\n\r\n"


def test_long_pages_that_are_not_read_hold_nobody(site: Site) -> None:
    """A labeler's own draft makes the page of a task as long as they like. To make these pages takes a while, too."""
    with many(lambda: connect(site, long_page(site), window=4096), 12):
        status, _headers, _body, took = site.ask("/account/login/")
    assert status == 200
    assert took < THREAD_WAITS - 1


def test_long_pages_that_are_not_read_fill_no_memory(site: Site) -> None:
    """Each process drops the longest."""
    with many(lambda: connect(site, long_page(site), window=65536)) as unread:
        for each in unread:
            each.recv(1, socket.MSG_PEEK)
        kept = sum(len(read_all(each)) > LONG_PAGE for each in unread)
        # The threads may each have one more.
        assert 0 < kept <= 2 * ANSWERS_BYTES // LONG_PAGE + 8


def test_downloads_that_are_not_read_hold_nobody(site: Site) -> None:
    with many(lambda: connect(site, download(site), window=4096)):
        assert_serves(site)


def test_a_slow_download_comes_whole(site: Site) -> None:
    """It takes longer than a request may, but it moves."""
    with connect(site, download(site), window=2**19) as slow:
        head, _blank, body = slow.recv(4096).partition(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 200")
        received, began = hashlib.sha256(body), time.monotonic()
        while read := slow.recv(2**20, socket.MSG_WAITALL):
            received.update(read)
            time.sleep(0.05 + TIMEOUT / 16)
        assert received.digest() == hashlib.sha256(b"0123456789abcde\n" * 2**20).digest()
        assert time.monotonic() - began > TIMEOUT


def test_a_download_at_a_steady_low_rate_is_not_cut(site: Site) -> None:
    """A few times the rate that is demanded: what the kernel still holds must not look like a client that is gone."""
    with connect(site, download(site), window=16384) as slow:
        received, began = hashlib.sha256(slow.recv(4096).partition(b"\r\n\r\n")[2]), time.monotonic()
        while time.monotonic() - began < 2 * TIMEOUT:
            received.update(slow.recv(32 * 1024))
            time.sleep(1)
        while read := slow.recv(2**20):
            received.update(read)
        assert received.digest() == hashlib.sha256(b"0123456789abcde\n" * 2**20).digest()


def test_a_download_that_moves_does_not_make_room_for_others(site: Site) -> None:
    """All are of one address, as they are behind a proxy."""
    length = 0
    with (
        connect(site, download(site), window=65536) as moving,
        moving.makefile("rb") as received,
        ExitStack() as others,
    ):
        while part := received.read(2**18):
            length += len(part)
            for _ in range(CONNECTIONS // 20):
                others.enter_context(connect(site, "GET / HTT"))
            # The answer says that those before it are accepted. Many at once could be while this client waits for its
            # turn on a busy machine, and a download of which nobody reads does not move.
            assert site.ask(STATIC)[0] == 200
    assert length > 2**24


def download(site: Site) -> str:
    cookie = f"Cookie: sessionid={site.sessions['manager']}"
    return f"GET /studio/exports/1/rows.jsonl HTTP/1.1\r\nHost: 127.0.0.1\r\n{cookie}\r\nConnection: close\r\n\r\n"


def test_clients_that_do_not_close_hold_nobody(site: Site) -> None:
    asked = "GET /account/login/ HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n"
    with many(lambda: connect(site, asked)):
        assert_serves(site)


def test_more_connections_than_there_is_room_for_shut_nobody_out(site: Site) -> None:
    """Another address has only few of them, and keeps them."""
    with socket.socket() as other:
        other.settimeout(60)
        other.bind(("127.0.0.2", 0))
        other.connect(("127.0.0.1", site.port))
        other.sendall(b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n")
        with many(lambda: connect(site, "GET / HTT"), 4 * CONNECTIONS):
            assert_serves(site)
            other.sendall(b"\r\n")
            assert read_all(other).startswith("HTTP/1.1 302")


def test_a_manager_who_uploads_slowly_is_told(site: Site) -> None:
    """A large file has threads of its own, so others go on; and it may take as long as it needs while it moves."""
    head = LOGIN.replace("/account/login/", "/studio/pools/1/import/").replace(
        "application/x-www-form-urlencoded", "multipart/form-data; boundary=b"
    )
    head += (
        f"Cookie: sessionid={site.sessions['manager']}; csrftoken={'a' * 32}\r\nContent-Length: 1000000\r\n\r\n--b\r\n"
    )
    with many(lambda: connect(site, head), 4) as slow:
        assert_serves(site)
        assert read_all(slow[0]).startswith("HTTP/1.1 408 ")


def test_headers_that_do_not_end_are_refused(site: Site) -> None:
    with connect(site, b"GET / HTTP/1.1\r\nX: " + b"x" * 40_000) as endless:
        assert read_all(endless).startswith("HTTP/1.1 431 ")


def test_a_form_that_breaks_off_is_no_form(site: Site) -> None:
    """What came before the connection broke must not be taken for all of it."""
    with connect(site, LOGIN + "Content-Length: 100\r\n\r\na=b") as broken:
        broken.shutdown(socket.SHUT_WR)
        assert read_all(broken) == ""


def test_requests_in_one_packet_are_answered_in_order(site: Site) -> None:
    asked = [f"GET {STATIC}", "GET /account/login/", f"GET {STATIC}x", "HEAD /account/login/"]
    packet = "".join(f"{line} HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n" for line in asked)
    with connect(site, packet + "GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n") as line:
        answer = read_all(line)
    assert [part[:3] for part in answer.split("HTTP/1.1 ")[1:]] == ["200", "200", "404", "200", "302"]


def test_a_request_that_comes_in_pieces_is_answered(site: Site) -> None:
    request = LOGIN + "Connection: close\r\nContent-Length: 3\r\n\r\na=b"
    with connect(site, "") as line:
        line.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for character in request:
            line.sendall(character.encode())
        assert read_all(line).startswith("HTTP/1.1 403")


def test_a_process_that_is_replaced_loses_no_request(site: Site) -> None:
    """Neither those that it has begun to receive, nor those that come meanwhile."""
    one, *_others = psutil.Process(site.pid).children()
    half = "GET / HTTP/1.1\r\nHost: 127.0.0.1\r\n"
    with many(lambda: connect(site, half), 12) as begun:
        one.terminate()
        assert_serves(site)
        for each in begun:
            each.sendall(b"Connection: close\r\n\r\n")
        assert [read_all(each)[:12] for each in begun] == ["HTTP/1.1 302"] * 12
    wait_until(lambda: not alive(one.pid), seconds=30)
    wait_until(lambda: len(psutil.Process(site.pid).children()) == 2, seconds=30)
    assert_serves(site)
