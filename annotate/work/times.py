"""How long a labeler really worked on a task: seconds in which they saw its page and did something.

The page counts them (static/js/active.js) and tells its total with every heartbeat. Here each total counts once, and
never more of it than time has passed on the server's clock since the labeler's last counted second. So neither two
tabs nor two machines, a report sent twice, a machine that slept or a clock that jumped makes a second count twice.
"""

from datetime import datetime
from math import isfinite
from typing import Any, Final
from uuid import UUID

from django.db import connection, transaction

from annotate.accounts.models import User
from annotate.lib.prepared import execute

# The stopwatch's lock makes one labeler's reports wait for each other.
READ: Final = "SELECT counted_until FROM work_stopwatch WHERE labeler_id = %(labeler)s FOR UPDATE"
START: Final = """
INSERT INTO work_stopwatch (labeler_id, counted_until) VALUES (%(labeler)s, %(since)s) ON CONFLICT DO NOTHING
"""
# A sitting is its labeler's and its task's for good: the id of somebody else's counts nothing. A report that a newer
# one has overtaken counts nothing either. LEAST also takes off what the sum of many fractions has too much.
COUNT: Final = """
WITH counted AS (
    INSERT INTO work_sitting AS sitting (id, task_id, labeler_id, reported, seconds)
    VALUES (%(sitting)s, %(task)s, %(labeler)s, %(total)s::float8, LEAST(%(total)s::float8, %(passed)s::float8))
    ON CONFLICT (id) DO UPDATE SET
        reported = excluded.reported,
        seconds = LEAST(
            excluded.reported, sitting.seconds + LEAST(excluded.reported - sitting.reported, %(passed)s::float8))
    WHERE sitting.task_id = excluded.task_id AND sitting.labeler_id = excluded.labeler_id
        AND sitting.reported < excluded.reported
    RETURNING labeler_id
)
UPDATE work_stopwatch SET counted_until = GREATEST(counted_until, %(now)s::timestamptz) FROM counted
WHERE work_stopwatch.labeler_id = counted.labeler_id
"""


def count(*, task_id: int, labeler: User, sitting: UUID, total: float, now: datetime) -> None:
    """Take in that this opening of the task's page has seen `total` active seconds so far.

    The caller has made sure that the task is or was the labeler's.
    """
    if not isfinite(total) or total <= 0:
        return
    values: dict[str, Any] = {"sitting": sitting, "task": task_id, "labeler": labeler.id, "total": total, "now": now}
    with transaction.atomic(), connection.cursor() as cursor:
        execute(cursor, READ, values)
        found = cursor.fetchone()
        if found is None:
            # The first report ever: nothing of theirs is counted yet, so nothing can be counted twice.
            since = datetime.fromtimestamp(now.timestamp() - min(total, MOST_AT_FIRST), tz=now.tzinfo)
            execute(cursor, START, values | {"since": since})
            execute(cursor, READ, values)
            found = cursor.fetchone()
        execute(cursor, COUNT, values | {"passed": max(0.0, (now - found[0]).total_seconds())})


# What all the labeler's openings of a task's page (task, labeler) have counted; NULL where no browser told.
ACTIVE: Final = "(SELECT round(sum(seconds)) FROM work_sitting WHERE task_id = %(task)s AND labeler_id = %(labeler)s)"

# Somebody's first page is not looked at for longer before it reports.
MOST_AT_FIRST: Final = 120.0
