"""gunicorn's worker for the web, which slow clients cannot stop.

gunicorn gives a thread to a connection with its first byte, so slow clients hold threads. Here the loop collects each
request, sends the rest of the answer, and closes, all without waiting:

    reading --complete--> a thread --> writing --> reading (kept alive), or closing until the client closes

Bodies too large to collect have threads of their own with a minimum rate. So have static files, because all other
threads may wait for a database that hangs.
"""

import errno
import re
import socket
import time
from collections import Counter
from concurrent.futures import Future, ThreadPoolExecutor
from enum import Enum, auto
from functools import partial
from logging import Logger
from selectors import EVENT_READ, EVENT_WRITE

from django.conf import settings
from gunicorn.config import Config
from gunicorn.errors import ConfigError
from gunicorn.workers.gthread import DEFAULT_WORKER_DATA_TIMEOUT, STOP_KEEPALIVE_LINGER, TConn, ThreadWorker

from annotate.launch.client_socket import RATE, ClientSocket, Lane

STATIC_THREADS = 2
LARGE_THREADS = 2
HEAD_BYTES = 32 * 1024
# All that strangers may send, and almost every answer of a labeler.
BODY_BYTES = 64 * 1024
# The limit of all unsent answers together. Beyond it the longest is dropped.
ANSWERS_BYTES = 32 * 1024 * 1024
# A client that is still sending would lose a refusal if the connection closed immediately.
CLOSING_SECONDS = 2.0
CLOSING_BYTES = 4 * 1024 * 1024
LOOK_SECONDS = 0.5
NO_ROOM = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)
GONE = (errno.EAGAIN, errno.ECONNABORTED)

HEADER = re.compile(rb"\r\n(content-length|transfer-encoding|expect)[ \t]*:[ \t]*([^\r\n]*)", re.IGNORECASE)
LENGTH = re.compile(rb"0*(\d{1,18})[ \t]*")


class State(Enum):
    READING = auto()
    WRITING = auto()
    CLOSING = auto()


class Worker(ThreadWorker):  # type: ignore[misc]  # gunicorn ships no types
    @classmethod
    def check_config(cls, cfg: Config, log: Logger) -> None:
        super().check_config(cfg, log)
        if cfg.is_ssl:
            raise ConfigError("This worker speaks no TLS: put a proxy in front that does, and set HTTPS=1.")

    def init_process(self) -> None:
        self._pools = {
            Lane.STATIC: ThreadPoolExecutor(STATIC_THREADS, thread_name_prefix="static"),
            Lane.LARGE: ThreadPoolExecutor(LARGE_THREADS, thread_name_prefix="large"),
        }
        # The longest waiting first. Each part sent begins a new wait.
        self._waiting: dict[TConn, State] = {}
        self._looked_at = 0.0
        super().init_process()

    def get_thread_pool(self) -> ThreadPoolExecutor:
        pool: ThreadPoolExecutor = super().get_thread_pool()
        self._pools[Lane.PAGE] = pool
        return pool

    def load_wsgi(self) -> None:
        super().load_wsgi()
        self._static = re.compile(rb"(?:GET|HEAD) " + re.escape(settings.STATIC_URL.encode()))

    def accept(self, listener: socket.socket) -> None:
        try:
            accepted, address = listener.accept()
        except OSError as error:
            if error.errno in NO_ROOM:
                self._make_room()
            elif error.errno not in GONE:
                raise
            return
        conn = TConn(self.cfg, ClientSocket(accepted), address, listener.getsockname())
        conn.data_ready = True
        self.nr_conns += 1
        self._wait(conn, State.READING, DEFAULT_WORKER_DATA_TIMEOUT)
        if self.nr_conns >= self.worker_connections:
            self._make_room()

    def finish_request(self, conn: TConn, future: "Future[bool]") -> None:
        try:
            conn.kept = future.result()
        except Exception:  # gunicorn has logged it
            self._close(conn)
        else:
            self._continue(conn)
            self._drop_longest_answers()

    def handle(self, conn: TConn) -> bool:
        client: ClientSocket = conn.sock
        kept = bool(super().handle(conn))
        if client.too_slow:
            # Replaces the application's answer to an incomplete body.
            client.behind[:] = b"" if client.answered else _too_late()
            client.drop_file()
        client.flush()
        return kept and not client.too_slow

    def _keepalive_after(self, conn: TConn, keepalive: bool) -> bool:
        """Drop what has arrived of an unread body, without waiting."""
        if not keepalive or conn.sock.too_slow:
            return False
        conn.sock.may_wait = False
        finished = bool(conn.parser.finish_body())
        conn.sock.too_slow = False
        return finished

    def murder_keepalived(self, force: bool = False) -> None:
        now = time.monotonic()
        if now < self._looked_at + LOOK_SECONDS and not force:
            return
        self._looked_at = now
        for conn, state in list(self._waiting.items()):
            if force:
                self._close(conn)
            elif conn.timeout <= now:
                if state is State.READING and conn.sock.ahead:
                    self._refuse(conn, _too_late())
                else:
                    self._close(conn)

    def _cap_keepalive(self, deadline: float) -> None:
        """Close idle connections soon, because the worker stops."""
        for conn, state in self._waiting.items():
            if state is State.READING and not conn.sock.ahead:
                conn.timeout = min(conn.timeout, deadline)

    def _wait(self, conn: TConn, state: State, seconds: float) -> None:
        conn.timeout = time.monotonic() + seconds
        event = EVENT_WRITE if state is State.WRITING else EVENT_READ
        if conn in self._waiting:
            del self._waiting[conn]
            self.poller.modify(conn.sock, event, partial(self._ready, conn))
        else:
            self.poller.register(conn.sock, event, partial(self._ready, conn))
        self._waiting[conn] = state

    def _leave(self, conn: TConn) -> None:
        if self._waiting.pop(conn, None):
            self.poller.unregister(conn.sock)

    def _ready(self, conn: TConn, _socket: socket.socket) -> None:
        state = self._waiting.get(conn)
        try:
            if state is State.READING:
                began = not conn.sock.ahead
                if not conn.sock.read_ahead():
                    self._close(conn)
                else:
                    if began:
                        conn.timeout = time.monotonic() + settings.REQUEST_TIMEOUT
                    self._submit_if_complete(conn)
            elif state is State.WRITING:
                sent = conn.sock.flush()
                if sent:
                    self._waiting[conn] = self._waiting.pop(conn)
                conn.timeout = min(conn.timeout + sent / RATE, time.monotonic() + settings.REQUEST_TIMEOUT)
                if not conn.sock.unsent:
                    self._continue(conn)
            elif state is State.CLOSING:
                conn.dropped += conn.sock.read_ahead() or CLOSING_BYTES
                conn.sock.ahead.clear()
                if conn.dropped >= CLOSING_BYTES:
                    self._close(conn)
        except BlockingIOError:
            pass
        except OSError:
            self._close(conn)

    def _continue(self, conn: TConn) -> None:
        try:
            if conn.sock.unsent:
                self._wait(conn, State.WRITING, settings.REQUEST_TIMEOUT)
            elif conn.kept:
                # Bytes beyond the request belong to the next one.
                conn.sock.start_request()
                conn.sock.ahead[:0] = conn.parser.unreader.take_buffered()
                idle = self.cfg.keepalive if self.alive else min(self.cfg.keepalive, STOP_KEEPALIVE_LINGER)
                self._wait(conn, State.READING, settings.REQUEST_TIMEOUT if conn.sock.ahead else idle)
                self._submit_if_complete(conn)
            else:
                conn.dropped = 0
                conn.sock.ahead.clear()
                conn.sock.shutdown(socket.SHUT_WR)
                self._wait(conn, State.CLOSING, CLOSING_SECONDS)
        except (OSError, ValueError):
            self._close(conn)

    def _submit_if_complete(self, conn: TConn) -> None:
        client: ClientSocket = conn.sock
        if client.lane is None:
            end = client.ahead.find(b"\r\n\r\n", 0, HEAD_BYTES)
            if end < 0:
                if len(client.ahead) >= HEAD_BYTES:
                    self._refuse(conn, _answer(431, "Request Header Fields Too Large", "The headers are too large."))
                return
            client.lane, client.complete_at = self._read_head(client, end)
            # Other threads must not wait, even if gunicorn expects more.
            client.may_wait = client.lane is Lane.LARGE
        if client.lane is Lane.LARGE or len(client.ahead) >= client.complete_at:
            self._leave(conn)
            done = self._pools[client.lane].submit(self.handle, conn)
            done.add_done_callback(lambda future: self.method_queue.defer(self.finish_request, conn, future))

    def _read_head(self, client: ClientSocket, end: int) -> tuple[Lane, int]:
        """Return the lane and the length in bytes. gunicorn refuses invalid headers later."""
        head = bytes(client.ahead[:end])
        headers = [(name.lower(), value) for name, value in HEADER.findall(head)]
        sizes = [LENGTH.fullmatch(value) for name, value in headers if name == b"content-length"]
        length = int(sizes[0][1]) if len(sizes) == 1 and sizes[0] else 0
        complete_at = end + 4 + length
        if length > BODY_BYTES or any(name == b"transfer-encoding" for name, _value in headers):
            return Lane.LARGE, complete_at
        if len(client.ahead) < complete_at and any(name == b"expect" for name, _value in headers):
            client.send(b"HTTP/1.1 100 Continue\r\n\r\n")
        return Lane.STATIC if self._static.match(head) else Lane.PAGE, complete_at

    def _refuse(self, conn: TConn, answer: bytes) -> None:
        conn.kept = False
        conn.sock.behind += answer
        try:
            conn.sock.flush()
        except OSError:
            self._close(conn)
        else:
            self._continue(conn)

    def _make_room(self) -> None:
        """Close the longest waiting connection of the address that has the most."""
        counts = Counter(conn.client[0] if conn.client else "" for conn in self._waiting)
        if counts:
            most = counts.most_common(1)[0][0]
            self._close(next(conn for conn in self._waiting if (conn.client[0] if conn.client else "") == most))

    def _drop_longest_answers(self) -> None:
        while sum(len(conn.sock.behind) for conn in self._waiting) > ANSWERS_BYTES:
            self._close(max(self._waiting, key=lambda conn: len(conn.sock.behind)))

    def _close(self, conn: TConn) -> None:
        self._leave(conn)
        self.nr_conns -= 1
        conn.close()


def _too_late() -> bytes:
    return _answer(408, "Request Timeout", "The request took too long to arrive. Send it again.")


def _answer(status: int, reason: str, words: str) -> bytes:
    body = f"{words}\n"
    return (
        f"HTTP/1.1 {status} {reason}\r\nConnection: close\r\nContent-Type: text/plain; charset=utf-8\r\n"
        f"Cache-Control: no-store\r\nContent-Length: {len(body)}\r\n\r\n{body}"
    ).encode()
