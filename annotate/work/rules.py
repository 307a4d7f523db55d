"""Decisions on plain values."""

import hashlib
import hmac
from datetime import UTC, datetime

from annotate.lib.languages import matches

# Other changes of an open campaign would make its answers incomparable.
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
    if role != "labeler" or not qualified:
        return False
    return named if anyone_named else cohort in cohorts


def speaks(language: str, languages: list[str]) -> bool:
    """No `languages` means all."""
    return not languages or not language or any(matches(spoken, language) for spoken in languages)


def needs_review(assignment_id: int, submitted_at: datetime, percent: int, key: str) -> bool:
    """Draw `percent` of the submits by a keyed hash: reproducible, but labelers cannot compute it.

    The hash includes the time: a submit after an undo gets a new draw.
    """
    drawn = f"review:{assignment_id}:{submitted_at.astimezone(UTC).isoformat()}"
    digest = hmac.new(key.encode(), drawn.encode(), hashlib.sha256).digest()
    return int.from_bytes(digest[:8], "big") % 100 < percent


def stops(*, skips: int, excused: int, limit: int) -> bool:
    """A limit of 0 means never."""
    return bool(limit) and skips - excused >= limit
