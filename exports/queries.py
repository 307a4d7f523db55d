from collections.abc import Sequence
from dataclasses import dataclass
from functools import reduce
from operator import or_

from django.db import models
from django.db.models import Case, Count, Exists, F, OuterRef, Prefetch, Q, QuerySet, Subquery, Value, When
from django.db.models.expressions import RawSQL
from django.db.models.functions import Coalesce
from django.utils.functional import Promise
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from annotate.accounts.models import Cohort
from annotate.lib.addresses import id_in
from annotate.lib.refusals import Refusal
from annotate.pools.models import Prompt, Source
from annotate.pools.split_rules import name_key
from annotate.work.models import Assignment, Campaign
from annotate.work.states import State
from exports.models import Export
from exports.table import EXPORTS, export_of


class LeftOut(models.TextChoices):
    """Workflows add further reasons."""

    HELD_OUT_LABELER = "held_out_labeler", _("answers by held-out labelers")
    HELD_OUT_AUTHOR = "held_out_author", _("answers to prompts that a held-out labeler wrote, or rewritten from one")
    WAITING_FOR_REVIEW = "waiting_for_review", _("answers that wait for a reviewer")
    NOT_ACCEPTED = "not_accepted", _("answers sent back, or cancelled after that")
    QUARANTINED = "quarantined", _("answers to prompts in quarantine, and instructions that became such prompts")
    PPO_QUARANTINED = "ppo_quarantined", _("customer prompts in quarantine")
    PPO_EQUAL_PROMPT = "ppo_equal_prompt", _("customer prompts equal to one in the file")


WORKFLOW_REASONS = [reason for export in EXPORTS for reason in export.reasons]
ABOUT_SOURCES = (LeftOut.QUARANTINED, LeftOut.PPO_QUARANTINED, LeftOut.PPO_EQUAL_PROMPT)
# In the order of the manifest.
LEFT_OUT: dict[str, Promise | str] = {
    **{reason.value: reason.label for reason in LeftOut if reason not in ABOUT_SOURCES},
    **{reason.name: reason.label for reason in WORKFLOW_REASONS},
    **{reason.value: reason.label for reason in ABOUT_SOURCES},
}

# Also prompts rewritten from theirs, in any number of steps.
HELD_OUT_PROMPTS = RawSQL(
    """
    WITH RECURSIVE held_out AS (
        SELECT prompt.id FROM pools_prompt prompt
        JOIN accounts_user author ON author.id = prompt.author_id AND author.cohort = %s
        UNION
        SELECT prompt.id FROM pools_prompt prompt JOIN held_out ON prompt.parent_id = held_out.id
    )
    SELECT id FROM held_out
    """,
    [Cohort.HELD_OUT],
)
BY_HELD_OUT_AUTHOR = Q(task__prompt__in=HELD_OUT_PROMPTS)
IN_QUARANTINE = reduce(or_, (export.quarantined for export in EXPORTS), Q(task__prompt__quarantined_at__isnull=False))
REASON = Case(
    When(labeler__cohort=Cohort.HELD_OUT, then=Value(LeftOut.HELD_OUT_LABELER)),
    When(state=State.SUBMITTED, then=Value(LeftOut.WAITING_FOR_REVIEW)),
    When(~Q(state=State.ACCEPTED), then=Value(LeftOut.NOT_ACCEPTED)),
    When(BY_HELD_OUT_AUTHOR, then=Value(LeftOut.HELD_OUT_AUTHOR)),
    When(IN_QUARANTINE, then=Value(LeftOut.QUARANTINED)),
    *(When(reason.condition, then=Value(reason.name)) for reason in WORKFLOW_REASONS),
    default=Value(""),
)


def training_data() -> QuerySet[Assignment]:
    """Accepted, not of held-out labelers, not in quarantine."""
    accepted = Assignment.objects.filter(state=State.ACCEPTED, labeler__cohort=Cohort.TRAINING)
    return accepted.exclude(BY_HELD_OUT_AUTHOR).exclude(IN_QUARANTINE)


def exportable_answers(campaigns: Sequence[Campaign]) -> QuerySet[Assignment]:
    """Those of an export that starts now."""
    return training_data().filter(campaign__in=campaigns)


def training_answers(campaigns: Sequence[Campaign]) -> QuerySet[Assignment]:
    """Settled ones, which nobody can undo."""
    return exportable_answers(campaigns).filter(submitted_at__lte=F("campaign__settled_at"))


def customer_prompts(campaigns: Sequence[Campaign]) -> QuerySet[Prompt]:
    """Of equal prompts in several pools, the first one."""
    in_pools = _in_pools(campaigns).filter(quarantined_at=None)
    earlier_equal = in_pools.filter(content_hash=OuterRef("content_hash"), id__lt=OuterRef("id"))
    return in_pools.filter(~Exists(earlier_equal)).select_related("group").defer("search", "text").order_by("id")


def _in_pools(campaigns: Sequence[Campaign]) -> QuerySet[Prompt]:
    pools = {campaign.pool_id for campaign in campaigns}
    customers = Prompt.objects.filter(pool__in=pools, source=Source.CUSTOMER)
    return customers.exclude(id__in=HELD_OUT_PROMPTS)


def answers_and_prompts(campaigns: Sequence[Campaign]) -> int:
    """The total of the progress bar."""
    exported = training_answers(campaigns)
    return sum(export.answers(exported=exported).count() for export in EXPORTS) + customer_prompts(campaigns).count()


def left_out(campaigns: Sequence[Campaign]) -> dict[str, int]:
    """By the first reason that applies."""
    counts = dict.fromkeys(LEFT_OUT, 0)
    # Stays when an answer is sent back and leased again.
    answers = Assignment.objects.filter(campaign__in=campaigns, submitted_at__isnull=False)
    with_reason = answers.annotate(reason=REASON).exclude(reason="").order_by("reason").values_list("reason")
    counts |= dict(with_reason.annotate(number=Count("id")))
    in_pools = _in_pools(campaigns)
    counts[LeftOut.PPO_QUARANTINED] = in_pools.filter(quarantined_at__isnull=False).count()
    kept = in_pools.count() - counts[LeftOut.PPO_QUARANTINED]
    counts[LeftOut.PPO_EQUAL_PROMPT] = kept - customer_prompts(campaigns).count()
    return counts


@dataclass(frozen=True)
class Scope:
    campaigns: list[dict[str, object]]
    left_out: dict[str, int]


def scope(campaigns: Sequence[Campaign]) -> Scope:
    by_version: dict[int, dict[str, int]] = {campaign.id: {} for campaign in campaigns}
    answers = training_answers(campaigns).order_by("guideline_version__number")
    counts = answers.values_list("campaign", "guideline_version__number").annotate(answers=Count("id"))
    for campaign_id, number, exported in counts:
        by_version[campaign_id][str(number)] = exported
    found = Campaign.objects.filter(id__in=list(by_version)).select_related("pool", "guideline").order_by("id")
    described = [
        {
            "id": campaign.id,
            "name": campaign.name,
            "workflow": campaign.workflow,
            "pool": campaign.pool.name,
            "guideline": campaign.guideline.name,
            "accepted_answers_by_guideline_version": by_version[campaign.id],
        }
        for campaign in found
    ]
    return Scope(described, left_out(campaigns))


def exportable_campaigns() -> QuerySet[Campaign]:
    """`exported`: the number of answers that are training data."""
    answers = training_data().filter(campaign=OuterRef("id")).order_by().values("campaign").annotate(number=Count("id"))
    exported = Coalesce(Subquery(answers.values("number")), 0)
    opened = Campaign.objects.exclude(opened_at=None)
    return opened.annotate(exported=exported).select_related("pool").order_by("-opened_at", "-id")


def exports() -> QuerySet[Export]:
    return (
        Export.objects.select_related("created_by")
        .prefetch_related(Prefetch("campaigns", Campaign.objects.order_by("id")))
        .order_by("-created_at", "-id")
    )


def unanswered(campaign: Campaign) -> str:
    """Why the campaign has no answer, and what to do; "" if it has some."""
    name = {"name": campaign.name}
    if campaign.opened_at is None:
        return gettext("“%(name)s” is a draft without answers. Open the campaign first.") % name
    if Assignment.objects.filter(campaign=campaign, submitted_at__isnull=False).exists():
        return ""
    return str(export_of(campaign).unanswered) % name


def why_nothing(campaign: Campaign) -> str:
    """Why an export of the campaign contains no answer; "" if it contains some."""
    if reason := unanswered(campaign):
        return reason
    if exportable_answers([campaign]).exists():
        return ""
    return gettext(
        "“%(name)s” has answers, but none that is exported: they wait for review, were sent back, are in quarantine, or"
        " involve held-out labelers."
    ) % {"name": campaign.name}


class NoSuchCampaign(Refusal):
    """The name or id matches no campaign or several."""


NAMED_IN_A_MESSAGE = 10


def named_campaigns(names: Sequence[str]) -> list[Campaign]:
    """By name, else id, else name_key. Distinct, in the order of ids. Raises NoSuchCampaign."""
    found = {campaign.id: campaign for campaign in map(_named, names)}
    return [found[campaign_id] for campaign_id in sorted(found)]


def _named(name: str) -> Campaign:
    campaigns = Campaign.objects.order_by("-created_at", "-id")
    exact = campaigns.filter(name=name).first()
    if exact is None and (number := id_in(name.strip())) is not None:
        exact = campaigns.filter(id=number).first()
    if exact is not None:
        return exact
    # Terminals may decompose characters, and PostgreSQL compares code points.
    names = campaigns.values_list("id", "name")
    alike = list(campaigns.filter(id__in=[found for found, known in names if name_key(known) == name_key(name)]))
    if len(alike) == 1:
        return alike[0]
    if alike:
        said = {"name": name, "campaigns": _listed(alike)}
        raise NoSuchCampaign(gettext("“%(name)s” matches several campaigns: %(campaigns)s. Give the id.") % said)
    known = list(campaigns[: NAMED_IN_A_MESSAGE + 1])
    if not known:
        raise NoSuchCampaign(gettext("There is no campaign “%(name)s”: there are no campaigns yet.") % {"name": name})
    said = {"name": name, "campaigns": _listed(known)}
    raise NoSuchCampaign(gettext("There is no campaign “%(name)s”. There are: %(campaigns)s.") % said)


def _listed(campaigns: Sequence[Campaign]) -> str:
    named = [f"“{campaign.name}” ({campaign.id})" for campaign in campaigns[:NAMED_IN_A_MESSAGE]]
    return ", ".join(named) + (", …" if len(campaigns) > NAMED_IN_A_MESSAGE else "")
