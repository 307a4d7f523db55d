"""Read many rows with little memory, also behind a transaction pooler."""

from collections.abc import Iterator
from contextlib import contextmanager

from django.db import connection, transaction


@contextmanager
def streaming() -> Iterator[None]:
    """Open a transaction in which `QuerySet.iterator` uses a server-side cursor.

    Behind a transaction pooler, cursors need a transaction. Elsewhere PREPARED_STATEMENTS=0 disables them, and
    `iterator` holds all rows in memory.
    """
    with transaction.atomic(savepoint=False):
        original = connection.settings_dict
        # A copy, because all threads share the dictionary.
        connection.settings_dict = original | {"DISABLE_SERVER_SIDE_CURSORS": False}
        try:
            yield
        finally:
            connection.settings_dict = original
