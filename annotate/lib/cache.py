"""A cache in the database that keeps every value until it expires."""

import base64
import pickle
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from django.core.cache.backends.base import DEFAULT_TIMEOUT
from django.core.cache.backends.db import DatabaseCache
from django.db import connections, router
from django.utils import timezone


class KeepingCache(DatabaseCache):
    """Django's, which forgets values that still count as soon as there are more than MAX_ENTRIES.

    Limits of the login count here: who makes the cache forget is no longer locked out. Nothing is culled; what has
    expired is deleted by `forget_expired`, which the worker calls. Each write is one atomic statement, and one that
    fails raises: a count that is not written must not look as one that is.
    """

    _table: str

    def _base_set(self, mode: str, key: str, value: Any, timeout: float | None = DEFAULT_TIMEOUT) -> bool:
        until = self.get_backend_timeout(timeout)
        expires = datetime.max.replace(tzinfo=UTC) if until is None else datetime.fromtimestamp(until, tz=UTC)
        if mode == "touch":
            return self._change("UPDATE {table} SET expires = %s WHERE cache_key = %s AND expires >= %s", expires, key)
        # A lock is an `add`: of several at a time one succeeds, also where an old one has expired.
        vacant = " WHERE {table}.expires < %s" if mode == "add" else ""
        return self._change(
            "INSERT INTO {table} (cache_key, value, expires) VALUES (%s, %s, %s) ON CONFLICT (cache_key) "
            "DO UPDATE SET value = EXCLUDED.value, expires = EXCLUDED.expires" + vacant,
            key,
            base64.b64encode(pickle.dumps(value, self.pickle_protocol)).decode("ascii"),
            expires,
        )

    def get_many(self, keys: Iterable[str], version: int | None = None) -> dict[str, Any]:
        """Django's deletes what it finds expired, and with it what another process has just written in its place."""
        named: Mapping[str, str] = {self.make_and_validate_key(key, version=version): key for key in keys}
        if not named:
            return {}
        connection = connections[router.db_for_read(self.cache_model_class)]
        table = connection.ops.quote_name(self._table)
        with connection.cursor() as cursor:
            cursor.execute(
                f"SELECT cache_key, value FROM {table} WHERE cache_key = ANY(%s) AND expires >= %s",
                [list(named), timezone.now()],
            )
            rows = cursor.fetchall()
        return {named[key]: pickle.loads(base64.b64decode(value)) for key, value in rows}  # noqa: S301  # our own rows

    def forget_expired(self, *, now: datetime) -> int:
        """Delete what has expired; returns how many values."""
        connection = connections[router.db_for_write(self.cache_model_class)]
        table = connection.ops.quote_name(self._table)
        with connection.cursor() as cursor:
            # A second more: clocks of web servers differ a little.
            cursor.execute(f"DELETE FROM {table} WHERE expires < %s", [now - timedelta(seconds=1)])
            return int(cursor.rowcount)

    def _change(self, statement: str, *values: Any) -> bool:
        connection = connections[router.db_for_write(self.cache_model_class)]
        statement = statement.format(table=connection.ops.quote_name(self._table))
        given = [*values, timezone.now()][: statement.count("%s")]
        with connection.cursor() as cursor:
            cursor.execute(statement, given)
            return bool(cursor.rowcount)
