from collections.abc import Iterable

from django.db.models import Count, Exists, F, OuterRef, Q, QuerySet, Subquery

from annotate.accounts.models import User
from annotate.pools.models import ImportJob, ImportKind, ImportState, Prompt
from annotate.rankings.models import Candidate, Mix, Placing, Ranking, Showing, Slate
from annotate.rankings.rules import LETTERS, Offer
from annotate.samples.gate import read
from annotate.samples.models import Completion, FinishReason, SampleRequest
from annotate.samples.states import RequestState
from annotate.work.models import Assignment, Campaign, Task


def prompts_of(campaign: Campaign) -> QuerySet[Prompt]:
    """The pool's prompts, except those in quarantine."""
    return Prompt.objects.filter(pool=campaign.pool_id, quarantined_at=None).order_by("id")


def ready_prompts(campaign: Campaign) -> QuerySet[Prompt, tuple[int, int]]:
    """Ids of prompts without a task that have enough different completions, with the number of texts.

    Prompts wait for completions that are being sampled or imported, because a slate never changes.
    """
    has_task = Task.objects.filter(campaign=campaign, prompt=OuterRef("id"), retired_at=None)
    # Try again when there are more texts than at the last rejection.
    judged = Slate.objects.filter(campaign=campaign, version=None, prompt=OuterRef("id")).values("texts")
    policies = _policies(campaign)
    on_its_way = SampleRequest.objects.filter(
        prompt=OuterRef("id"), state__in=[RequestState.WAITING, RequestState.LEASED]
    )
    if policies:
        on_its_way = on_its_way.filter(run__policy__in=policies)
    importing = ImportJob.objects.filter(
        pool=campaign.pool_id,
        kind=ImportKind.COMPLETIONS,
        state__in=[ImportState.WAITING, ImportState.RUNNING, ImportState.ASKING],
    )
    texts = Count("completions__text_hash", distinct=True, filter=_by(policies, "completions__"))
    return (
        prompts_of(campaign)
        .filter(~Exists(has_task), ~Exists(on_its_way), ~Exists(importing))
        .annotate(texts=texts, judged=Subquery(judged))
        .filter(Q(judged=None) | Q(texts__gt=F("judged")), texts__gte=campaign.rankingsettings.slate_min)
        .values_list("id", "texts")
    )


def offers(campaign: Campaign, prompts: list[int]) -> dict[int, list[Offer]]:
    """By prompt id."""
    by_prompt: dict[int, list[Offer]] = {prompt: [] for prompt in prompts}
    rows = (
        Completion.objects.filter(_by(_policies(campaign)), prompt__in=prompts)
        .only("prompt_id", "policy_id", "run_id", "k", "text", "finish_reason")
        .order_by("id")
    )
    cut_off_allowed = Mix.objects.filter(campaign=campaign).values_list("cut_off_allowed", flat=True).first()
    refused = FinishReason.LENGTH if cut_off_allowed is False else None
    for row in rows:
        cut_off = row.finish_reason == refused
        by_prompt[row.prompt_id].append(Offer(row.id, row.policy_id, row.run_id, row.k, read(row.text), cut_off))
    return by_prompt


def _policies(campaign: Campaign) -> list[int]:
    return list(campaign.rankingsettings.policies.order_by("id").values_list("id", flat=True))


def _by(policies: list[int], path: str = "") -> Q:
    """Without policies, match all completions."""
    return Q(**{f"{path}policy__in": policies}) if policies else Q()


def earlier_ranking(assignment_id: int, labeler: User) -> Ranking | None:
    """For a sent-back slot."""
    return Ranking.objects.filter(assignment=assignment_id, assignment__labeler=labeler).first()


def shown_to(assignment: Assignment) -> list[Candidate]:
    """In the labeler's order."""
    order = Showing.objects.get(task=assignment.task_id, labeler=assignment.labeler_id).order
    candidates = {row.id: row for row in Candidate.objects.filter(task=assignment.task_id).select_related("completion")}
    return [candidates[candidate] for candidate in order]


def typed(ranking: Ranking, shown: Iterable[Candidate]) -> dict[str, str]:
    rows = {row.candidate_id: row for row in placings(ranking)}
    values = {"note": ranking.note}
    for letter, candidate in zip(LETTERS, shown, strict=False):
        row = rows[candidate.id]
        values |= {f"rating-{letter}": str(row.rating), f"place-{letter}": str(row.rank)}
    return values


def placings(ranking: Ranking) -> QuerySet[Placing]:
    return Placing.objects.filter(ranking=ranking).order_by("rank", "candidate_id")
