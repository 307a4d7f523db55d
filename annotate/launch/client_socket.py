"""A client's connection to the web worker: a socket that never blocks, with buffers for both directions."""

import errno
import os
import select
import socket
import time
from enum import Enum, auto
from typing import TYPE_CHECKING, BinaryIO

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer

# The longest answer in bytes that a thread leaves to the loop; longer than any page. Files have no limit.
ANSWER_BYTES = 16 * 1024 * 1024
TURN_BYTES = 1024 * 1024
# By default the kernel buffers megabytes, and slow downloads seem to have stopped.
UNSENT_BYTES = 64 * 1024
# Seconds that a thread waits for its client in all, plus one for each RATE bytes transferred.
THREAD_WAITS = 15.0
RATE = 8 * 1024
READ = 64 * 1024


class Lane(Enum):
    STATIC = auto()
    PAGE = auto()
    LARGE = auto()


class TooSlow(TimeoutError):
    """gunicorn and Django treat it as a disconnected client and do not log it."""

    def __init__(self) -> None:
        super().__init__(errno.ECONNRESET, "the client is too slow")


class File:
    """The rest of a file. Has its own descriptor, because the application closes its own."""

    def __init__(self, descriptor: int, at: int, end: int) -> None:
        self.descriptor, self.at, self.end = os.dup(descriptor), at, end

    def read(self) -> bytes:
        part = os.pread(self.descriptor, min(READ, self.end - self.at), self.at)
        self.at += len(part)
        return part

    def close(self) -> None:
        os.close(self.descriptor)


class ClientSocket(socket.socket):
    """`ahead`: bytes read but not parsed; `behind` and `file`: what remains to be sent.

    A thread may wait in `sendall` and, for the rest of a large body, in `recv`, up to the limit of `_wait`.
    """

    def __init__(self, accepted: socket.socket) -> None:
        super().__init__(fileno=accepted.detach())
        super().setblocking(False)
        if self.family != socket.AF_UNIX:
            self.setsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT, UNSENT_BYTES)
        self.ahead = bytearray()
        self.behind = bytearray()
        self.file: File | None = None
        self.start_request()

    def start_request(self) -> None:
        self.may_wait, self.moved, self.waited = False, 0, 0.0
        self.too_slow = self.answered = False
        # The length of the request in bytes, set with the lane when the head has arrived.
        self.lane: Lane | None = None
        self.complete_at = 0

    def setblocking(self, flag: bool) -> None:
        """gunicorn's threads would make the socket block."""

    def settimeout(self, value: float | None) -> None: ...

    def read_ahead(self) -> int:
        """Returns the length, 0 at the end. Raises BlockingIOError, OSError."""
        read = super().recv(READ)
        self.ahead += read
        return len(read)

    def recv(self, size: int, flags: int = 0) -> bytes:
        """Read for a thread that needs more, so an early end is an error, not an empty body."""
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

    def sendall(self, data: "ReadableBuffer", flags: int = 0) -> None:
        while self.file:
            self._send_or_wait()
        self.behind += data
        while len(self.behind) > ANSWER_BYTES:
            self._send_or_wait()

    def _send_or_wait(self) -> None:
        self.answered = True
        if not self.flush():
            self._wait(select.POLLOUT)

    def send(self, data: "ReadableBuffer", flags: int = 0) -> int:
        """Send `100 Continue`, for which the client waits."""
        self.behind += data
        self.flush()
        return memoryview(data).nbytes

    def sendfile(self, file: BinaryIO, offset: int = 0, count: int | None = None) -> int:  # type: ignore[override]
        end = os.fstat(file.fileno()).st_size if count is None else offset + count
        while self.file:
            self._send_or_wait()
        self.file = File(file.fileno(), offset, end)
        return end - offset

    @property
    def unsent(self) -> bool:
        return bool(self.behind or self.file)

    def flush(self) -> int:
        """Send up to about TURN_BYTES now. Returns the number of bytes.

        Raises OSError if the client is gone, or if the file is shorter than the answer says.
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
        arrived = left > 0 and poller.poll(left * 1000)
        self.waited += time.monotonic() - began
        if not arrived:
            self.too_slow = True
            raise TooSlow
