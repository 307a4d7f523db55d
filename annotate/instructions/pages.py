"""Contexts for an instruction: its form and its comparison with the source."""

from annotate.instructions import queries
from annotate.instructions.forms import InstructionForm
from annotate.instructions.models import Instruction
from annotate.instructions.queries import Request
from annotate.instructions.rules import Text, filled_pairs
from annotate.lib.diff import Piece, word_diff
from annotate.lib.text import tidy
from annotate.pools.rules import MAX_PROMPT_LENGTH
from annotate.work.models import Task
from annotate.work.workflow import Context, Typed


def changes(task: Task, data: Typed) -> Context:
    task_request = queries.request_of(task)
    return changes_in(task_request, form_for(task_request, initial=typed_values(data)))


def changes_in(task_request: Request, form: InstructionForm) -> Context:
    """`pieces`: None for a new instruction, and for a text that is `too_long` to compare."""
    too_long = form.characters > MAX_PROMPT_LENGTH
    return {"pieces": None if too_long else compare(task_request, _whole(form)), "too_long": too_long}


def compare(task_request: Request, text: Text) -> list[Piece] | None:
    return word_diff(str(task_request.source.text), str(text)) if task_request.source else None


def form_for(task_request: Request, data: Typed | None = None, *, initial: Context | None = None) -> InstructionForm:
    return InstructionForm(data, kind=task_request.kind, source=task_request.source, initial=initial)


def part(task_request: Request, form: InstructionForm) -> Context:
    return {"form": form, "brief": task_request.brief, "source": task_request.source, **changes_in(task_request, form)}


def _whole(form: InstructionForm) -> Text:
    return Text(tidy(form["text"].value() or ""), tuple(form.pairs))


def typed_values(data: Typed) -> Context:
    """Initial values from typed data, which may be incomplete."""
    return {
        "text": data.get("text", ""),
        "category": data.get("category", ""),
        "reasons": data.getlist("reasons"),
        "note": data.get("note", ""),
        "pairs": filled_pairs(data.getlist("query"), data.getlist("response")),
    }


def stored_values(instruction: Instruction) -> Context:
    return {name: getattr(instruction, name) for name in ("text", "category", "reasons", "note", "pairs")}


def source_values(task_request: Request) -> Context:
    """Initial values of an edit. Empty for a new instruction."""
    if task_request.source is None:
        return {}
    text = task_request.source.text
    return {"text": text.instruction, "pairs": list(text.pairs), "category": task_request.source.category}
