"""The kinds of work there are. Whoever needs one by its name looks here."""

from django.db.models import QuerySet

from annotate.demonstrations.workflow import BENCH as DEMONSTRATIONS
from annotate.edits.workflow import BENCH as EDITS
from annotate.pools.models import Prompt
from annotate.rankings.workflow import BENCH as RANKINGS
from annotate.work.models import Campaign, Workflow
from annotate.work.workflow import Bench

WORKFLOWS: dict[Workflow, Bench] = {
    Workflow.DEMONSTRATIONS: DEMONSTRATIONS,
    Workflow.RANKINGS: RANKINGS,
    Workflow.EDITS: EDITS,
}


def readmit(campaign: Campaign, prompts: list[int]) -> QuerySet[Prompt] | None:
    """As Bench.readmit, by the bench of the campaign."""
    return WORKFLOWS[Workflow(campaign.workflow)].readmit(campaign, prompts)
