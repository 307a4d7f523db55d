"""Statements that PostgreSQL parses and plans once for each connection, not each time.

The statements of a claim and a submit are wide and find little: planned anew, they cost the database several times
what running them does. psycopg2 prepares nothing by itself, so this sends PREPARE and EXECUTE. What is prepared lives
as long as its connection, and PostgreSQL plans it again when a table or its statistics change.
"""

import re
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any, Generic, TypeVar
from weakref import WeakKeyDictionary

from django.conf import settings
from django.db import connection
from django.db.models import Model

M = TypeVar("M", bound=Model)

# What each connection has prepared: the number that a statement goes by.
_prepared: WeakKeyDictionary[Any, dict[str, int]] = WeakKeyDictionary()

PLACEHOLDER = re.compile(r"%(?:\((\w+)\)s|(s)|(%))")


Values = Mapping[str, Any] | Sequence[Any]


def execute(cursor: Any, statement: str, values: Values, *, first: str = "") -> None:
    """As cursor.execute, for a statement that comes again and again in these very words.

    `first` is another, with values of the same names: both go to the database together, one after another. The second
    sees what the first waited for; the rows are the second's.

    PostgreSQL takes a value's type from its place in the statement: where that leaves it open, cast it there.
    """
    if settings.PREPARED_STATEMENTS:
        sent = [_executed(each, values) for each in (first, statement) if each]
        cursor.execute("; ".join(text for text, _given in sent), [value for _text, given in sent for value in given])
        return
    for each in (first, statement):
        if each:
            cursor.execute(each, values)


def _executed(statement: str, values: Values) -> tuple[str, Sequence[Any]]:
    """EXECUTE for the statement, which is prepared if it was not, with the values in their order."""
    numbered, names = _numbered(statement)
    known = _prepared.setdefault(connection.connection, {})
    number = known.get(statement)
    if number is None:
        number = len(known) + 1
        # Past Django's cursor: for whoever counts statements it is none of its own.
        with connection.wrap_database_errors, connection.connection.cursor() as plain:
            plain.execute(f"PREPARE annotate_{number} AS {numbered}")
        known[statement] = number
    given = [values[name] for name in names] if isinstance(values, Mapping) else values
    places = f"({', '.join(['%s'] * len(given))})" if given else ""
    return f"EXECUTE annotate_{number}{places} /* {in_short(statement)} */", given


class Shape(Generic[M]):
    """A model's columns in a statement of our own, and its objects made of them: by hand an object costs a tenth of
    what a raw queryset takes. `columns` names them, of the table or what the statement calls it."""

    def __init__(self, model: type[M], table: str) -> None:
        # What the database makes for itself, such as a search index, nobody reads here.
        fields = [field for field in model._meta.concrete_fields if not field.generated]
        self.columns = ", ".join(f"{table}.{field.column}" for field in fields)
        self._model = model
        self._names = [field.attname for field in fields]
        self._key = next(place for place, field in enumerate(fields) if field.primary_key)
        self._converters = [
            (place, converters)
            for place, field in enumerate(fields)
            if (converters := field.get_db_converters(connection))
        ]

    def __len__(self) -> int:
        return len(self._names)

    def made(self, row: Sequence[Any]) -> tuple[M, Sequence[Any]]:
        """The object that a row begins with, and what follows it there."""
        values = list(row[: len(self._names)])
        for place, converters in self._converters:
            for convert in converters:
                values[place] = convert(values[place], None, connection)
        return self._model.from_db(connection.alias, self._names, values), row[len(values) :]

    def made_if_any(self, row: Sequence[Any]) -> tuple[M | None, Sequence[Any]]:
        """As `made`, behind an outer join: None where that found nothing."""
        return self.made(row) if row[self._key] is not None else (None, row[len(self._names) :])

    def rows(self, statement: str, values: Values) -> list[M]:
        """The objects that a prepared statement finds which selects `columns`."""
        with connection.cursor() as cursor:
            execute(cursor, statement, values)
            return [self.made(row)[0] for row in cursor.fetchall()]


@lru_cache(maxsize=256)
def in_short(statement: str) -> str:
    """Its verb and the table it is about, for whoever reads a log."""
    verb = statement.split(None, 1)[0].lower()
    table = re.search(r'(?:FROM|INTO|UPDATE) "?(\w+)', statement)
    return f"{verb} {table[1] if table else ''}".strip()


@lru_cache(maxsize=256)
def _numbered(statement: str) -> tuple[str, list[str]]:
    """The statement with $1, $2, ..., and the values' names in that order: none where they come in a row."""
    names: list[str] = []
    count = 0

    def number(found: re.Match[str]) -> str:
        nonlocal count
        name, in_a_row, _percent = found.groups()
        if in_a_row:
            count += 1
            return f"${count}"
        if name is None:
            return "%"
        if name not in names:
            names.append(name)
        return f"${names.index(name) + 1}"

    return PLACEHOLDER.sub(number, statement), names
