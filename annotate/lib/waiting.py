import select
import time

import psycopg2
from django.conf import settings
from django.db import connections
from psycopg2 import extensions

# Seconds that the client waits longer than the server.
GRACE = 2.0
# Seconds per wait after a timeout, until the server answers.
WHILE_SILENT = 1.0
CONNECTED = (extensions.STATUS_READY, extensions.STATUS_BEGIN, extensions.STATUS_PREPARED)


def bound_waiting() -> None:
    """Limit the waits of a web process. The client limits too, because poolers refuse options and servers hang."""
    if settings.PREPARED_STATEMENTS:
        limits = {"statement_timeout": settings.DB_STATEMENT_TIMEOUT, "lock_timeout": settings.DB_LOCK_TIMEOUT}
        limit_options = " ".join(f"-c {name}={seconds * 1000}" for name, seconds in limits.items() if seconds)
        options = connections.databases["default"].setdefault("OPTIONS", {})
        # The options of DATABASE_URL win.
        options["options"] = f"{limit_options} {options.get('options', '')}".strip()
    extensions.set_wait_callback(
        Waiting(
            connecting=settings.DB_CONNECT_TIMEOUT,
            answering=settings.DB_STATEMENT_TIMEOUT and settings.DB_STATEMENT_TIMEOUT + GRACE,
        )
    )


class Waiting:
    """psycopg2's callback. Limits in seconds, 0 for none."""

    def __init__(self, *, connecting: float, answering: float) -> None:
        self._connecting, self._answering = connecting, answering
        self._silent = False

    def __call__(self, connection: extensions.connection) -> None:
        """Raises OperationalError after the limit. psycopg2 then closes the connection."""
        limit = self._answering if connection.status in CONNECTED else self._connecting
        if limit and self._silent:
            limit = min(limit, WHILE_SILENT)
        deadline = time.monotonic() + limit if limit else None
        while (state := connection.poll()) != extensions.POLL_OK:
            poller = select.poll()
            poller.register(connection.fileno(), select.POLLIN if state == extensions.POLL_READ else select.POLLOUT)
            left = None if deadline is None else max(0.0, deadline - time.monotonic()) * 1000
            if not poller.poll(left):
                self._silent = True
                raise psycopg2.OperationalError(f"The database has not answered for {limit:g} seconds.")
        self._silent = False
