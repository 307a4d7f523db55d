"""Store what a labeler has typed and not submitted. A draft outlives its lease."""

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

# More than one person types into a form.
DRAFT_MAX_CHARACTERS = 1_000_000
# Django accepts no more fields in a form, and a page with a hundred thousand takes ten seconds.
DRAFT_MAX_FIELDS = 1_000


def save_draft(
    *, task_id: int, labeler: User, body: Mapping[str, object], now: datetime, seen: str | None = None
) -> Draft:
    """Store the draft, with or without a lease: an expired lease never destroys text.

    seen: the version that this text replaces, "" for none. If another window has saved since, its text comes back as
    `unseen`. The new text is stored all the same: a window that cannot save helps nobody. Raises NotYours for a task
    that this labeler never had, AlreadySubmitted, DraftTooLong and DraftOfTooManyFields.
    """
    if sum(len(name) + len(str(value)) for name, value in body.items()) > DRAFT_MAX_CHARACTERS:
        raise DraftTooLong
    if sum(max(1, len(texts)) if isinstance(texts, list) else 1 for texts in body.values()) > DRAFT_MAX_FIELDS:
        raise DraftOfTooManyFields
    values = {"task": task_id, "labeler": labeler.id, "body": Json(dict(body)), "now": now}
    with transaction.atomic(), connection.cursor() as cursor:
        # A submit locks the seat too, so a concurrent autosave comes either before or after it. Everybody who has held
        # a task of the campaign has a seat.
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
