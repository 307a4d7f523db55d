from collections import defaultdict
from collections.abc import Sequence

from annotate.work.models import Assignment
from annotate.workflows.table import WORKFLOWS


def titles(assignments: Sequence[Assignment]) -> dict[int, str]:
    """For answers without a prompt, by assignment id. At most one query per workflow."""
    by_workflow: dict[str, list[Assignment]] = defaultdict(list)
    for assignment in assignments:
        if assignment.task.prompt_id is None:
            by_workflow[assignment.campaign.workflow].append(assignment)
    titles: dict[int, str] = {}
    for key, answers in by_workflow.items():
        titles |= WORKFLOWS[key].titles(assignments=answers)
    return titles
