"""Log without people's texts."""

import copy
import logging
import re
import traceback
from collections.abc import Iterator, Mapping

import django.db
import psycopg2

# These quote values: PostgreSQL quotes rows, int() its argument.
QUOTING = (django.db.Error, psycopg2.Error, ValueError, LookupError)
# Django logs the addresses of failed pages. That of a password link opens an account.
LINK = re.compile(r"(/password/reset/key/)[^\s?]+")
LEFT_OUT = "the message is omitted, because it may quote people's texts"


class Formatter(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        shown = copy.copy(record)
        shown.exc_text = None
        error = record.exc_info[1] if record.exc_info else None
        words = _without_values(record, list(_chain(error)) if error else [])
        shown.msg, shown.args = LINK.sub(r"\1...", words), None
        return super().format(shown)

    def formatException(self, ei: tuple[object, BaseException | None, object]) -> str:  # noqa: N802  # the parent's name
        return "".join(_lines(ei[1], set())).rstrip("\n") if ei[1] else ""


def in_words(error: BaseException) -> str:
    if not isinstance(error, QUOTING):
        return str(error)
    cause = error if isinstance(error, psycopg2.Error) else error.__cause__
    if not isinstance(cause, psycopg2.Error):
        return str(error) if isinstance(error, django.db.Error) and not cause else LEFT_OUT
    if cause.pgcode is None and isinstance(cause, psycopg2.OperationalError):
        # From the client library, without values.
        return str(cause)
    facts = [("SQLSTATE", cause.pgcode), ("table", cause.diag.table_name), ("constraint", cause.diag.constraint_name)]
    return "; ".join([*(f"{name} {value}" for name, value in facts if value), LEFT_OUT])


def _without_values(record: logging.LogRecord, errors: list[BaseException]) -> str:
    kept = copy.copy(record)
    if isinstance(kept.msg, BaseException):
        kept.msg = in_words(kept.msg).replace("%", "%%") if kept.args else in_words(kept.msg)
    if isinstance(kept.args, Mapping):
        kept.args = {key: _argument(value) for key, value in kept.args.items()}
    elif kept.args:
        kept.args = tuple(_argument(value) for value in kept.args)
    words = kept.getMessage()
    for error in errors:
        if isinstance(error, QUOTING):
            for quoted in (repr(error), str(error)):
                words = words.replace(quoted, f"{type(error).__name__}: {in_words(error)}") if quoted else words
    return words


def _argument(value: object) -> object:
    return in_words(value) if isinstance(value, BaseException) else value


def _before(error: BaseException) -> BaseException | None:
    return error.__cause__ or (None if error.__suppress_context__ else error.__context__)


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        yield error
        error = _before(error)


def _lines(error: BaseException, seen: set[int]) -> Iterator[str]:
    seen.add(id(error))
    before = _before(error)
    if before is not None and id(before) not in seen:
        yield from _lines(before, seen)
        yield "\nThis led to:\n\n"
    yield "Traceback (most recent call last):\n"
    yield from traceback.format_tb(error.__traceback__)
    yield f"{type(error).__module__}.{type(error).__qualname__}: {in_words(error)}\n"
