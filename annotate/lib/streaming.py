from collections.abc import Iterator
from contextlib import contextmanager

from django.db import connection, transaction


@contextmanager
def streaming() -> Iterator[None]:
    """Make `QuerySet.iterator` use a server-side cursor, also behind a transaction pooler (PREPARED_STATEMENTS=0)."""
    with transaction.atomic(savepoint=False):
        original = connection.settings_dict
        # Threads share the dictionary.
        connection.settings_dict = original | {"DISABLE_SERVER_SIDE_CURSORS": False}
        try:
            yield
        finally:
            connection.settings_dict = original
