"""K supervised examples for each accepted few-shot instruction with K query/response pairs."""

from collections.abc import Iterator, Sequence
from typing import cast

from django.db.models import F, Q, QuerySet
from django.utils.translation import gettext_lazy as _

from annotate.instructions.actions import settle
from annotate.instructions.models import Instruction
from annotate.pools.models import Kind, Prompt
from annotate.pools.rules import Shots, shot_examples
from annotate.work.models import Assignment
from exports.rows import sft
from exports.rows.about import CHUNK, Names, about_answer, about_prompt
from exports.rows.sft import SftRow
from exports.schema import Row, assistant
from exports.workflow import Reason, WorkflowExport


def answers(*, exported: QuerySet[Assignment]) -> QuerySet[Instruction]:
    """Instructions that became prompts and have query/response pairs, ordered by that prompt."""
    return (
        Instruction.objects.filter(assignment__in=exported, prompt__shots__isnull=False)
        .select_related("assignment", "prompt__group")
        .defer("prompt__search", "prompt__text")
        .order_by("prompt_id")
    )


def rows(*, exported: QuerySet[Assignment], names: Names) -> Iterator[Sequence[Row]]:
    """Each pair in turn is the query to answer, with the other K - 1 pairs before it."""
    for instruction in answers(exported=exported).iterator(CHUNK):
        prompt = cast(Prompt, instruction.prompt)  # `answers` selects those that have both
        shots = cast(Shots, prompt.shots)
        yield [
            SftRow(
                prompt=[{"role": "user", "content": text}],
                completion=assistant(response),
                example="few_shot",
                split=prompt.group.split,
                about_prompt=about_prompt(prompt),
                about_answer=about_answer(instruction.assignment, names),
            )
            for text, response in shot_examples(shots)
        ]


EXPORT = WorkflowExport(
    key="instructions",
    files=(sft.FILE,),
    statistics=(sft.STATISTIC,),
    answers=answers,
    rows=rows,
    contents=_("SFT: K examples of each accepted few-shot instruction with K query/response pairs."),
    unanswered=_("“%(name)s” has no answers yet."),
    reasons=(
        Reason(
            "instruction_only",
            _("instructions without query/response pairs: prompts now, not examples"),
            Q(instruction__isnull=False) & ~Q(instruction__kind=Kind.FEW_SHOT),
        ),
        Reason(
            "instruction_without_prompt",
            _("few-shot instructions that became no prompt"),
            # An instruction that is not settled and not refused becomes a prompt when the export starts.
            (~Q(instruction__refusal="") | Q(submitted_at__lte=F("campaign__settled_at")))
            & Q(instruction__prompt=None, instruction__isnull=False),
        ),
    ),
    quarantined=Q(instruction__prompt__quarantined_at__isnull=False),
    settle=settle,
)
