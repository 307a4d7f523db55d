"""Reading many rows without holding them all in memory, also behind a transaction pooler."""

from collections.abc import Iterator
from contextlib import contextmanager

from django.db import connection, transaction


@contextmanager
def streaming() -> Iterator[None]:
    """A transaction in which `QuerySet.iterator` reads through a cursor of the server.

    Behind a transaction pooler a cursor does not outlive its transaction. So with PREPARED_STATEMENTS=0 Django uses no
    cursors, and `iterator` holds all rows in memory, except in here.
    """
    with transaction.atomic(savepoint=False):
        usual = connection.settings_dict
        # A dictionary of this connection's own: Django lets all threads share one.
        connection.settings_dict = usual | {"DISABLE_SERVER_SIDE_CURSORS": False}
        try:
            yield
        finally:
            connection.settings_dict = usual
