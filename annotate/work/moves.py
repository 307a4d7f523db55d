"""The one door to an assignment's state: legal pair, compare-and-set, one event, in the caller's transaction."""

from datetime import datetime
from typing import Any

from django.db import connection
from django.db.transaction import TransactionManagementError

from annotate.accounts.models import User
from annotate.work.models import Assignment, Event
from annotate.work.states import MOVES, Move


def require_transaction() -> None:
    """A move, its event and the answer it is about stand or fall together. Calling without a transaction is a bug."""
    if not connection.in_atomic_block:
        raise TransactionManagementError("open a transaction around this call: transaction.atomic()")


class Moved(Exception):
    """Somebody else changed this task in the meantime. Load the page again to see where it stands."""


def move(
    assignment: Assignment,
    *moves: Move,
    actor: User | None,
    now: datetime,
    detail: dict[str, Any] | None = None,
    **columns: Any,
) -> Assignment:
    """Take the assignment through `moves`, one after another, in a single UPDATE, and write one event for each.

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
    unchanged = Assignment.objects.filter(
        id=assignment.id, state=assignment.state, labeler=assignment.labeler_id, rounds=assignment.rounds
    )
    if unchanged.update(**columns) != 1:
        raise Moved
    Event.objects.bulk_create(
        Event(assignment=assignment, move=step, actor=actor, at=now, detail=detail or {}) for step in moves
    )
    for name, value in columns.items():
        setattr(assignment, name, value)
    return assignment
