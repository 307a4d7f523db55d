"""What a labeler has typed and not handed in. A draft outlives its lease."""

import json
from datetime import datetime
from typing import Any

from django.db import connection, transaction
from psycopg2.extras import Json

from annotate.accounts.models import User
from annotate.lib.prepared import execute
from annotate.work import queries
from annotate.work.models import Draft
from annotate.work.refusals import AlreadySubmitted, DraftOfTooManyFields, DraftTooLong, NotYours

# A draft is what one person typed into one form; anything larger is not that.
DRAFT_MAX_CHARACTERS = 1_000_000


# The page shows each again, and a hundred thousand take ten seconds. Django takes no more of a form either.
DRAFT_MAX_FIELDS = 1_000


def save_draft(*, task_id: int, labeler: User, body: dict[str, Any], now: datetime, seen: str | None = None) -> Draft:
    """Keep what was typed, with or without a lease: an expired lease never destroys text.

    seen: the version that this text was written over, "" for none. If another window has saved since, its text comes
    back as `unseen`; the last one is kept all the same, because a window that cannot save helps nobody. Raises NotYours
    for a task this labeler never had, DraftTooLong and DraftOfTooManyFields.
    """
    if sum(len(name) + len(str(value)) for name, value in body.items()) > DRAFT_MAX_CHARACTERS:
        raise DraftTooLong
    if sum(max(1, len(texts)) if isinstance(texts, list) else 1 for texts in body.values()) > DRAFT_MAX_FIELDS:
        raise DraftOfTooManyFields
    values = {"task": task_id, "labeler": labeler.id, "body": Json(body), "now": now}
    with transaction.atomic(), connection.cursor() as cursor:
        # A submit holds the seat too, so an autosave that was under way with it is either before or after it. Whoever
        # has held a task of the campaign has a seat.
        execute(cursor, LOCK_BY_TASK, values)
        seated = cursor.fetchone()
        if not seated or not queries.has_held(labeler, task_id):
            raise NotYours
        execute(cursor, KEEP, values)
        row = cursor.fetchone()
        if not row:
            # A late autosave of a form that was handed in meanwhile must not stand above the answer.
            raise AlreadySubmitted
        kept, (before, saved_at) = queries.DRAFT.made(row)
        if saved_at and seen is not None and saved_at.isoformat() != seen:
            kept.unseen = json.loads(before)
        return kept


LOCK_BY_TASK = """
SELECT seat.id FROM work_seat seat JOIN work_task task ON task.campaign_id = seat.campaign_id
WHERE task.id = %(task)s AND seat.labeler_id = %(labeler)s FOR UPDATE OF seat
"""


# What stood there before comes back in the same statement: the lock on the seat has let nothing in between.
KEEP = f"""
WITH before AS (SELECT body, saved_at FROM work_draft WHERE task_id = %(task)s AND labeler_id = %(labeler)s)
INSERT INTO work_draft AS draft (task_id, labeler_id, body, saved_at)
SELECT %(task)s::bigint, %(labeler)s::bigint, %(body)s::jsonb, %(now)s::timestamptz
WHERE NOT EXISTS (
    SELECT FROM work_assignment answer WHERE answer.task_id = %(task)s AND answer.labeler_id = %(labeler)s
    AND answer.state IN ('submitted', 'accepted'))
ON CONFLICT (task_id, labeler_id) DO UPDATE SET body = excluded.body, saved_at = excluded.saved_at
RETURNING {queries.DRAFT.columns}, (SELECT body FROM before), (SELECT saved_at FROM before)
"""


DROP_DRAFT = "DELETE FROM work_draft WHERE task_id = %(task)s AND labeler_id = %(labeler)s"
