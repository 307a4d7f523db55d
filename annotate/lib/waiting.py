"""How long the web waits for the database. Workers and commands wait as long as their work takes."""

import select
import time
from typing import Any

import psycopg2
from django.conf import settings
from django.db import connections
from psycopg2 import extensions

# The server ends a statement by itself, and says so; one that does not even say so is given up this much later.
GRACE = 2.0
# After it has been silent once, until it answers anything again.
WHILE_SILENT = 1.0
CONNECTED = (extensions.STATUS_READY, extensions.STATUS_BEGIN, extensions.STATUS_PREPARED)


def bound_waiting() -> None:
    """Limit every wait of this process, from its next connection on.

    The server enforces the limits of statements and locks, told when a connection is made: no statement more per
    request. Behind a pooler (PREPARED_STATEMENTS=0) it is not told, as poolers refuse such options. A server that hangs
    enforces nothing, so the client looks at the clock itself.
    """
    if settings.PREPARED_STATEMENTS:
        limits = {"statement_timeout": settings.DB_STATEMENT_TIMEOUT, "lock_timeout": settings.DB_LOCK_TIMEOUT}
        told = " ".join(f"-c {name}={seconds * 1000}" for name, seconds in limits.items() if seconds)
        options = connections.databases["default"].setdefault("OPTIONS", {})
        # What DATABASE_URL says comes last, and wins.
        options["options"] = f"{told} {options.get('options', '')}".strip()
    extensions.set_wait_callback(
        Waiting(
            connecting=settings.DB_CONNECT_TIMEOUT,
            answering=settings.DB_STATEMENT_TIMEOUT and settings.DB_STATEMENT_TIMEOUT + GRACE,
        )
    )


class Waiting:
    """psycopg2 calls it whenever there is nothing to do but wait for the server. Limits in seconds, 0 for none."""

    def __init__(self, *, connecting: float, answering: float) -> None:
        self._connecting, self._answering = connecting, answering
        self._silent = False

    def __call__(self, connection: Any) -> None:
        """Raises psycopg2.OperationalError when the time is up; psycopg2 then closes the connection."""
        limit = self._answering if connection.status in CONNECTED else self._connecting
        if limit and self._silent:
            # One request finds out; the others that come meanwhile do not wait as long each.
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
