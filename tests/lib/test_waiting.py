"""What PostgreSQL is told of the web's limits. How they hold: tests/launch/test_web_limits.py."""

import socket
from typing import Any

import psycopg2
import pytest
from django.db import connections
from psycopg2 import extensions

from annotate.lib.waiting import GRACE, WHILE_SILENT, Waiting, bound_waiting


@pytest.fixture
def options(monkeypatch: pytest.MonkeyPatch, settings: Any) -> dict[str, Any]:
    """The options of the next connection; limits of 15 and 5 seconds, and no callback is set for the other tests."""
    settings.DB_STATEMENT_TIMEOUT, settings.DB_LOCK_TIMEOUT, settings.PREPARED_STATEMENTS = 15, 5, True
    monkeypatch.setattr(extensions, "set_wait_callback", lambda _callback: None)
    found: dict[str, Any] = {}
    monkeypatch.setitem(connections.databases["default"], "OPTIONS", found)
    return found


def test_the_limits_are_told_when_a_connection_is_made(options: dict[str, Any]) -> None:
    bound_waiting()
    assert options == {"options": "-c statement_timeout=15000 -c lock_timeout=5000"}


def test_what_the_address_of_the_database_says_wins(options: dict[str, Any]) -> None:
    options["options"] = "-c lock_timeout=1000"
    bound_waiting()
    assert options["options"].endswith(" -c lock_timeout=1000")


def test_a_pooler_is_told_nothing_and_zero_is_no_limit(options: dict[str, Any], settings: Any) -> None:
    settings.PREPARED_STATEMENTS = False
    bound_waiting()
    assert options == {}
    settings.PREPARED_STATEMENTS, settings.DB_STATEMENT_TIMEOUT = True, 0
    bound_waiting()
    assert options == {"options": "-c lock_timeout=5000"}


class Server:
    """A connection to a server that never answers, or has."""

    status = extensions.STATUS_READY

    def __init__(self, end: Any) -> None:
        self.fileno, self.answers = end.fileno, False

    def poll(self) -> int:
        return extensions.POLL_OK if self.answers else extensions.POLL_READ


def test_after_a_silence_others_wait_only_a_moment_until_there_is_an_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    waited: list[float] = []

    class Poller:
        def register(self, *_given: int) -> None: ...

        def poll(self, milliseconds: float) -> list[int]:
            waited.append(round(milliseconds / 1000))
            return []

    monkeypatch.setattr("annotate.lib.waiting.select.poll", Poller)
    one, other = socket.socketpair()
    with one, other:
        server, wait = Server(one), Waiting(connecting=5, answering=15 + GRACE)
        for _time in range(2):
            with pytest.raises(psycopg2.OperationalError, match="has not answered"):
                wait(server)
        server.answers = True
        wait(server)
        server.answers = False
        with pytest.raises(psycopg2.OperationalError):
            wait(server)
    assert waited == [15 + GRACE, WHILE_SILENT, 15 + GRACE]
