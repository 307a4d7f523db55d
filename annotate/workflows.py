"""The kinds of work there are. Whoever needs one by its name looks here."""

from annotate.demonstrations.workflow import BENCH as DEMONSTRATIONS
from annotate.edits.workflow import BENCH as EDITS
from annotate.rankings.workflow import BENCH as RANKINGS
from annotate.work.models import Workflow
from annotate.work.workflow import Bench

WORKFLOWS: dict[Workflow, Bench] = {
    Workflow.DEMONSTRATIONS: DEMONSTRATIONS,
    Workflow.RANKINGS: RANKINGS,
    Workflow.EDITS: EDITS,
}
