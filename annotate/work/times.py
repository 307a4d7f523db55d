"""Count the active time of a labeler on a task: seconds in which they saw its page and did something.

The page counts the seconds (static/js/active.js) and reports its total with every heartbeat. Each total counts once,
and never more than the time since the labeler's last counted second on the server's clock. So no second counts twice
because of two tabs, two machines, a repeated report, a machine that slept or a clock that jumped.
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

# Seconds that a labeler's first report ever may count.
MAX_FIRST_REPORT: Final = 120.0


def count(*, task_id: int, labeler: User, visit: UUID, total: float, now: datetime) -> None:
    """Store the report that a visit to the task's page has had `total` active seconds so far.

    The caller has checked that the task is or was the labeler's.
    """
    if not isfinite(total) or total <= 0:
        return
    values: Values = {"visit": visit, "task": task_id, "labeler": labeler.id, "total": total, "now": now}
    with transaction.atomic(), connection.cursor() as cursor:
        execute(cursor, SQL["lock_stopwatch"], values)
        row = cursor.fetchone()
        if row is None:
            # The first report ever: no second of this labeler has counted yet.
            since = datetime.fromtimestamp(now.timestamp() - min(total, MAX_FIRST_REPORT), tz=now.tzinfo)
            execute(cursor, SQL["start_stopwatch"], values | {"since": since})
            execute(cursor, SQL["lock_stopwatch"], values)
            row = cursor.fetchone()
        execute(cursor, SQL["count"], values | {"passed": max(0.0, (now - row[0]).total_seconds())})


def active_seconds(task_id: int, labeler: User) -> Sql:
    """The labeler's active seconds on the task, as the value of a column."""
    return Sql(f"({SQL['active_seconds']})", {"task": task_id, "labeler": labeler.id})
