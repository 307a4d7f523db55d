"""Rankings of a campaign as plain answers, and the groups of people and guideline versions they are compared within."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import groupby

from django.db.models import Count, QuerySet
from django.utils.translation import gettext as _

from annotate.accounts.models import Cohort, User
from annotate.rankings.models import Placing
from annotate.work.models import Assignment, Campaign, Workflow
from annotate.work.states import State
from exports.agreement.measure import Agreement, Answer, PairAgreement, by_pair, measure
from exports.agreement.pairs import TieRule

# A submitted answer is somebody's judgement, whatever a reviewer will say; one that was sent back is being redone.
JUDGED = (State.SUBMITTED, State.ACCEPTED)


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
    campaign: Campaign
    rule: TieRule
    cuts: list[Cut]
    labeler_pairs: list[tuple[str, str, PairAgreement]]

    @property
    def whole(self) -> Agreement:
        return self.cuts[0].agreement


def ranking_campaigns() -> QuerySet[Campaign]:
    """Newest first."""
    return Campaign.objects.filter(workflow=Workflow.RANKINGS).order_by("-created_at", "-id")


def report(*, campaign: Campaign, rule: TieRule) -> Report:
    """Agreement over all its rankings, within each cohort and each guideline version, and of each two labelers."""
    found = list(ranked(campaign))
    pairs = by_pair([one.answer for one in found], rule=rule)
    people = User.objects.in_bulk({person for pair in pairs for person in (pair.first, pair.second)})
    return Report(
        campaign=campaign,
        rule=rule,
        cuts=[Cut(name, measure(answers, rule=rule)) for name, answers in cuts(found)],
        labeler_pairs=[(people[pair.first].name, people[pair.second].name, pair) for pair in pairs],
    )


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


def ranked(campaign: Campaign) -> Iterator[Ranked]:
    """Rankings of tasks that at least two people ranked, a task's together. One query, streamed."""
    judged = Assignment.objects.filter(campaign=campaign, state__in=JUDGED)
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
