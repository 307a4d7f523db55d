"""Rankings of a campaign as plain answers, and the groups of people and guideline versions they are compared within."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import groupby

from django.db import models
from django.db.models import Count, QuerySet
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from annotate.accounts.models import Cohort, User
from annotate.lib.refusals import Refusal
from annotate.lib.streaming import streaming
from annotate.rankings.models import Placing
from annotate.work.models import Assignment, Campaign
from annotate.work.states import State
from annotate.workflows.table import workflow_of
from exports.agreement.measure import Agreement, Answer, PairAgreement, by_pair, measure
from exports.agreement.pairs import TieRule
from exports.queries import exportable_answers, unanswered

# A submitted answer is somebody's judgement, whatever a reviewer will say; one that was sent back is being redone.
JUDGED = (State.SUBMITTED, State.ACCEPTED)


class Covered(models.TextChoices):
    """Which rankings are compared. By default those that an export contains, so that the numbers are about these."""

    EXPORTED = "exported", gettext_lazy("those that an export contains")
    HELD_OUT = "held-out", gettext_lazy("accepted ones of held-out labelers")
    ALL = "all", gettext_lazy("all that are submitted, reviewed or not")


@dataclass(frozen=True)
class Ranked:
    """An answer with what it is cut by."""

    answer: Answer
    cohort: str
    version: int


@dataclass(frozen=True)
class Cut:
    """Agreement within one group of answers; both answers of every comparison are in it."""

    name: str
    agreement: Agreement


@dataclass(frozen=True)
class Report:
    """`nothing` says why there is nothing to compare, and what to do; "" where there is something."""

    campaign: Campaign
    rule: TieRule
    covered: Covered
    nothing: str
    cuts: list[Cut]
    labeler_pairs: list[tuple[str, str, PairAgreement]]

    @property
    def whole(self) -> Agreement:
        return self.cuts[0].agreement


def ranking_campaigns() -> QuerySet[Campaign]:
    """Newest first."""
    return Campaign.objects.filter(workflow="rankings").order_by("-created_at", "-id")


class NoRankings(Refusal):
    """The campaign is of another kind; the message says of which."""


def ranking_campaign(campaign: Campaign) -> Campaign:
    """The campaign itself, if it is one of rankings. Raises NoRankings."""
    if campaign.workflow != "rankings":
        raise NoRankings(
            _("“%(name)s” is not a ranking campaign (kind of work: %(kind)s). Agreement is measured on rankings.")
            % {"name": campaign.name, "kind": workflow_of(campaign).label}
        )
    return campaign


def report(*, campaign: Campaign, rule: TieRule, covered: Covered = Covered.EXPORTED) -> Report:
    """Agreement over the rankings that are covered, within each cohort and each guideline version, and of each two
    labelers."""
    with streaming():
        found = list(ranked(campaign, covered))
    pairs = by_pair([one.answer for one in found], rule=rule)
    people = User.objects.in_bulk({person for pair in pairs for person in (pair.first, pair.second)})
    return Report(
        campaign=campaign,
        rule=rule,
        covered=covered,
        nothing="" if found else why_nothing(campaign, covered),
        cuts=[Cut(name, measure(answers, rule=rule)) for name, answers in cuts(found)],
        labeler_pairs=[(people[pair.first].name, people[pair.second].name, pair) for pair in pairs],
    )


def why_nothing(campaign: Campaign, covered: Covered) -> str:
    """Why no two rankings can be compared, and what to do."""
    if reason := unanswered(campaign):
        return reason
    said = {"name": campaign.name, "covered": covered.label}
    if not answers(campaign, covered).exists():
        words = _(
            "“%(name)s” has rankings, but not of the kind you chose (%(covered)s). Choose another kind, or wait until"
            " they are reviewed."
        )
    elif campaign.overlap == 1:
        words = _(
            "No prompt of “%(name)s” has been ranked by two labelers. Set its answers per task to two or more, and"
            " rankings of the same completions can be compared."
        )
    else:
        words = _(
            "No prompt of “%(name)s” has been ranked by two labelers yet. Rankings can be compared as soon as two"
            " labelers have ranked the same completions."
        )
    return words % said


def cuts(found: list[Ranked]) -> Iterator[tuple[str, list[Answer]]]:
    """Everybody; then each cohort and each guideline version that is not everybody again."""
    yield _("All labelers"), [one.answer for one in found]
    cohorts = {one.cohort for one in found}
    for cohort in Cohort:
        if cohort in cohorts and len(cohorts) > 1:
            yield _("Cohort: %(name)s") % {"name": cohort.label}, [one.answer for one in found if one.cohort == cohort]
    versions = {one.version for one in found}
    for version in sorted(versions):
        if len(versions) > 1:
            name = _("Guideline version %(number)d") % {"number": version}
            yield name, [one.answer for one in found if one.version == version]


def answers(campaign: Campaign, covered: Covered) -> QuerySet[Assignment]:
    match covered:
        case Covered.EXPORTED:
            return exportable_answers([campaign])
        case Covered.HELD_OUT:
            accepted = Assignment.objects.filter(campaign=campaign, state=State.ACCEPTED)
            return accepted.filter(labeler__cohort=Cohort.HELD_OUT)
        case Covered.ALL:
            return Assignment.objects.filter(campaign=campaign, state__in=JUDGED)


def ranked(campaign: Campaign, covered: Covered = Covered.EXPORTED) -> Iterator[Ranked]:
    """Rankings of tasks that at least two people ranked, a task's together. One query, streamed."""
    judged = answers(campaign, covered)
    shared = judged.values("task").annotate(answers=Count("id")).filter(answers__gte=2).values("task")
    placings = (
        Placing.objects.filter(ranking__assignment__in=judged.filter(task__in=shared))
        .order_by("ranking__assignment__task", "ranking__assignment", "candidate")
        .values_list(
            "ranking__assignment",
            "ranking__assignment__task",
            "ranking__assignment__task__prompt",
            "ranking__assignment__labeler",
            "ranking__assignment__labeler__cohort",
            "ranking__assignment__guideline_version__number",
            "rank",
            "rating",
        )
    )
    for _assignment, slate in groupby(placings.iterator(5000), key=lambda placing: placing[0]):
        rows = list(slate)
        _id, task, prompt, labeler, cohort, version, _rank, _rating = rows[0]
        answer = Answer(task, prompt, labeler, tuple(row[6] for row in rows), tuple(row[7] for row in rows))
        yield Ranked(answer, cohort, version)
