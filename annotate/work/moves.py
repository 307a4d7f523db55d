"""The one door to an assignment's state: legal pair, compare-and-set, one event, in the caller's transaction."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.db import connection
from django.db.transaction import TransactionManagementError
from psycopg2.extras import Json

from annotate.accounts.models import User
from annotate.lib.prepared import execute
from annotate.work.models import Assignment
from annotate.work.states import MOVES, Move


def require_transaction() -> None:
    """A move, its event and the answer it is about stand or fall together. Calling without a transaction is a bug."""
    if not connection.in_atomic_block:
        raise TransactionManagementError("open a transaction around this call: transaction.atomic()")


class Moved(Exception):
    """Somebody else changed this task in the meantime. Load the page again to see where it stands."""


@dataclass(frozen=True)
class Sql:
    """A statement of our own with its values: to go along with a move, or as the value of a column."""

    text: str
    values: list[Any]


MOVE = """
WITH moved AS (
    UPDATE work_assignment SET {columns}
    WHERE id = %s AND state = %s AND labeler_id IS NOT DISTINCT FROM %s AND rounds = %s
    RETURNING id
){along}
INSERT INTO work_event (assignment_id, move, actor_id, at, detail)
SELECT moved.id, step.move, %s::bigint, %s::timestamptz, %s::jsonb
FROM moved, unnest(%s::text[]) WITH ORDINALITY AS step(move, number) ORDER BY step.number
"""


def move(
    assignment: Assignment,
    *moves: Move,
    actor: User | None,
    now: datetime,
    detail: dict[str, Any] | None = None,
    along: Sql | None = None,
    **columns: Any,
) -> Assignment:
    """Take the assignment through `moves`, one after another, in a single statement that writes one event for each.

    The row must still be as `assignment` says: its state, its labeler and its round are part of the WHERE. `along`
    changes what hangs on it in the same round trip. Raises Moved if the row is another by now; raises ValueError for a
    chain that states.MOVES does not know, which is a bug of the caller.
    """
    require_transaction()
    state = assignment.state
    for step in moves:
        before, after = MOVES[step]
        if state != before:
            raise ValueError(f"{step} starts from {before}, not from {state}")
        state = after
    columns = {"state": state} | columns
    values = {name: value if isinstance(value, Sql) else Sql("%s", [value]) for name, value in columns.items()}
    # The names come from our own code; quote_name refuses to let that go wrong.
    names = ", ".join(f"{connection.ops.quote_name(name)} = {value.text}" for name, value in values.items())
    statement = MOVE.format(columns=names, along=f", along AS ({along.text})" if along else "")
    unchanged: list[Any] = [assignment.id, assignment.state, assignment.labeler_id, assignment.rounds]
    event: list[Any] = [actor.id if actor else None, now, Json(detail or {}), [str(step) for step in moves]]
    set_to = [value for column in values.values() for value in column.values]
    with connection.cursor() as cursor:
        execute(cursor, statement, [*set_to, *unchanged, *(along.values if along else []), *event])
        if cursor.rowcount != len(moves):
            raise Moved
    for name, value in columns.items():
        if isinstance(value, Sql):
            delattr(assignment, name)  # read from the row when somebody asks for it
        else:
            setattr(assignment, name, value)
    return assignment
