"""Instructions as the desk and the studio see them."""

from datetime import datetime
from uuid import UUID

from django.db.models import QuerySet
from django.http import QueryDict

from annotate.accounts.models import User
from annotate.edits import actions, queries
from annotate.edits.forms import InstructionForm
from annotate.edits.models import Instruction, Reason
from annotate.edits.queries import Wanted
from annotate.edits.rules import Text, filled_pairs
from annotate.lib.diff import Piece, word_diff
from annotate.lib.text import tidy
from annotate.pools.models import Prompt
from annotate.pools.rules import MAX_PROMPT_LENGTH
from annotate.work.actions import add_tasks
from annotate.work.leases import Submission
from annotate.work.models import Assignment, Campaign, Task
from annotate.work.queries import without_task
from annotate.work.workflow import BadAnswer, Bench, Context

FILL_BATCH = 10_000


def fill(campaign: Campaign, now: datetime) -> int:
    """Tasks for the pool's prompts; those for new instructions come from the managers' briefs (actions.add_briefs)."""
    if not campaign.rewrite_pool:
        return 0
    missing = without_task(campaign, queries.prompts_of(campaign), FILL_BATCH)
    return len(add_tasks(campaign=campaign, prompts=missing, now=now))


def readmit(campaign: Campaign, prompts: list[int]) -> QuerySet[Prompt] | None:
    return queries.prompts_of(campaign).filter(id__in=prompts) if campaign.rewrite_pool else None


def show(assignment: Assignment, labeler: User, draft: QueryDict | None, now: datetime) -> Context:
    wanted = queries.wanted(assignment.task)
    if draft is not None:
        return _part(wanted, _form(wanted, initial=_typed(draft)))
    earlier = queries.written(assignment.id, labeler) if assignment.rounds else None
    return _part(wanted, _form(wanted, initial=_stored(earlier) if earlier else _untouched(wanted)))


def submit(assignment_id: int, labeler: User, data: QueryDict, submit_key: UUID, now: datetime) -> Submission:
    wanted = queries.wanted(Task.objects.select_related("prompt").get(assignments=assignment_id))
    if "more_pairs" in data:
        # Without JavaScript the button that adds a pair sends the form.
        raise BadAnswer(_part(wanted, _form(wanted, initial=_typed(data))))
    form = _form(wanted, data)
    if not form.is_valid():
        raise BadAnswer(_part(wanted, form))
    return actions.submit(
        assignment_id=assignment_id,
        labeler=labeler,
        kind=wanted.kind,
        text=form.cleaned_data["whole"],
        category=form.cleaned_data["category"],
        reasons=form.cleaned_data.get("reasons", []),
        note=form.cleaned_data["note"],
        submit_key=submit_key,
        now=now,
    )


def undo(assignment_id: int, labeler: User, now: datetime) -> Assignment:
    return actions.undo(assignment_id=assignment_id, labeler=labeler, now=now)


def accept(assignment_id: int, reviewer: User, comment: str, now: datetime) -> Assignment:
    return actions.accept(assignment_id=assignment_id, reviewer=reviewer, comment=comment, now=now)


def answer(assignment: Assignment) -> Context:
    instruction = assignment.instruction
    wanted = queries.wanted(assignment.task)
    # The labeler reads this page too. What became of the instruction before a reviewer decided would tell them that the
    # answer was not drawn for review.
    prompt = instruction.prompt if assignment.decided_by_id else None
    return {
        "instruction": instruction,
        "refusal": instruction.refusal if assignment.decided_by_id else "",
        "quarantined": prompt.get_quarantine_reason_display() if prompt and prompt.quarantined_at else "",
        "brief": wanted.brief,
        "reasons": [Reason(code).label for code in instruction.reasons],
        "pieces": compare(wanted, Text(instruction.text, tuple(instruction.pairs))),
    }


def changes(task: Task, data: QueryDict) -> Context:
    """What the text typed so far changes in the prompt it rewrites, as `_changes`."""
    wanted = queries.wanted(task)
    return _changes(wanted, _form(wanted, initial=_typed(data)))


def _changes(wanted: Wanted, form: InstructionForm) -> Context:
    """`pieces`: None where a new prompt is written, or where `too_long` to be compared."""
    too_long = form.characters > MAX_PROMPT_LENGTH
    return {"pieces": None if too_long else compare(wanted, _whole(form)), "too_long": too_long}


def compare(wanted: Wanted, text: Text) -> list[Piece] | None:
    return word_diff(str(wanted.source.text), str(text)) if wanted.source else None


def _form(wanted: Wanted, data: QueryDict | None = None, *, initial: Context | None = None) -> InstructionForm:
    return InstructionForm(data, kind=wanted.kind, source=wanted.source, initial=initial)


def _part(wanted: Wanted, form: InstructionForm) -> Context:
    return {"form": form, "brief": wanted.brief, "source": wanted.source, **_changes(wanted, form)}


def _whole(form: InstructionForm) -> Text:
    return Text(tidy(form["text"].value() or ""), tuple(form.pairs))


def _typed(data: QueryDict) -> Context:
    """A form's initial values out of what was typed, complete or not."""
    return {
        "text": data.get("text", ""),
        "category": data.get("category", ""),
        "reasons": data.getlist("reasons"),
        "note": data.get("note", ""),
        "pairs": filled_pairs(data.getlist("query"), data.getlist("response")),
    }


def _stored(instruction: Instruction) -> Context:
    return {name: getattr(instruction, name) for name in ("text", "category", "reasons", "note", "pairs")}


def _untouched(wanted: Wanted) -> Context:
    """A rewriting starts from its source."""
    if wanted.source is None:
        return {}
    text = wanted.source.text
    return {"text": text.instruction, "pairs": list(text.pairs), "category": wanted.source.category}


BENCH = Bench(
    prompts=lambda campaign: queries.prompts_of(campaign) if campaign.rewrite_pool else None,
    fill=fill,
    readmit=readmit,
    task_part="edits/_task.html",
    show=show,
    submit=submit,
    undo=undo,
    accept=accept,
    answer_part="edits/_answer.html",
    answer=answer,
)
