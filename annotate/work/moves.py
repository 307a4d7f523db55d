"""The one door to an assignment's state: legal pair, compare-and-set, one event, in the caller's transaction."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.db import connection
from django.db.transaction import TransactionManagementError
from psycopg2.extras import Json

from annotate.accounts.models import User
from annotate.lib.prepared import Shape, execute
from annotate.work.models import Assignment
from annotate.work.refusals import Moved
from annotate.work.states import MOVES, Move


def require_transaction() -> None:
    """A move, its event and the answer it is about stand or fall together. Calling without a transaction is a bug."""
    if not connection.in_atomic_block:
        raise TransactionManagementError("open a transaction around this call: transaction.atomic()")


@dataclass(frozen=True)
class Sql:
    """Part of a statement of our own with its values by name: to go along with a move, or as the value of a column."""

    text: str
    values: dict[str, Any]


SLOT = Shape(Assignment, "slot")

# The rows that `found` names become `moved`, each with its events.
MOVE = """
WITH {found}moved AS (
    UPDATE work_assignment slot SET {columns}
    {which} RETURNING {returning}
), told AS (
    INSERT INTO work_event (assignment_id, move, actor_id, at, detail)
    SELECT moved.id, step.move, %(actor)s::bigint, %(now)s::timestamptz, %(detail)s::jsonb
    FROM moved, unnest(%(moves)s::text[]) WITH ORDINALITY AS step(move, number) ORDER BY step.number
){along}
SELECT * FROM moved
"""
AS_KNOWN = """WHERE slot.id = %(known)s AND slot.state = %(before)s
    AND slot.labeler_id IS NOT DISTINCT FROM %(of)s::bigint AND slot.rounds = %(rounds)s"""
AS_FOUND = "FROM found WHERE slot.id = found.id AND slot.state = %(before)s"


def move(
    assignment: Assignment,
    *moves: Move,
    actor: User | None,
    now: datetime,
    detail: dict[str, Any] | None = None,
    along: Sequence[Sql] = (),
    **columns: Any,
) -> Assignment:
    """Take the assignment through `moves`, one after another, in a single statement that writes one event for each.

    The row must still be as `assignment` says: its state, its labeler and its round are part of the WHERE. `along`
    changes what hangs on it, the row `moved`, in the same round trip. Raises Moved if the row is another by now; raises
    ValueError for a chain that states.MOVES does not know, which is a bug of the caller.
    """
    columns = {"state": _after(assignment.state, moves)} | columns
    known = {"known": assignment.id, "before": assignment.state, "of": assignment.labeler_id}
    known["rounds"] = assignment.rounds
    if not _moved("", AS_KNOWN, "slot.id", known, moves, actor, now, detail, along, columns):
        raise Moved
    for name, value in columns.items():
        if isinstance(value, Sql):
            delattr(assignment, name)  # read from the row when somebody asks for it
        else:
            setattr(assignment, name, value)
    return assignment


def move_first(
    found: Sql, *moves: Move, actor: User | None, now: datetime, along: Sequence[Sql] = (), **columns: Any
) -> Assignment | None:
    """As `move`, for the assignment whose id the search `found` finds and locks. None: it found none."""
    before = MOVES[moves[0]][0]
    columns = {"state": _after(before, moves)} | columns
    known = found.values | {"before": before}
    search = f"found AS ({found.text}), "
    rows = _moved(search, AS_FOUND, SLOT.columns, known, moves, actor, now, None, along, columns)
    return SLOT.made(rows[0])[0] if rows else None


def _after(state: str, moves: Sequence[Move]) -> str:
    for step in moves:
        before, after = MOVES[step]
        if state != before:
            raise ValueError(f"{step} starts from {before}, not from {state}")
        state = after
    return state


def _moved(
    found: str,
    which: str,
    returning: str,
    known: dict[str, Any],
    moves: Sequence[Move],
    actor: User | None,
    now: datetime,
    detail: dict[str, Any] | None,
    along: Sequence[Sql],
    columns: dict[str, Any],
) -> list[Any]:
    require_transaction()
    values = {
        name: value if isinstance(value, Sql) else Sql(f"%(to_{name})s", {f"to_{name}": value})
        for name, value in columns.items()
    }
    # The names come from our own code; quote_name refuses to let that go wrong.
    statement = MOVE.format(
        found=found,
        which=which,
        returning=returning,
        columns=", ".join(f"{connection.ops.quote_name(name)} = {value.text}" for name, value in values.items()),
        along="".join(f", along_{number} AS ({part.text})" for number, part in enumerate(along)),
    )
    event = {"actor": actor.id if actor else None, "now": now, "detail": Json(detail or {})}
    given: dict[str, Any] = known | event | {"moves": [str(step) for step in moves]}
    for part in (*values.values(), *along):
        given |= part.values
    with connection.cursor() as cursor:
        execute(cursor, statement, given)
        return list(cursor.fetchall())
