"""What exports need to know about a workflow."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Protocol

from django.db.models import Model, Q, QuerySet
from django.utils.functional import Promise

from annotate.work.campaigns import settle
from annotate.work.models import Assignment
from exports.agreement.measure import Ranked
from exports.rows.about import Names
from exports.schema import Row, TrainingFile


class FindAnswers(Protocol):
    """Those that give rows, in the order of the rows."""

    def __call__(self, *, exported: QuerySet[Assignment]) -> QuerySet[Model]: ...


class MakeRows(Protocol):
    """Reads a chunk at a time."""

    def __call__(self, *, exported: QuerySet[Assignment], names: Names) -> Iterator[Sequence[Row]]: ...


class FindRanked(Protocol):
    """The answers among `judged` to tasks with two or more answers, task by task."""

    def __call__(self, *, judged: QuerySet[Assignment]) -> Iterator[Ranked]: ...


class Settle(Protocol):
    """See work.campaigns.settle."""

    def __call__(self, *, campaigns: Iterable[int], now: datetime) -> None: ...


@dataclass(frozen=True)
class Statistic:
    """A number of the manifest: the rows of a file, or the sum of a column."""

    name: str
    file: TrainingFile
    label: Promise
    column: str = ""


@dataclass(frozen=True)
class Reason:
    """Why an accepted answer gives no row. `condition` selects such answers."""

    name: str
    label: Promise
    condition: Q


@dataclass(frozen=True, kw_only=True)
class WorkflowExport:
    # The value of Campaign.workflow.
    key: str
    files: tuple[TrainingFile, ...]
    statistics: tuple[Statistic, ...]
    answers: FindAnswers
    rows: MakeRows
    # What the export page says about the rows.
    contents: Promise
    # Contains %(name)s, the campaign.
    unanswered: Promise
    reasons: tuple[Reason, ...] = ()
    # In addition to answers whose task has a prompt in quarantine.
    quarantined: Q = field(default_factory=Q)
    settle: Settle = settle
    # None: no agreement.
    ranked: FindRanked | None = None
    facts: Mapping[str, str] = field(default_factory=dict)
