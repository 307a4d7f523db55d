"""What exports need to know about one workflow. Each module of exports/rows that is named after a workflow has one."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Protocol

from django.db.models import Model, Q, QuerySet
from django.utils.functional import Promise

from annotate.work.actions import settle
from annotate.work.models import Assignment
from exports.agreement.measure import Ranked
from exports.rows.about import Names
from exports.schema import Row, TrainingFile


class FindAnswers(Protocol):
    """The answers among `exported` that give rows, in the order in which the rows are written."""

    def __call__(self, *, exported: QuerySet[Assignment]) -> QuerySet[Model]: ...


class MakeRows(Protocol):
    """The rows of these answers, of all their files; those of one answer together. Reads a chunk at a time."""

    def __call__(self, *, exported: QuerySet[Assignment], names: Names) -> Iterator[Sequence[Row]]: ...


class FindRanked(Protocol):
    """The answers among `judged` to tasks that at least two people answered, those of a task together."""

    def __call__(self, *, judged: QuerySet[Assignment]) -> Iterator[Ranked]: ...


class Settle(Protocol):
    """Fix the answers that were submitted by `now`, so that an export can read them. See work.actions.settle."""

    def __call__(self, *, campaigns: Iterable[int], now: datetime) -> None: ...


@dataclass(frozen=True)
class Statistic:
    """A number of the manifest, for each side of the split: the rows of a file, or the sum of one of its columns."""

    name: str
    file: TrainingFile
    column: str = ""


@dataclass(frozen=True)
class Reason:
    """Why an accepted answer gives no row. `condition` selects such answers; `label` names them on pages."""

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
    # Shown for a campaign without answers; contains %(name)s.
    unanswered: Promise
    reasons: tuple[Reason, ...] = ()
    # Answers in quarantine, in addition to those whose task has a prompt in quarantine.
    quarantined: Q = field(default_factory=Q)
    settle: Settle = settle
    # None: agreement is not measured.
    ranked: FindRanked | None = None
    # Further facts about the files, for the manifest.
    facts: Mapping[str, str] = field(default_factory=dict)
