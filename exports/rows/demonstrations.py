from collections.abc import Iterator, Sequence

from django.db.models import QuerySet
from django.utils.translation import gettext_lazy as _

from annotate.demonstrations.models import Demonstration
from annotate.work.models import Assignment
from exports.rows import sft
from exports.rows.about import CHUNK, UNREAD, Names, about_answer, about_prompt, messages, prompt_of
from exports.rows.sft import SftRow
from exports.schema import Row, assistant
from exports.workflow import WorkflowExport


def answers(*, exported: QuerySet[Assignment]) -> QuerySet[Demonstration]:
    """Ordered by prompt, so that equal data gives equal files and the rows of a prompt are adjacent."""
    return (
        Demonstration.objects.filter(assignment__in=exported)
        .select_related("assignment__task__prompt__group")
        .defer(*UNREAD)
        .order_by("assignment__task__prompt_id", "assignment_id")
    )


def rows(*, exported: QuerySet[Assignment], names: Names) -> Iterator[Sequence[Row]]:
    for demonstration in answers(exported=exported).iterator(CHUNK):
        assignment = demonstration.assignment
        prompt = prompt_of(assignment)
        yield [
            SftRow(
                prompt=messages(prompt),
                completion=assistant(demonstration.text),
                example="demonstration",
                split=prompt.group.split,
                about_prompt=about_prompt(prompt),
                about_answer=about_answer(assignment, names),
            )
        ]


EXPORT = WorkflowExport(
    key="demonstrations",
    files=(sft.FILE,),
    statistics=(sft.STATISTIC,),
    answers=answers,
    rows=rows,
    contents=_("SFT: accepted demonstrations."),
    unanswered=_("“%(name)s” has no answers yet."),
)
