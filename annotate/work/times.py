"""Count a labeler's active seconds on a task, which static/js/active.js reports with every heartbeat.

A report is a total of its page visit. It counts at most the time since the labeler's last counted second on the
server's clock: no second counts twice because of two tabs, a repeated report or a clock that jumps.
"""

from datetime import datetime
from math import isfinite
from pathlib import Path
from typing import Final
from uuid import UUID

from django.db import connection, transaction

from annotate.accounts.models import User
from annotate.lib.prepared import execute
from annotate.lib.sql import Values, load_statements
from annotate.work.moves import Sql

SQL = load_statements(Path(__file__).parent / "sql/times.sql")

# Seconds.
MAX_FIRST_REPORT: Final = 120.0


def count(*, task_id: int, labeler: User, visit: UUID, total: float, now: datetime) -> None:
    """`total`: active seconds of the visit so far. The caller has checked that the labeler has held the task."""
    if not isfinite(total) or total <= 0:
        return
    values: Values = {"visit": visit, "task": task_id, "labeler": labeler.id, "total": total, "now": now}
    with transaction.atomic(), connection.cursor() as cursor:
        execute(cursor, SQL["lock_stopwatch"], values)
        row = cursor.fetchone()
        if row is None:
            # The labeler's first report ever.
            since = datetime.fromtimestamp(now.timestamp() - min(total, MAX_FIRST_REPORT), tz=now.tzinfo)
            execute(cursor, SQL["start_stopwatch"], values | {"since": since})
            execute(cursor, SQL["lock_stopwatch"], values)
            row = cursor.fetchone()
        execute(cursor, SQL["count"], values | {"passed": max(0.0, (now - row[0]).total_seconds())})


def active_seconds(task_id: int, labeler: User) -> Sql:
    """As the value of a column."""
    return Sql(f"({SQL['active_seconds']})", {"task": task_id, "labeler": labeler.id})
