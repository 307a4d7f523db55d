"""The one door to an assignment's state: legal pair, compare-and-set, one event, in the caller's transaction."""

from datetime import datetime
from typing import Any

from django.db import connection
from django.db.transaction import TransactionManagementError
from psycopg2.extras import Json

from annotate.accounts.models import User
from annotate.work.models import Assignment
from annotate.work.states import MOVES, Move


def require_transaction() -> None:
    """A move, its event and the answer it is about stand or fall together. Calling without a transaction is a bug."""
    if not connection.in_atomic_block:
        raise TransactionManagementError("open a transaction around this call: transaction.atomic()")


class Moved(Exception):
    """Somebody else changed this task in the meantime. Load the page again to see where it stands."""


MOVE = """
WITH moved AS (
    UPDATE work_assignment SET {columns}
    WHERE id = %s AND state = %s AND labeler_id IS NOT DISTINCT FROM %s AND rounds = %s
    RETURNING id
)
INSERT INTO work_event (assignment_id, move, actor_id, at, detail)
SELECT moved.id, step.move, %s, %s, %s
FROM moved, unnest(%s::text[]) WITH ORDINALITY AS step(move, number) ORDER BY step.number
"""


def move(
    assignment: Assignment,
    *moves: Move,
    actor: User | None,
    now: datetime,
    detail: dict[str, Any] | None = None,
    **columns: Any,
) -> Assignment:
    """Take the assignment through `moves`, one after another, in a single statement that writes one event for each.

    The row must still be as `assignment` says: its state, its labeler and its round are part of the WHERE. Raises
    Moved if it is not; raises ValueError for a chain that states.MOVES does not know, which is a bug of the caller.
    """
    require_transaction()
    state = assignment.state
    for step in moves:
        before, after = MOVES[step]
        if state != before:
            raise ValueError(f"{step} starts from {before}, not from {state}")
        state = after
    columns = {"state": state} | columns
    # The names come from our own code; quote_name refuses to let that go wrong.
    names = ", ".join(f"{connection.ops.quote_name(name)} = %s" for name in columns)
    unchanged: list[Any] = [assignment.id, assignment.state, assignment.labeler_id, assignment.rounds]
    event: list[Any] = [actor.id if actor else None, now, Json(detail or {}), [str(step) for step in moves]]
    with connection.cursor() as cursor:
        cursor.execute(MOVE.format(columns=names), [*columns.values(), *unchanged, *event])
        if cursor.rowcount != len(moves):
            raise Moved
    for name, value in columns.items():
        setattr(assignment, name, value)
    return assignment
