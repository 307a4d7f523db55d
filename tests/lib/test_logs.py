"""Log lines hold no text of the people who work on the platform."""

import logging
import subprocess
import sys

import pytest
from django.conf import settings
from django.db import DatabaseError, OperationalError, transaction
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from annotate.accounts import links
from annotate.accounts.models import Role
from annotate.lib.logs import Formatter
from tests import factories as make
from tests.models_worker.workers import database_url

# Tracebacks quote the lines of the source, so no line that raises may have the word in it.
CANARY = "Dear diary, my canary sings"
ADDRESS = "canary@example.org"


def line(message, *arguments, error=None):
    record = logging.LogRecord("a.logger", logging.ERROR, __file__, 1, message, arguments, None)
    if error is not None:
        record.exc_info = (type(error), error, error.__traceback__)
    return Formatter("{levelname} {name} {message}", style="{").format(record)


def raised(act):
    with pytest.raises(Exception) as caught, transaction.atomic():  # noqa: PT011
        act()
    return caught.value


@pytest.fixture
def taken(db):
    make.user(username="lea", email=ADDRESS)
    return lambda: make.user(username="leo", email=ADDRESS)


def test_an_error_of_the_database_is_named_without_its_values(taken):
    error = raised(taken)
    assert "canary" in str(error)
    shown = line("It broke off", error=error)
    assert "canary" not in shown
    assert "ERROR a.logger It broke off" in shown
    assert "SQLSTATE 23505; table accounts_user; constraint user_email_once" in shown
    assert "factories.py" in shown
    assert "psycopg2.errors.UniqueViolation" in shown


@pytest.mark.parametrize("words", ["It broke off: %s", "It broke off: %r", "%s"])
def test_an_error_in_the_message_is_shortened_too(taken, words):
    error = raised(taken)
    assert "canary" not in line(words, error)
    assert "canary" not in line(words % error, error=error)
    assert "canary" not in line(error)


def test_an_error_that_quotes_a_word_is_shortened():
    for act in (lambda: int(CANARY), lambda: {}[CANARY], lambda: CANARY.encode("ascii").index(b"\xff")):
        with pytest.raises((ValueError, LookupError)) as caught:
            act()
        shown = line("It broke off", error=caught.value)
        assert "canary" not in shown
        assert "test_logs.py" in shown


def test_an_error_inside_another_is_shortened(taken):
    def wrapped():
        try:
            taken()
        except DatabaseError as error:
            raise RuntimeError("the action failed") from error

    shown = line("It broke off", error=raised(wrapped))
    assert "RuntimeError: the action failed" in shown
    assert "canary" not in shown


def test_what_an_operator_has_to_know_is_kept(db):
    shown = line("It broke off: %s", OSError(28, "No space left on device"), error=OSError(13, "Permission denied"))
    assert "No space left on device" in shown
    assert "Permission denied" in shown
    assert line("No argument, 50%") == "ERROR a.logger No argument, 50%"


def test_a_page_that_fails_leaves_no_text_in_the_log(monkeypatch, db):
    """Through the handlers and formatters that the settings name."""
    (handler,) = [found for found in logging.getLogger().handlers if isinstance(found.formatter, Formatter)]
    client = Client(raise_request_exception=False)
    client.force_login(make.user(Role.MANAGER))
    make.pool(CANARY)

    def broken(**_fields):
        with transaction.atomic():
            make.pool(CANARY)

    monkeypatch.setattr("annotate.studio.views.pools.actions.create_pool", broken)
    lines = []
    monkeypatch.setattr(handler, "emit", lambda record: lines.append(handler.format(record)))
    assert client.post(reverse("studio:pool-new"), {"name": "other", "description": ""}).status_code == 500
    said = "\n".join(lines)
    assert "SQLSTATE 23505" in said
    assert "canary" not in said


def test_the_address_of_a_link_into_an_account_is_in_no_log(monkeypatch, db):
    """The database may be down for a moment, and the link goes on working afterwards."""
    (handler,) = [found for found in logging.getLogger().handlers if isinstance(found.formatter, Formatter)]
    manager = make.user(Role.MANAGER)
    link = links.make(user=make.user(), site="http://testserver/", by=manager, now=timezone.now())

    def down(_user):
        raise OperationalError

    lines = []
    monkeypatch.setattr(handler, "emit", lambda record: lines.append(handler.format(record)))
    with monkeypatch.context() as broken:
        broken.setattr(links, "_open_links", down)
        assert Client(raise_request_exception=False).get(link).status_code >= 500
    said = "\n".join(lines)
    assert "/account/password/reset/key/..." in said
    assert link.rstrip("/").rpartition("/")[2] not in said
    assert "token_fail" not in Client().get(link, follow=True).context


WORKER = """
import sys, django
django.setup()
from celery import current_app
from annotate.celery import app
from django.db import connection

@app.task(name="fails")
def fails(text):
    connection.cursor().execute("SELECT %s::int", [text])

app.conf.worker_pool = "solo"
app.loader.import_default_modules()
from celery.app.trace import build_tracer
app.log.setup(loglevel="INFO")
fails.backend
tracer = build_tracer("fails", fails, app=app)
arguments = [sys.argv[1]]
tracer("an-id", arguments, {}, {"id": "an-id", "argsrepr": repr(arguments), "hostname": "here", "is_eager": False})
"""


@pytest.mark.django_db(transaction=True)
def test_a_task_that_fails_leaves_no_text_in_the_workers_log(monkeypatch):
    monkeypatch.setenv("DATABASE_URL", database_url())
    done = subprocess.run(
        [sys.executable, "-c", WORKER, CANARY], cwd=settings.BASE_DIR, capture_output=True, text=True, check=False
    )
    said = done.stdout + done.stderr
    assert "Task fails[an-id] raised unexpected" in said, said
    assert "SQLSTATE 22P02" in said
    assert "canary" not in said
