"""The web's worker for gunicorn: its threads only meet requests that have arrived, and leave the sending to the loop.

gunicorn gives a thread to a connection as soon as its first byte comes. A client that sends a request byte by byte, or
does not read the answer, then holds a thread; one that does not close holds the loop. A few such clients stop the site.
Here the loop collects each request, sends what the client does not take at once, and closes, all without waiting:

    reading --complete--> a thread --> writing --> reading (kept alive), or closing until the client closes, too

Bodies too large to collect go to threads of their own, which demand a minimum rate. Static files have threads of their
own as well: when all others wait for a database that hangs, the style sheets and scripts of the pages still come.
"""

import errno
import os
import re
import select
import socket
import time
from collections import Counter
from concurrent.futures import Future, ThreadPoolExecutor
from enum import Enum, auto
from functools import partial
from selectors import EVENT_READ, EVENT_WRITE
from typing import Any, BinaryIO

from django.conf import settings
from gunicorn.errors import ConfigError
from gunicorn.workers.gthread import DEFAULT_WORKER_DATA_TIMEOUT, STOP_KEEPALIVE_LINGER, TConn, ThreadWorker

# Static files are read from the disk's cache and need no connection to the database.
STATIC_THREADS = 2
LARGE_THREADS = 2
HEAD_BYTES = 32 * 1024
# As much of a body as the loop collects: all that a stranger may send, and almost every answer of a labeler.
BODY_BYTES = 64 * 1024
# As much of a page as the loop sends; a longer one keeps its thread until no more than this is left. The page of a task
# with the longest draft is shorter. Of a file, such as an export, the loop sends all.
ANSWER_BYTES = 16 * 1024 * 1024
# As much as the loop keeps of all pages that clients have not taken. Beyond it, the longest is dropped.
ANSWERS_BYTES = 32 * 1024 * 1024
# The loop sends one client no more than this before it looks after the others.
TURN_BYTES = 1024 * 1024
# How much the kernel buffers beyond what it is sending. By default it buffers some megabytes, and takes more only when
# a third of that is sent: a download at a moderate rate then looks as if it had stopped.
UNSENT_BYTES = 64 * 1024
# How long a client may take. A thread waits THREAD_WAITS seconds in all, and one more second for each RATE bytes. The
# loop waits REQUEST_TIMEOUT, and one more second for each RATE bytes of an answer that the client takes.
THREAD_WAITS = 15.0
RATE = 8 * 1024
# A client that is still sending when it is refused would lose the answer if the connection were closed at once.
CLOSING_SECONDS = 2.0
CLOSING_BYTES = 4 * 1024 * 1024
READ = 64 * 1024
LOOK_SECONDS = 0.5
NO_ROOM = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)
GONE = (errno.EAGAIN, errno.ECONNABORTED)

HEADER = re.compile(rb"\r\n(content-length|transfer-encoding|expect)[ \t]*:[ \t]*([^\r\n]*)", re.IGNORECASE)
LENGTH = re.compile(rb"0*(\d{1,18})[ \t]*")


class State(Enum):
    READING = auto()
    WRITING = auto()
    CLOSING = auto()


class Lane(Enum):
    STATIC = auto()
    PAGE = auto()
    LARGE = auto()


class TooSlow(TimeoutError):
    """gunicorn and Django see a client that is gone; gunicorn does not log that."""

    def __init__(self) -> None:
        super().__init__(errno.ECONNRESET, "the client is too slow")


class File:
    """What is still to be sent of a file, in a descriptor of its own: the application closes its own."""

    def __init__(self, descriptor: int, at: int, end: int) -> None:
        self.descriptor, self.at, self.end = os.dup(descriptor), at, end

    def read(self) -> bytes:
        part = os.pread(self.descriptor, min(READ, self.end - self.at), self.at)
        self.at += len(part)
        return part

    def close(self) -> None:
        os.close(self.descriptor)


class Line(socket.socket):
    """A client's connection, which never blocks: what has been read ahead, and what is still to be sent.

    A thread may wait in `sendall`, and, for the rest of a large body, in `recv`; but not for long in all.
    """

    def __init__(self, accepted: socket.socket) -> None:
        super().__init__(fileno=accepted.detach())
        super().setblocking(False)
        if self.family != socket.AF_UNIX:
            self.setsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT, UNSENT_BYTES)
        self.ahead = bytearray()
        self.behind = bytearray()
        self.file: File | None = None
        self.began()

    def began(self) -> None:
        """Prepare for the next request."""
        self.may_wait, self.moved, self.waited = False, 0, 0.0
        self.too_slow = self.answered = False
        self.lane: Lane | None = None  # and `complete_at` so many bytes; known when the head has come
        self.complete_at = 0

    def setblocking(self, flag: bool) -> None:
        """gunicorn's threads want it to block, and its loop does not."""

    def settimeout(self, value: float | None) -> None: ...

    def read_ahead(self) -> int:
        """For the loop: read what has arrived. Returns its length, 0 at the end. Raises BlockingIOError, OSError."""
        read = super().recv(READ)
        self.ahead += read
        return len(read)

    def recv(self, size: int, flags: int = 0) -> bytes:
        """For a thread, which needs more to complete a request: the end before that is an error, not an empty body."""
        while not self.ahead:
            try:
                if not self.read_ahead():
                    raise ConnectionResetError(errno.ECONNRESET, "the client closed before its request was complete")
            except BlockingIOError:
                self._wait(select.POLLIN)
        taken = bytes(self.ahead[:size])
        del self.ahead[:size]
        self.moved += len(taken)
        return taken

    def sendall(self, data: Any, flags: int = 0) -> None:
        while self.file:
            self._send_or_wait()
        self.behind += data
        while len(self.behind) > ANSWER_BYTES:
            self._send_or_wait()

    def _send_or_wait(self) -> None:
        self.answered = True
        if not self.flush():
            self._wait(select.POLLOUT)

    def send(self, data: Any, flags: int = 0) -> int:
        """`100 Continue`, which the client waits for."""
        self.behind += data
        self.flush()
        return len(data)

    def sendfile(self, file: BinaryIO, offset: int = 0, count: int | None = None) -> int:  # type: ignore[override]
        """Let the loop send the file, after the data that was written before it."""
        end = os.fstat(file.fileno()).st_size if count is None else offset + count
        while self.file:
            self._send_or_wait()
        self.file = File(file.fileno(), offset, end)
        return end - offset

    @property
    def unsent(self) -> bool:
        return bool(self.behind or self.file)

    def flush(self) -> int:
        """Send as much as the client takes now, TURN_BYTES or a little more; returns how much.

        Raises OSError where the client is gone, or where the file has become shorter than the answer says.
        """
        sent = 0
        try:
            while sent < TURN_BYTES and (self.behind or self._take_from_file()):
                part = super().send(self.behind)
                del self.behind[:part]
                sent += part
        except BlockingIOError:
            pass
        self.moved += sent
        return sent

    def _take_from_file(self) -> bool:
        if not self.file:
            return False
        self.behind += self.file.read()
        if self.file.at >= self.file.end:
            self.drop_file()
        elif not self.behind:
            raise OSError(errno.EIO, "the file ends too early")
        return bool(self.behind)

    def drop_file(self) -> None:
        if self.file:
            self.file.close()
            self.file = None

    def close(self) -> None:
        self.drop_file()
        super().close()

    def _wait(self, event: int) -> None:
        left = min(THREAD_WAITS, THREAD_WAITS + self.moved / RATE - self.waited)
        if event == select.POLLIN and not self.may_wait:
            left = 0
        began = time.monotonic()
        poller = select.poll()
        poller.register(self.fileno(), event)
        came = left > 0 and poller.poll(left * 1000)
        self.waited += time.monotonic() - began
        if not came:
            self.too_slow = True
            raise TooSlow


class Worker(ThreadWorker):  # type: ignore[misc]  # gunicorn ships no types
    @classmethod
    def check_config(cls, cfg: Any, log: Any) -> None:
        super().check_config(cfg, log)
        if cfg.is_ssl:
            raise ConfigError("This worker speaks no TLS: put a proxy in front that does, and set HTTPS=1.")

    def init_process(self) -> None:
        self._pools = {
            Lane.STATIC: ThreadPoolExecutor(STATIC_THREADS, thread_name_prefix="static"),
            Lane.LARGE: ThreadPoolExecutor(LARGE_THREADS, thread_name_prefix="large"),
        }
        # Connections that no thread has, those that have waited longest first. Each part sent begins a new wait.
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

    def accept(self, listener: Any) -> None:
        try:
            accepted, address = listener.accept()
        except OSError as error:
            if error.errno in NO_ROOM:
                self._make_room()
            elif error.errno not in GONE:
                raise
            return
        conn = TConn(self.cfg, Line(accepted), address, listener.getsockname())
        conn.data_ready = True  # by the time that a thread gets it
        self.nr_conns += 1
        self._wait(conn, State.READING, DEFAULT_WORKER_DATA_TIMEOUT)
        if self.nr_conns >= self.worker_connections:
            self._make_room()

    def finish_request(self, conn: TConn, future: "Future[bool]") -> None:
        """A thread gives the connection back to the loop."""
        try:
            conn.kept = future.result()
        except Exception:  # as gunicorn does: it has logged what is worth it
            self._close(conn)
        else:
            self._go_on(conn)
            self._drop_longest_answers()

    def handle(self, conn: TConn) -> bool:
        """In a thread: answer one request. Returns whether the connection may have another."""
        line: Line = conn.sock
        kept = bool(super().handle(conn))
        if line.too_slow:
            # In place of what the application says of a body that it could not read.
            line.behind[:] = b"" if line.answered else _too_late()
            line.drop_file()
        line.flush()
        return kept and not line.too_slow

    def _keepalive_after(self, conn: TConn, keepalive: bool) -> bool:
        """What the application did not read of a body is dropped as far as it has come; more is not waited for."""
        if not keepalive or conn.sock.too_slow:
            return False
        conn.sock.may_wait = False
        finished = bool(conn.parser.finish_body())
        conn.sock.too_slow = False
        return finished

    def murder_keepalived(self, force: bool = False) -> None:
        """Close the connections whose time is up. gunicorn calls this after each round of the loop."""
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
        """The worker stops: a connection that only might bring another request is not kept for long."""
        for conn, state in self._waiting.items():
            if state is State.READING and not conn.sock.ahead:
                conn.timeout = min(conn.timeout, deadline)

    def _wait(self, conn: TConn, state: State, seconds: float) -> None:
        """Let the loop look after the connection."""
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

    def _ready(self, conn: TConn, _socket: Any) -> None:
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
                    self._go_on(conn)
            elif state is State.CLOSING:
                conn.dropped += conn.sock.read_ahead() or CLOSING_BYTES
                conn.sock.ahead.clear()
                if conn.dropped >= CLOSING_BYTES:
                    self._close(conn)
        except BlockingIOError:
            pass
        except OSError:
            self._close(conn)

    def _go_on(self, conn: TConn) -> None:
        """Send the rest of the answer; then take the next request, or close."""
        try:
            if conn.sock.unsent:
                self._wait(conn, State.WRITING, settings.REQUEST_TIMEOUT)
            elif conn.kept:
                # What was read beyond the request belongs to the next one.
                conn.sock.began()
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
        line: Line = conn.sock
        if line.lane is None:
            end = line.ahead.find(b"\r\n\r\n", 0, HEAD_BYTES)
            if end < 0:
                if len(line.ahead) >= HEAD_BYTES:
                    self._refuse(conn, _answer(431, "Request Header Fields Too Large", "The headers are too large."))
                return
            line.lane, line.complete_at = self._read_head(line, end)
            # The other threads have all of the request: should gunicorn find that it is longer, they do not wait.
            line.may_wait = line.lane is Lane.LARGE
        if line.lane is Lane.LARGE or len(line.ahead) >= line.complete_at:
            self._leave(conn)
            done = self._pools[line.lane].submit(self.handle, conn)
            done.add_done_callback(lambda future: self.method_queue.defer(self.finish_request, conn, future))

    def _read_head(self, line: Line, end: int) -> tuple[Lane, int]:
        """Which threads the request is for, and its length in bytes. gunicorn refuses headers that make no sense."""
        head = bytes(line.ahead[:end])
        headers = [(name.lower(), value) for name, value in HEADER.findall(head)]
        sizes = [LENGTH.fullmatch(value) for name, value in headers if name == b"content-length"]
        length = int(sizes[0][1]) if len(sizes) == 1 and sizes[0] else 0
        complete_at = end + 4 + length
        if length > BODY_BYTES or any(name == b"transfer-encoding" for name, _value in headers):
            return Lane.LARGE, complete_at
        if len(line.ahead) < complete_at and any(name == b"expect" for name, _value in headers):
            # gunicorn says so once more, which is allowed.
            line.send(b"HTTP/1.1 100 Continue\r\n\r\n")
        return Lane.STATIC if self._static.match(head) else Lane.PAGE, complete_at

    def _refuse(self, conn: TConn, answer: bytes) -> None:
        conn.kept = False
        conn.sock.behind += answer
        try:
            conn.sock.flush()
        except OSError:
            self._close(conn)
        else:
            self._go_on(conn)

    def _make_room(self) -> None:
        """Close the longest waiting connection of the address that has most of them. Threads keep theirs."""
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
