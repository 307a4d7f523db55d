"""Yes or no on plain values: who may work, which answers are reviewed, where a slot stands in its queue."""

import hashlib
import hmac

# More slots than a task may ever have: positions of two tasks never mix.
SLOTS_A_TASK = 64

# What may change of a campaign while people work in it; all else would make its answers differ in kind.
CHANGEABLE = frozenset({"name", "labelers", "review_percent", "lease_minutes"})


def position(task_id: int, slot: int) -> int:
    """Finish a task's slots before the next task's: agreement can be read early."""
    return task_id * SLOTS_A_TASK + slot


def may_work(*, role: str, cohort: str, labeler_id: int, cohorts: list[str], named: set[int]) -> bool:
    """Named people only, where a campaign names some; else every labeler of its cohorts."""
    if role != "labeler":
        return False
    return labeler_id in named if named else cohort in cohorts


def needs_review(assignment_id: int, percent: int, key: str) -> bool:
    """Draw the reviewed share by a keyed hash: the same answer at every try, and no labeler can tell which."""
    digest = hmac.new(key.encode(), f"review:{assignment_id}".encode(), hashlib.sha256).digest()
    return int.from_bytes(digest[:8], "big") % 100 < percent
