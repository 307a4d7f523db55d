"""The web's worker for gunicorn: threads for pages, and a few that serve static files alone.

When all threads wait for a database that hangs, or for slow uploads, the style sheets and scripts of the pages that
people have open, and of the page that says so, still come.
"""

import re
import time
from concurrent.futures import Executor, ThreadPoolExecutor
from functools import partial
from selectors import EVENT_READ
from socket import MSG_PEEK
from typing import Any

from django.conf import settings
from gunicorn.workers.gthread import DEFAULT_WORKER_DATA_TIMEOUT, TConn, ThreadWorker

# Static files are read from the disk's cache and need no connection to the database.
STATIC_THREADS = 2
LOOKED_AT = 512


class Worker(ThreadWorker):  # type: ignore[misc]  # gunicorn ships no types
    def init_process(self) -> None:
        self._static_threads = ThreadPoolExecutor(STATIC_THREADS, thread_name_prefix="static")
        super().init_process()

    def load_wsgi(self) -> None:
        super().load_wsgi()
        self._static = re.compile(rb"(?:GET|HEAD) " + re.escape(settings.STATIC_URL.encode()))

    def enqueue_req(self, conn: TConn) -> None:
        """Give the request to the threads that it belongs to. A new connection first has to say what it wants."""
        begin = None if self.cfg.is_ssl else _begin(conn)
        if begin is None and not conn.initialized and not conn.data_ready and not self.cfg.is_ssl:
            conn.timeout = time.monotonic() + DEFAULT_WORKER_DATA_TIMEOUT
            self.pending_conns.append(conn)
            self.poller.register(conn.sock, EVENT_READ, partial(self.on_pending_socket_readable, conn))
            return
        threads: Executor = self._static_threads if begin and self._static.match(begin) else self.tpool
        done = threads.submit(self.handle, conn)
        done.add_done_callback(lambda future: self.method_queue.defer(self.finish_request, conn, future))


def _begin(conn: TConn) -> bytes | None:
    """The first bytes of the next request, which stay to be read; None where none have come."""
    try:
        conn.sock.setblocking(False)
        begin: Any = conn.sock.recv(LOOKED_AT, MSG_PEEK)
        return bytes(begin)
    except (BlockingIOError, InterruptedError):
        return None
    except OSError:
        return b""  # the thread that handles the request meets the same error
