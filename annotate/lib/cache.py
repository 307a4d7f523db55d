import base64
import pickle
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta

from django.core.cache.backends.base import DEFAULT_TIMEOUT
from django.core.cache.backends.db import DatabaseCache
from django.db import connections, router
from django.utils import timezone


class KeepingCache(DatabaseCache):
    """Django's database cache without culling, because a flood of entries must not reset the limits of logins.

    Each write is one atomic statement, and failed writes raise.
    """

    _table: str

    def _base_set(self, mode: str, key: str, value: object, timeout: float | None = DEFAULT_TIMEOUT) -> bool:
        until = self.get_backend_timeout(timeout)
        expires = datetime.max.replace(tzinfo=UTC) if until is None else datetime.fromtimestamp(until, tz=UTC)
        if mode == "touch":
            return self._change("UPDATE {table} SET expires = %s WHERE cache_key = %s AND expires >= %s", expires, key)
        # `add` is a lock: of concurrent calls one succeeds, also after expiry.
        vacant = " WHERE {table}.expires < %s" if mode == "add" else ""
        return self._change(
            "INSERT INTO {table} (cache_key, value, expires) VALUES (%s, %s, %s) ON CONFLICT (cache_key) "
            "DO UPDATE SET value = EXCLUDED.value, expires = EXCLUDED.expires" + vacant,
            key,
            base64.b64encode(pickle.dumps(value, self.pickle_protocol)).decode("ascii"),
            expires,
        )

    def get_many(self, keys: Iterable[str], version: int | None = None) -> dict[str, object]:
        """Delete no expired values, unlike Django, which may delete concurrent writes."""
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
        return {named[key]: pickle.loads(base64.b64decode(value)) for key, value in rows}  # noqa: S301

    def forget_expired(self, *, now: datetime) -> int:
        connection = connections[router.db_for_write(self.cache_model_class)]
        table = connection.ops.quote_name(self._table)
        with connection.cursor() as cursor:
            # The clocks of web servers may differ.
            cursor.execute(f"DELETE FROM {table} WHERE expires < %s", [now - timedelta(seconds=1)])
            return int(cursor.rowcount)

    def _change(self, statement: str, *values: str | datetime) -> bool:
        connection = connections[router.db_for_write(self.cache_model_class)]
        statement = statement.format(table=connection.ops.quote_name(self._table))
        given = [*values, timezone.now()][: statement.count("%s")]
        with connection.cursor() as cursor:
            cursor.execute(statement, given)
            return bool(cursor.rowcount)
