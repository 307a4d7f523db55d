"""Which answers and prompts leave for training, and how many stay behind for which reason."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from django.db import models
from django.db.models import Case, Count, Exists, F, OuterRef, Prefetch, Q, QuerySet, Subquery, Value, When
from django.db.models.expressions import RawSQL
from django.db.models.functions import Coalesce
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from annotate.accounts.models import Cohort
from annotate.demonstrations.models import Demonstration
from annotate.edits.models import Instruction
from annotate.lib.addresses import id_in
from annotate.lib.refusals import Refusal
from annotate.pools.models import Kind, Prompt, Source
from annotate.pools.split_rules import name_key
from annotate.rankings.models import Ranking, Showing
from annotate.work.models import Assignment, Campaign, Workflow
from annotate.work.states import State
from exports.models import Export


class LeftOut(models.TextChoices):
    """Why an answer or a prompt is in no training file."""

    HELD_OUT_LABELER = "held_out_labeler", _("answers by held-out labelers")
    HELD_OUT_AUTHOR = "held_out_author", _("answers to prompts that a held-out labeler wrote, or rewritten from one")
    WAITING_FOR_REVIEW = "waiting_for_review", _("answers that wait for a reviewer")
    NOT_ACCEPTED = "not_accepted", _("answers sent back, or given up after that")
    INSTRUCTION_ONLY = "instruction_only", _("instructions without query/response pairs: prompts now, not examples")
    INSTRUCTION_WITHOUT_PROMPT = "instruction_without_prompt", _("few-shot instructions that became no prompt")
    QUARANTINED = "quarantined", _("answers to prompts in quarantine, or that made one")
    PPO_QUARANTINED = "ppo_quarantined", _("customer prompts in quarantine")
    PPO_EQUAL_PROMPT = "ppo_equal_prompt", _("customer prompts equal to one that is in the file already")


# A rewriting keeps words of what it rewrites, however often: the prompts that held-out labelers wrote, with all that
# came of them.
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
# What the training and the validation split would share with these.
IN_QUARANTINE = Q(task__prompt__quarantined_at__isnull=False) | Q(instruction__prompt__quarantined_at__isnull=False)
REASON = Case(
    When(labeler__cohort=Cohort.HELD_OUT, then=Value(LeftOut.HELD_OUT_LABELER)),
    When(state=State.SUBMITTED, then=Value(LeftOut.WAITING_FOR_REVIEW)),
    When(~Q(state=State.ACCEPTED), then=Value(LeftOut.NOT_ACCEPTED)),
    When(BY_HELD_OUT_AUTHOR, then=Value(LeftOut.HELD_OUT_AUTHOR)),
    When(IN_QUARANTINE, then=Value(LeftOut.QUARANTINED)),
    When(Q(instruction__isnull=False) & ~Q(instruction__kind=Kind.FEW_SHOT), then=Value(LeftOut.INSTRUCTION_ONLY)),
    # Without a refusal it becomes a prompt when the export begins, if nothing goes wrong.
    When(
        ~Q(instruction__refusal="") | Q(submitted_at__lte=F("campaign__settled_at")),
        instruction__prompt=None,
        instruction__isnull=False,
        then=Value(LeftOut.INSTRUCTION_WITHOUT_PROMPT),
    ),
    default=Value(""),
)


def training_data() -> QuerySet[Assignment]:
    """Accepted answers of labelers who are not held out, to prompts that come of no held-out labeler's and are not in
    quarantine."""
    accepted = Assignment.objects.filter(state=State.ACCEPTED, labeler__cohort=Cohort.TRAINING)
    return accepted.exclude(BY_HELD_OUT_AUTHOR).exclude(IN_QUARANTINE)


def exportable_answers(campaigns: Sequence[Campaign]) -> QuerySet[Assignment]:
    """What an export of these campaigns contains if it starts now: it settles the campaigns before it reads."""
    return training_data().filter(campaign__in=campaigns)


def training_answers(campaigns: Sequence[Campaign]) -> QuerySet[Assignment]:
    """Those that stand since work.actions.settle: none of them is undone after it was read."""
    return exportable_answers(campaigns).filter(submitted_at__lte=F("campaign__settled_at"))


# Not read into rows, and large.
UNREAD = ("assignment__task__prompt__search", "assignment__task__prompt__text")


def demonstrations(campaigns: Sequence[Campaign]) -> QuerySet[Demonstration]:
    """Ordered by prompt, so that one prompt's answers stand together and equal data gives equal files."""
    return (
        Demonstration.objects.filter(assignment__in=training_answers(campaigns))
        .select_related("assignment__task__prompt__group")
        .defer(*UNREAD)
        .order_by("assignment__task__prompt_id", "assignment_id")
    )


def few_shot_instructions(campaigns: Sequence[Campaign]) -> QuerySet[Instruction]:
    """Accepted instructions with query/response pairs that became prompts, ordered by that prompt."""
    return (
        Instruction.objects.filter(assignment__in=training_answers(campaigns), prompt__shots__isnull=False)
        .select_related("assignment", "prompt__group")
        .defer("prompt__search", "prompt__text")
        .order_by("prompt_id")
    )


def rankings(campaigns: Sequence[Campaign]) -> QuerySet[Ranking]:
    """Ordered by prompt; each with `shown`, the candidate ids in the order its labeler saw them."""
    showing = Showing.objects.filter(task=OuterRef("assignment__task"), labeler=OuterRef("assignment__labeler"))
    return (
        Ranking.objects.filter(assignment__in=training_answers(campaigns))
        .select_related("assignment__task__prompt__group")
        .defer(*UNREAD)
        .annotate(shown=showing.values("order"))
        .order_by("assignment__task__prompt_id", "assignment_id")
    )


def customer_prompts(campaigns: Sequence[Campaign]) -> QuerySet[Prompt]:
    """Customer prompts of the campaigns' pools, by id. Of equal prompts in several pools the first stands for all."""
    in_pools = _in_pools(campaigns).filter(quarantined_at=None)
    earlier_equal = in_pools.filter(content_hash=OuterRef("content_hash"), id__lt=OuterRef("id"))
    return in_pools.filter(~Exists(earlier_equal)).select_related("group").defer("search", "text").order_by("id")


def _in_pools(campaigns: Sequence[Campaign]) -> QuerySet[Prompt]:
    pools = {campaign.pool_id for campaign in campaigns}
    customers = Prompt.objects.filter(pool__in=pools, source=Source.CUSTOMER)
    return customers.exclude(id__in=HELD_OUT_PROMPTS)


def answers_and_prompts(campaigns: Sequence[Campaign]) -> int:
    """How many answers and prompts give rows: what a progress bar counts against."""
    parts = (demonstrations, few_shot_instructions, rankings, customer_prompts)
    return sum(part(campaigns).count() for part in parts)


def left_out(campaigns: Sequence[Campaign]) -> dict[LeftOut, int]:
    """How many answers (the last two: prompts) are in no file, each by the first reason that applies to it."""
    counts = dict.fromkeys(LeftOut, 0)
    # Taken up again after a sending back, an answer keeps the time of its first submit.
    answers = Assignment.objects.filter(campaign__in=campaigns, submitted_at__isnull=False)
    with_reason = answers.annotate(reason=REASON).exclude(reason="").order_by("reason").values_list("reason")
    for reason, number in with_reason.annotate(number=Count("id")):
        counts[LeftOut(reason)] = number
    in_pools = _in_pools(campaigns)
    counts[LeftOut.PPO_QUARANTINED] = in_pools.filter(quarantined_at__isnull=False).count()
    kept = in_pools.count() - counts[LeftOut.PPO_QUARANTINED]
    counts[LeftOut.PPO_EQUAL_PROMPT] = kept - customer_prompts(campaigns).count()
    return counts


@dataclass(frozen=True)
class Scope:
    """What an export was asked to hold, for its manifest: campaigns as plain values, and what stays behind."""

    campaigns: list[dict[str, Any]]
    left_out: dict[LeftOut, int]


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
    """Campaigns that have been opened, newest first, with `exported`: how many of their answers are training data."""
    answers = training_data().filter(campaign=OuterRef("id")).order_by().values("campaign").annotate(number=Count("id"))
    exported = Coalesce(Subquery(answers.values("number")), 0)
    opened = Campaign.objects.exclude(opened_at=None)
    return opened.annotate(exported=exported).select_related("pool").order_by("-opened_at", "-id")


def exports() -> QuerySet[Export]:
    """Newest first, with their campaigns and who asked."""
    return (
        Export.objects.select_related("created_by")
        .prefetch_related(Prefetch("campaigns", Campaign.objects.order_by("id")))
        .order_by("-created_at", "-id")
    )


def unanswered(campaign: Campaign) -> str:
    """Why the campaign has no answer, and what to do; "" where it has some."""
    name = {"name": campaign.name}
    if campaign.opened_at is None:
        return gettext("“%(name)s” is a draft, so nobody has worked in it. Open it first.") % name
    if Assignment.objects.filter(campaign=campaign, submitted_at__isnull=False).exists():
        return ""
    if campaign.workflow == Workflow.RANKINGS:
        return gettext("“%(name)s” has no rankings yet.") % name
    return gettext("“%(name)s” has no answers yet.") % name


def why_nothing(campaign: Campaign) -> str:
    """Why an export of the campaign contains no answer, and what to do; "" where it contains some."""
    if reason := unanswered(campaign):
        return reason
    if exportable_answers([campaign]).exists():
        return ""
    return gettext(
        "“%(name)s” has answers, but none that is exported: they wait for review, were sent back, or held-out labelers"
        " had a part in them."
    ) % {"name": campaign.name}


class NoSuchCampaign(Refusal):
    """No campaign has this name or id, or several have; the message says which was asked for and which there are."""


# A message names as many campaigns as a person can read through.
NAMED_IN_A_MESSAGE = 10


def named_campaigns(names: Sequence[str]) -> list[Campaign]:
    """Campaigns by name, else by id, else by a name that is spelt otherwise (name_key); each once, by id.

    Raises NoSuchCampaign.
    """
    found = {campaign.id: campaign for campaign in map(_named, names)}
    return [found[campaign_id] for campaign_id in sorted(found)]


def _named(name: str) -> Campaign:
    campaigns = Campaign.objects.order_by("-created_at", "-id")
    exact = campaigns.filter(name=name).first()
    if exact is None and (number := id_in(name.strip())) is not None:
        exact = campaigns.filter(id=number).first()
    if exact is not None:
        return exact
    # In Python: a terminal may decompose characters, and PostgreSQL compares code points.
    names = campaigns.values_list("id", "name")
    alike = list(campaigns.filter(id__in=[found for found, known in names if name_key(known) == name_key(name)]))
    if len(alike) == 1:
        return alike[0]
    if alike:
        said = {"name": name, "campaigns": _listed(alike)}
        raise NoSuchCampaign(gettext("“%(name)s” could be several campaigns: %(campaigns)s. Give the id.") % said)
    known = list(campaigns[: NAMED_IN_A_MESSAGE + 1])
    if not known:
        raise NoSuchCampaign(gettext("There is no campaign “%(name)s”: there are no campaigns yet.") % {"name": name})
    said = {"name": name, "campaigns": _listed(known)}
    raise NoSuchCampaign(gettext("There is no campaign “%(name)s”. There are: %(campaigns)s.") % said)


def _listed(campaigns: Sequence[Campaign]) -> str:
    named = [f"“{campaign.name}” ({campaign.id})" for campaign in campaigns[:NAMED_IN_A_MESSAGE]]
    return ", ".join(named) + (", …" if len(campaigns) > NAMED_IN_A_MESSAGE else "")
