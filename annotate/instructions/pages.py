"""The parts of pages about an instruction: its form, and what it changes in the prompt it rewrites."""

from annotate.instructions import queries
from annotate.instructions.forms import InstructionForm
from annotate.instructions.models import Instruction
from annotate.instructions.queries import Wanted
from annotate.instructions.rules import Text, filled_pairs
from annotate.lib.diff import Piece, word_diff
from annotate.lib.text import tidy
from annotate.pools.rules import MAX_PROMPT_LENGTH
from annotate.work.models import Task
from annotate.work.workflow import Context, Typed


def changes(task: Task, data: Typed) -> Context:
    """What the text typed so far changes in the prompt it rewrites, as `changes_in`."""
    wanted = queries.wanted(task)
    return changes_in(wanted, form_for(wanted, initial=typed_values(data)))


def changes_in(wanted: Wanted, form: InstructionForm) -> Context:
    """`pieces`: None where a new prompt is written, or where `too_long` to be compared."""
    too_long = form.characters > MAX_PROMPT_LENGTH
    return {"pieces": None if too_long else compare(wanted, _whole(form)), "too_long": too_long}


def compare(wanted: Wanted, text: Text) -> list[Piece] | None:
    return word_diff(str(wanted.source.text), str(text)) if wanted.source else None


def form_for(wanted: Wanted, data: Typed | None = None, *, initial: Context | None = None) -> InstructionForm:
    return InstructionForm(data, kind=wanted.kind, source=wanted.source, initial=initial)


def part(wanted: Wanted, form: InstructionForm) -> Context:
    return {"form": form, "brief": wanted.brief, "source": wanted.source, **changes_in(wanted, form)}


def _whole(form: InstructionForm) -> Text:
    return Text(tidy(form["text"].value() or ""), tuple(form.pairs))


def typed_values(data: Typed) -> Context:
    """A form's initial values out of what was typed, complete or not."""
    return {
        "text": data.get("text", ""),
        "category": data.get("category", ""),
        "reasons": data.getlist("reasons"),
        "note": data.get("note", ""),
        "pairs": filled_pairs(data.getlist("query"), data.getlist("response")),
    }


def stored(instruction: Instruction) -> Context:
    return {name: getattr(instruction, name) for name in ("text", "category", "reasons", "note", "pairs")}


def untouched(wanted: Wanted) -> Context:
    """A rewriting starts from its source."""
    if wanted.source is None:
        return {}
    text = wanted.source.text
    return {"text": text.instruction, "pairs": list(text.pairs), "category": wanted.source.category}
