"""Add each new workflow here (see docs/architecture.md)."""

from django.http import Http404

from annotate.demonstrations.workflow import DEMONSTRATIONS
from annotate.instructions.workflow import INSTRUCTIONS
from annotate.rankings.workflow import RANKINGS
from annotate.work.models import Campaign
from annotate.work.workflow import Workflow

WORKFLOWS: dict[str, Workflow] = {
    workflow.key: workflow
    for workflow in (
        DEMONSTRATIONS,
        RANKINGS,
        INSTRUCTIONS,
    )
}


def workflow_of(campaign: Campaign) -> Workflow:
    return WORKFLOWS[campaign.workflow]


def workflow_or_404(key: str) -> Workflow:
    if key not in WORKFLOWS:
        raise Http404
    return WORKFLOWS[key]
