"""Demonstrations as the desk and the studio see them."""

from datetime import datetime
from uuid import UUID

from django.http import QueryDict

from annotate.accounts.models import User
from annotate.demonstrations import actions, queries
from annotate.demonstrations.forms import DemonstrationForm
from annotate.demonstrations.rules import MAX_CHARACTERS, length
from annotate.work.filling import add_tasks
from annotate.work.models import Assignment, Campaign
from annotate.work.queries import without_task
from annotate.work.submitting import Submission
from annotate.work.workflow import BadAnswer, Bench, Context

# One statement makes so many tasks with their slots in about a second; the caller goes on until none is missing.
FILL_BATCH = 10_000


def fill(campaign: Campaign, now: datetime) -> int:
    missing = without_task(campaign, queries.prompts_of(campaign), FILL_BATCH)
    return len(add_tasks(campaign=campaign, prompts=missing, now=now))


def show(assignment: Assignment, labeler: User, draft: QueryDict | None, now: datetime) -> Context:
    if draft is not None:
        return _part(DemonstrationForm(initial={"text": draft.get("text", "")}))
    earlier = queries.written(assignment.id, labeler) if assignment.rounds else None
    return _part(DemonstrationForm(initial={"text": earlier.text if earlier else ""}))


def submit(assignment_id: int, labeler: User, data: QueryDict, submit_key: UUID, now: datetime) -> Submission:
    form = DemonstrationForm(data)
    if not form.is_valid():
        raise BadAnswer(_part(form))
    return actions.submit(
        assignment_id=assignment_id,
        labeler=labeler,
        text=form.cleaned_data["text"],
        submit_key=submit_key,
        now=now,
    )


def undo(assignment_id: int, labeler: User, now: datetime) -> Assignment:
    return actions.undo(assignment_id=assignment_id, labeler=labeler, now=now)


def accept(assignment_id: int, reviewer: User, comment: str, now: datetime) -> Assignment:
    return actions.accept(assignment_id=assignment_id, reviewer=reviewer, comment=comment, now=now)


def answer(assignment: Assignment) -> Context:
    text = assignment.demonstration.text
    return {"text": text, "length": length(text)}


def _part(form: DemonstrationForm) -> Context:
    return {"form": form, "length": length(form["text"].value() or ""), "most": MAX_CHARACTERS}


BENCH = Bench(
    prompts=queries.prompts_of,
    fill=fill,
    readmit=lambda campaign, prompts: queries.prompts_of(campaign).filter(id__in=prompts),
    task_part="demonstrations/_task.html",
    show=show,
    submit=submit,
    undo=undo,
    accept=accept,
    answer_part="demonstrations/_answer.html",
    answer=answer,
)
