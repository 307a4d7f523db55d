"""The demonstrations workflow: labelers write the answer that the model should give to a prompt."""

from datetime import datetime
from pathlib import Path
from uuid import UUID

from django.db.models import QuerySet
from django.utils.translation import gettext_lazy as _

from annotate.accounts.models import Cohort, User
from annotate.demonstrations import actions, queries
from annotate.demonstrations.forms import DemonstrationForm
from annotate.demonstrations.rules import MAX_CHARACTERS, length
from annotate.pools.models import Pool, Prompt
from annotate.work.filling import add_tasks
from annotate.work.models import Assignment, Campaign, Task
from annotate.work.queries import without_task
from annotate.work.review import accept
from annotate.work.submitting import Submission
from annotate.work.workflow import BadAnswer, Context, DemoCampaign, Typed, Words, Workflow, faults

# One statement creates this many tasks with their slots in about a second.
FILL_BATCH = 10_000


class Demonstrations(Workflow):
    key = "demonstrations"
    label = _("Demonstrations")
    description = _(
        "Labelers write the answer that the model should have given to each prompt of a pool. Used for supervised"
        " fine-tuning (SFT)."
    )
    task_template = "demonstrations/_task.html"
    answer_template = "demonstrations/_answer.html"

    def prompts(self, *, campaign: Campaign) -> QuerySet[Prompt]:
        return queries.prompts_of(campaign)

    def fill(self, *, campaign: Campaign, now: datetime) -> int:
        missing = without_task(campaign, queries.prompts_of(campaign), FILL_BATCH)
        return len(add_tasks(campaign=campaign, prompts=missing, now=now))

    def readmit(self, *, campaign: Campaign, prompts: list[int]) -> QuerySet[Prompt]:
        return queries.prompts_of(campaign).filter(id__in=prompts)

    def heading(self, *, task: Task) -> Words:
        return _("Write the answer")

    def show(self, *, assignment: Assignment, labeler: User, draft: Typed | None, now: datetime) -> Context:
        if draft is not None:
            return _part(DemonstrationForm(initial={"text": draft.get("text", "")}))
        earlier = queries.earlier_answer(assignment.id, labeler) if assignment.rounds else None
        return _part(DemonstrationForm(initial={"text": earlier.text if earlier else ""}))

    def submit(self, *, assignment_id: int, labeler: User, typed: Typed, submit_key: UUID, now: datetime) -> Submission:
        form = DemonstrationForm(typed)
        if not form.is_valid():
            raise BadAnswer(_part(form), faults(form))
        return actions.submit(
            assignment_id=assignment_id,
            labeler=labeler,
            text=form.cleaned_data["text"],
            submit_key=submit_key,
            now=now,
        )

    undo = staticmethod(actions.undo)
    accept = staticmethod(accept)

    def answer(self, *, assignment: Assignment) -> Context:
        text = assignment.demonstration.text
        return {"text": text, "length": length(text)}

    def demo(self, *, pool: Pool, now: datetime) -> DemoCampaign:
        return DemoCampaign(
            name="Write answers",
            guideline="Writing answers",
            guideline_text=Path(__file__).parent / "demo_guideline.md",
            columns={"review_percent": 20, "cohorts": [Cohort.TRAINING]},
        )


def _part(form: DemonstrationForm) -> Context:
    return {"form": form, "length": length(form["text"].value() or ""), "most": MAX_CHARACTERS}


DEMONSTRATIONS = Demonstrations()
