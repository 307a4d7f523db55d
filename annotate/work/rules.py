"""Yes or no on plain values: who may work, in which languages, which answers are reviewed, when a task stops."""

import hashlib
import hmac
from datetime import UTC, datetime

from annotate.lib.languages import matches

# What may change of a campaign while people work in it; all else would make its answers differ in kind.
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
    """Named people only, where a campaign names some; else every labeler of its cohorts; qualified in either case."""
    if role != "labeler" or not qualified:
        return False
    return named if anyone_named else cohort in cohorts


def speaks(language: str, languages: list[str]) -> bool:
    """Does somebody who works in `languages` take tasks in this language? Without languages they take all tasks, and
    tasks without a language are for everybody."""
    return not languages or not language or any(matches(spoken, language) for spoken in languages)


def needs_review(assignment_id: int, submitted_at: datetime, percent: int, key: str) -> bool:
    """Draw the reviewed share by a keyed hash of the assignment and the time of its submit.

    The stored row gives the same result again, and nobody without the key can compute it. Each submit is a draw of its
    own: an answer that was taken back and submitted again is drawn again, so its labeler gains nothing by guessing the
    first draw from how long a verdict takes.
    """
    drawn = f"review:{assignment_id}:{submitted_at.astimezone(UTC).isoformat()}"
    digest = hmac.new(key.encode(), drawn.encode(), hashlib.sha256).digest()
    return int.from_bytes(digest[:8], "big") % 100 < percent


def stops(*, skips: int, excused: int, limit: int) -> bool:
    """Have so many people skipped a task that a manager should look at it? Not counting those who were looked at."""
    return bool(limit) and skips - excused >= limit
