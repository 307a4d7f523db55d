"""Decisions on plain values: who may work, in which languages, which answers are reviewed, when a task stops."""

import hashlib
import hmac
from datetime import UTC, datetime

from annotate.lib.languages import matches

# The settings that may change after a campaign has opened. Other changes would make its answers incomparable.
CHANGEABLE = frozenset(
    {
        "name",
        "labelers",
        "qualifications",
        "overlap",
        "review_percent",
        "lease_minutes",
        "skip_limit",
        "undo_minutes",
    }
)


def may_work(*, role: str, cohort: str, cohorts: list[str], anyone_named: bool, named: bool, qualified: bool) -> bool:
    """Only the named labelers, or without any named all of the cohorts. Both must be qualified."""
    if role != "labeler" or not qualified:
        return False
    return named if anyone_named else cohort in cohorts


def speaks(language: str, languages: list[str]) -> bool:
    """No languages means all; a task without a language is for everybody."""
    return not languages or not language or any(matches(spoken, language) for spoken in languages)


def needs_review(assignment_id: int, submitted_at: datetime, percent: int, key: str) -> bool:
    """Draw `percent` of the submits for review, by a keyed hash of the assignment and the time of the submit.

    The stored row gives the same result again, and nobody can compute it without the key. After an undo, the next
    submit is drawn again, so a labeler gains nothing by guessing the first draw.
    """
    drawn = f"review:{assignment_id}:{submitted_at.astimezone(UTC).isoformat()}"
    digest = hmac.new(key.encode(), drawn.encode(), hashlib.sha256).digest()
    return int.from_bytes(digest[:8], "big") % 100 < percent


def stops(*, skips: int, excused: int, limit: int) -> bool:
    """Limit 0: never. A manager has decided about `excused` skips."""
    return bool(limit) and skips - excused >= limit
