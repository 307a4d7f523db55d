"""Labelers rewrite prompts of a pool, or write new ones for a manager's briefs."""

from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from uuid import UUID

from django.db.models import QuerySet
from django.utils.translation import gettext_lazy as _

from annotate.accounts.models import Cohort, User
from annotate.instructions import actions, queries, views
from annotate.instructions.forms import InstructionForm, InstructionSettingsForm
from annotate.instructions.models import Instruction, InstructionSettings, Reason
from annotate.instructions.pages import compare, form_for, part, source_values, stored_values, typed_values
from annotate.instructions.rules import Text
from annotate.instructions.serializers import InstructionSettingsSerializer
from annotate.pools.actions import create_pool
from annotate.pools.models import Kind, Pool, Prompt
from annotate.work.filling import add_tasks
from annotate.work.models import Assignment, Campaign, Task
from annotate.work.queries import without_task
from annotate.work.states import CampaignState
from annotate.work.submitting import Submission
from annotate.work.workflow import BadAnswer, Context, DemoCampaign, Part, Typed, Words, Workflow, faults

FILL_BATCH = 10_000
DEMO_USE_CASES = (
    "A small bakery answers its customers' messages.",
    "A teacher turns a page of a textbook into questions for a class of twelve-year-olds.",
)


class Instructions(Workflow):
    key = "instructions"
    label = _("Instructions")
    description = _(
        "Labelers rewrite the prompts of a pool, or write new instructions that you ask for: plain, few-shot, or for a"
        " use case. Accepted instructions become prompts."
    )
    untitled = _("New instruction")
    settings_model = InstructionSettings
    settings_form = InstructionSettingsForm
    settings_serializer = InstructionSettingsSerializer
    task_template = "instructions/_task.html"
    answer_template = "instructions/_answer.html"
    task_urls = views.task_urlpatterns
    campaign_urls = views.campaign_urlpatterns

    def prompts(self, *, campaign: Campaign) -> QuerySet[Prompt] | None:
        return queries.prompts_of(campaign) if campaign.instructionsettings.rewrite_pool else None

    def fill(self, *, campaign: Campaign, now: datetime) -> int:
        """Create tasks for the pool's prompts. `actions.add_briefs` creates those of briefs."""
        if not campaign.instructionsettings.rewrite_pool:
            return 0
        missing = without_task(campaign, queries.prompts_of(campaign), FILL_BATCH)
        return len(add_tasks(campaign=campaign, prompts=missing, now=now))

    def readmit(self, *, campaign: Campaign, prompts: list[int]) -> QuerySet[Prompt] | None:
        pool = self.prompts(campaign=campaign)
        return None if pool is None else pool.filter(id__in=prompts)

    def heading(self, *, task: Task) -> Words:
        return _("Rewrite the prompt") if task.prompt_id else _("Write a new instruction")

    def show(self, *, assignment: Assignment, labeler: User, draft: Typed | None, now: datetime) -> Context:
        request = queries.request_of(assignment.task)
        if draft is not None:
            return part(request, form_for(request, initial=typed_values(draft)))
        earlier = queries.earlier_instruction(assignment.id, labeler) if assignment.rounds else None
        return part(request, form_for(request, initial=stored_values(earlier) if earlier else source_values(request)))

    def submit(self, *, assignment_id: int, labeler: User, typed: Typed, submit_key: UUID, now: datetime) -> Submission:
        request = queries.request_of(Task.objects.select_related("prompt").get(assignments=assignment_id))
        if "more_pairs" in typed:
            # Without JavaScript, the button that adds a pair sends the form.
            raise BadAnswer(part(request, form_for(request, initial=typed_values(typed))), "")
        form: InstructionForm = form_for(request, typed)
        if not form.is_valid():
            raise BadAnswer(part(request, form), faults(form))
        return actions.submit(
            assignment_id=assignment_id,
            labeler=labeler,
            kind=request.kind,
            text=form.cleaned_data["whole"],
            category=form.cleaned_data["category"],
            reasons=form.cleaned_data.get("reasons", []),
            note=form.cleaned_data["note"],
            submit_key=submit_key,
            now=now,
        )

    undo = staticmethod(actions.undo)
    accept = staticmethod(actions.accept)

    def titles(self, *, assignments: Sequence[Assignment]) -> dict[int, str]:
        written = Instruction.objects.filter(assignment__in=assignments)
        return dict(written.values_list("assignment", "text"))

    def answer(self, *, assignment: Assignment) -> Context:
        instruction = assignment.instruction
        request = queries.request_of(assignment.task)
        # Labelers read this page too. Before a decision, the prompt would reveal that nobody reviews the answer.
        prompt = instruction.prompt if assignment.decided_by_id else None
        return {
            "instruction": instruction,
            "refusal": instruction.refusal if assignment.decided_by_id else "",
            "quarantined": prompt.get_quarantine_reason_display() if prompt and prompt.quarantined_at else "",
            "brief": request.brief,
            "reasons": [Reason(code).label for code in instruction.reasons],
            "pieces": compare(request, Text(instruction.text, tuple(instruction.pairs))),
        }

    def settings_part(self, *, campaign: Campaign) -> Part:
        return Part("instructions/_settings.html", {"instruction_settings": campaign.instructionsettings})

    def campaign_part(self, *, campaign: Campaign) -> Part | None:
        if campaign.state == CampaignState.CLOSED:
            return None
        return Part("instructions/_briefs.html", views.about_briefs(campaign))

    def progress_part(self, *, campaign: Campaign) -> Part | None:
        return None if campaign.instructionsettings.rewrite_pool else Part("instructions/_progress.html")

    def demo(self, *, pool: Pool, now: datetime) -> DemoCampaign:
        target = Pool.objects.filter(name="Instructions by labelers").first() or create_pool(
            name="Instructions by labelers", description="Accepted instructions of the demonstration.", now=now
        )
        return DemoCampaign(
            name="Write instructions",
            guideline="Writing instructions",
            guideline_text=Path(__file__).parent / "demo_guideline.md",
            columns={"review_percent": 100, "cohorts": [Cohort.TRAINING]},
            settings={"target_pool": target},
        )

    def fill_demo(self, *, campaign: Campaign, now: datetime) -> None:
        """Add briefs of every kind, so that labelers see them before the pool's prompts."""
        actions.add_briefs(campaign=campaign, kind=Kind.PLAIN, count=1, now=now)
        actions.add_briefs(campaign=campaign, kind=Kind.FEW_SHOT, count=1, now=now)
        actions.add_briefs(campaign=campaign, kind=Kind.USER_BASED, use_cases=DEMO_USE_CASES, now=now)


INSTRUCTIONS = Instructions()
