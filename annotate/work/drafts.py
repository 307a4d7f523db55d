"""Store text that a labeler has not submitted."""

import json
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path

from django.db import connection, transaction
from psycopg2.extras import Json

from annotate.accounts.models import User
from annotate.lib.prepared import execute
from annotate.lib.sql import load_statements
from annotate.work import queries
from annotate.work.models import Draft
from annotate.work.moves import Sql
from annotate.work.refusals import AlreadySubmitted, DraftOfTooManyFields, DraftTooLong, NotYours
from annotate.work.shapes import DRAFT

SQL = load_statements(Path(__file__).parent / "sql/drafts.sql", draft=DRAFT)

DRAFT_MAX_CHARACTERS = 1_000_000
# Django's limit for a form; a page with 100,000 fields takes ten seconds.
DRAFT_MAX_FIELDS = 1_000


def save_draft(
    *, task_id: int, labeler: User, body: Mapping[str, object], now: datetime, seen: str | None = None
) -> Draft:
    """Store a draft, also without a lease: an expired lease never destroys text.

    `seen`: the version that this text replaces, "" for none. It also replaces a newer one, which the result has as
    `unseen`. Raises NotYours, AlreadySubmitted, DraftTooLong or DraftOfTooManyFields.
    """
    if sum(len(name) + len(str(value)) for name, value in body.items()) > DRAFT_MAX_CHARACTERS:
        raise DraftTooLong
    if sum(max(1, len(texts)) if isinstance(texts, list) else 1 for texts in body.values()) > DRAFT_MAX_FIELDS:
        raise DraftOfTooManyFields
    values = {"task": task_id, "labeler": labeler.id, "body": Json(dict(body)), "now": now}
    with transaction.atomic(), connection.cursor() as cursor:
        # A submit locks the seat too. Everybody who has held a task of the campaign has a seat.
        execute(cursor, SQL["lock_seat"], values)
        if not cursor.fetchone() or not queries.has_held(labeler, task_id):
            raise NotYours
        execute(cursor, SQL["keep"], values)
        row = cursor.fetchone()
        if not row:
            # A late autosave must not replace the submitted answer.
            raise AlreadySubmitted
        draft, (before, saved_at) = DRAFT.made(row)
        if saved_at and seen is not None and saved_at.isoformat() != seen:
            draft.unseen = json.loads(before)
        return draft


def drop_draft(task_id: int, labeler: User) -> Sql:
    return Sql(SQL["drop"], {"task": task_id, "labeler": labeler.id})
