"""The only code that changes the state of a slot. Each step is one of states.MOVES and writes an event."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TypedDict, Unpack
from uuid import UUID

from django.db import connection
from django.db.transaction import TransactionManagementError
from psycopg2.extras import Json

from annotate.accounts.models import User
from annotate.lib.prepared import execute
from annotate.lib.sql import Values, load_statements
from annotate.work.models import Assignment, Hand
from annotate.work.refusals import Moved
from annotate.work.shapes import SLOT
from annotate.work.states import MOVES, Move, State

SQL = load_statements(Path(__file__).parent / "sql/moves.sql", slot=SLOT)


def require_transaction() -> None:
    """Raise outside a transaction: a move, its event and its answer are stored together."""
    if not connection.in_atomic_block:
        raise TransactionManagementError("open a transaction around this call: transaction.atomic()")


@dataclass(frozen=True)
class Sql:
    """A statement or the value of a column."""

    text: str
    values: Values


class Columns(TypedDict, total=False):
    """May change with the state."""

    labeler_id: int | None
    hand: Hand
    leased_until: datetime | None
    claimed_at: datetime | None
    submitted_at: datetime | None
    submit_key: UUID | None
    guideline_version_id: int | None
    needs_review: bool
    decided_by_id: int | None
    decided_at: datetime | None
    comment: str
    rounds: int
    active_seconds: int | Sql | None
    position: int


@dataclass(frozen=True)
class MoveCounts:
    selected: int
    moved: int


def move(
    *,
    slot: Assignment,
    steps: Sequence[Move],
    actor: User | None,
    now: datetime,
    detail: Mapping[str, object] | None = None,
    along: Sequence[Sql] = (),
    **columns: Unpack[Columns],
) -> Assignment:
    """Move a slot and set `columns`, in one statement.

    Statements in `along` join it and can read the row `moved`. Raises Moved if the stored state, labeler or round
    differs from `slot`, and ValueError if states.MOVES does not allow the steps.
    """
    after = _state_after(State(slot.state), steps)
    values: Values = {
        "id": slot.id,
        "before": slot.state,
        "labeler_before": slot.labeler_id,
        "rounds_before": slot.rounds,
    }
    values |= _event_values(steps, actor, now, detail)
    if not _run("move", values, after, columns, along):
        raise Moved
    slot.state = after
    for name, value in columns.items():
        if isinstance(value, Sql):
            delattr(slot, name)  # Django loads it on the next use
        else:
            setattr(slot, name, value)
    return slot


def move_first(
    *,
    search: Sql,
    steps: Sequence[Move],
    actor: User | None,
    now: datetime,
    along: Sequence[Sql] = (),
    **columns: Unpack[Columns],
) -> Assignment | None:
    """`move` for the slot that `search` locks. None: none. `along` can also read `found`."""
    before = MOVES[steps[0]][0]
    after = _state_after(before, steps)
    values = {**search.values, "before": before, **_event_values(steps, actor, now, None)}
    rows = _run("move_first", values, after, columns, along, found=search.text)
    return SLOT.made(rows[0])[0] if rows else None


def move_all(
    *,
    selected: Sql,
    steps: Mapping[State, Sequence[Move]],
    actor: User | None,
    now: datetime,
    limit: int,
) -> MoveCounts:
    """Move up to `limit` slots, whose ids `selected` returns, by the steps for their state, to one common state.

    Skips locked slots and other states.
    """
    require_transaction()
    (after,) = {_state_after(before, moves) for before, moves in steps.items()}
    pairs = [(before, step) for before, moves in steps.items() for step in moves]
    values: Values = {
        **selected.values,
        "limit": limit,
        "before": [before.value for before in steps],
        "state": after,
        "actor": actor.id if actor else None,
        "now": now,
        "step_states": [before.value for before, _step in pairs],
        "step_moves": [step.value for _before, step in pairs],
    }
    with connection.cursor() as cursor:
        cursor.execute(SQL["move_all"].format(selected=selected.text), values)
        return MoveCounts(*cursor.fetchone())


def _state_after(state: State, steps: Sequence[Move]) -> State:
    for step in steps:
        before, after = MOVES[step]
        if state != before:
            raise ValueError(f"{step} starts from {before}, not from {state}")
        state = after
    return state


def _event_values(
    steps: Sequence[Move], actor: User | None, now: datetime, detail: Mapping[str, object] | None
) -> Values:
    moves = [step.value for step in steps]
    return {"moves": moves, "actor": actor.id if actor else None, "now": now, "detail": Json(dict(detail or {}))}


def _run(
    statement: str, values: Values, state: State, columns: Columns, along: Sequence[Sql], found: str = ""
) -> list[tuple[object, ...]]:
    """Complete a statement of moves.sql and execute it. Column names are those of `Columns`, never input."""
    require_transaction()
    new_values = {
        name: value if isinstance(value, Sql) else Sql(f"%(to_{name})s", {f"to_{name}": value})
        for name, value in {"state": state, **columns}.items()
    }
    text = SQL[statement].format(
        found=found,
        columns=", ".join(f"{connection.ops.quote_name(name)} = {value.text}" for name, value in new_values.items()),
        along="".join(f", along_{number} AS ({part.text})" for number, part in enumerate(along)),
    )
    for part in (*new_values.values(), *along):
        values = values | part.values
    with connection.cursor() as cursor:
        execute(cursor, text, values)
        return list(cursor.fetchall())
