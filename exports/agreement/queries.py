from collections.abc import Iterator
from dataclasses import dataclass

from django.db import models
from django.db.models import QuerySet
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from annotate.accounts.models import Cohort, User
from annotate.lib.refusals import Refusal
from annotate.lib.streaming import streaming
from annotate.work.models import Assignment, Campaign
from annotate.work.states import State
from annotate.workflows.table import workflow_of
from exports.agreement.measure import Agreement, Answer, PairAgreement, Ranked, by_pair, measure
from exports.agreement.pairs import TieRule
from exports.queries import exportable_answers, unanswered
from exports.table import EXPORTS, export_of

# Without answers that were sent back, because their labelers change them.
JUDGED = (State.SUBMITTED, State.ACCEPTED)

NO_AGREEMENT = gettext_lazy(
    "“%(name)s” has no agreement: it is measured on rankings, and the workflow here is %(workflow)s."
)


class Covered(models.TextChoices):
    EXPORTED = "exported", gettext_lazy("those that an export contains")
    HELD_OUT = "held-out", gettext_lazy("accepted ones of held-out labelers")
    ALL = "all", gettext_lazy("all submitted ones, reviewed or not")


@dataclass(frozen=True)
class Cut:
    name: str
    agreement: Agreement


@dataclass(frozen=True)
class Report:
    """nothing: why there is nothing to compare, and what to do; else ""."""

    campaign: Campaign
    rule: TieRule
    covered: Covered
    nothing: str
    cuts: list[Cut]
    labeler_pairs: list[tuple[str, str, PairAgreement]]

    @property
    def whole(self) -> Agreement:
        return self.cuts[0].agreement


def measurable_campaigns() -> QuerySet[Campaign]:
    """Newest first."""
    keys = [export.key for export in EXPORTS if export.ranked]
    return Campaign.objects.filter(workflow__in=keys).order_by("-created_at", "-id")


class NotMeasurable(Refusal):
    """Its workflow has no agreement."""


def check_measurable(campaign: Campaign) -> None:
    """Raises NotMeasurable."""
    if not export_of(campaign).ranked:
        raise NotMeasurable(NO_AGREEMENT % {"name": campaign.name, "workflow": workflow_of(campaign).label})


def report(*, campaign: Campaign, rule: TieRule, covered: Covered = Covered.EXPORTED) -> Report:
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
    if reason := unanswered(campaign):
        return reason
    said = {"name": campaign.name, "covered": covered.label}
    if not answers(campaign, covered).exists():
        words = _(
            "“%(name)s” has rankings, but not those that you chose (%(covered)s). Choose others, or wait until they are"
            " reviewed."
        )
    elif campaign.overlap == 1:
        words = _(
            "No two labelers have ranked the same completions in “%(name)s”. To measure agreement, set its answers per"
            " task to two or more."
        )
    else:
        words = _(
            "No two labelers have ranked the same completions in “%(name)s” yet. Agreement appears when they have."
        )
    return words % said


def cuts(found: list[Ranked]) -> Iterator[tuple[str, list[Answer]]]:
    """All, then each cohort and guideline version if there are several."""
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
    find = export_of(campaign).ranked
    return find(judged=answers(campaign, covered)) if find else iter(())
