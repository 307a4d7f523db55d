"""Yes or no on plain values: who may work, in which languages, which answers are reviewed, when a task stops."""

import hashlib
import hmac

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


def needs_review(assignment_id: int, percent: int, key: str) -> bool:
    """Draw the reviewed share by a keyed hash: the same answer at every try, and no labeler can tell which."""
    digest = hmac.new(key.encode(), f"review:{assignment_id}".encode(), hashlib.sha256).digest()
    return int.from_bytes(digest[:8], "big") % 100 < percent


def stops(*, skips: int, excused: int, limit: int) -> bool:
    """Have so many people skipped a task that a manager should look at it? Not counting those who were looked at."""
    return bool(limit) and skips - excused >= limit
