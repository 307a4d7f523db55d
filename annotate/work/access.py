from django.db import connection

from annotate.accounts.models import User
from annotate.lib.prepared import execute
from annotate.work.models import Assignment
from annotate.work.queries import has_held
from annotate.work.shapes import CAMPAIGN, SLOT

HAD = f"""
SELECT {SLOT.columns}, {CAMPAIGN.columns}
FROM work_assignment slot JOIN work_campaign campaign ON campaign.id = slot.campaign_id
WHERE slot.id = %(assignment)s
"""


def had(labeler: User, assignment_id: int) -> Assignment | None:
    """The assignment with its campaign, if the labeler holds it or ever held its task. None: otherwise."""
    with connection.cursor() as cursor:
        execute(cursor, HAD, {"assignment": assignment_id})
        row = cursor.fetchone()
    if row is None:
        return None
    assignment, row = SLOT.made(row)
    assignment.campaign, _row = CAMPAIGN.made(row)
    return assignment if is_theirs(assignment, labeler) else None


def is_theirs(assignment: Assignment, labeler: User) -> bool:
    return assignment.labeler_id == labeler.id or has_held(labeler, assignment.task_id)
