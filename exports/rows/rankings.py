"""Comparisons for the reward model: one weak order over K completions, with all its C(K,2) pairs on one line."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations, groupby
from math import comb
from typing import Annotated, Any, ClassVar, TypedDict, cast

from django.db.models import Count, OuterRef, QuerySet
from django.utils.translation import gettext_lazy as _

from annotate.pools.models import Source
from annotate.rankings.models import Placing, Ranking, Showing
from annotate.samples.models import Policy
from annotate.work.models import Assignment
from exports.agreement.measure import Answer, Ranked
from exports.rows.about import CHUNK, UNREAD, Names, about_answer, about_prompt, chunks, messages, prompt_of
from exports.schema import (
    AboutAnswer,
    AboutPrompt,
    Messages,
    PromptColumn,
    Row,
    SplitColumn,
    TrainingFile,
    assistant,
)
from exports.workflow import Statistic, WorkflowExport

# Columns of a completion that say how it was made; `provenance` is what its engine reported.
PROVENANCE = (
    "run",
    "k",
    "seed",
    "attempt",
    "parameters",
    "finish_reason",
    "token_count",
    "policy_revision",
    "checkpoint_hash",
    "provenance",
)
PLACINGS_READ = 5000

WeightColumn = Annotated[float, "1/C(K,2): the weight of each pair (arXiv 2203.02155, equation 1)."]
RankingIdColumn = Annotated[int, "Id of the ranking."]


class Pair(TypedDict):
    """Indexes into the lists of the same line."""

    chosen: int
    rejected: int


@dataclass(frozen=True)
class RmRow(Row):
    """One person's weak order over the K completions of a prompt.

    A reward model takes the pairs of one line as one batch element (arXiv 2203.02155, 3.5).
    """

    file: ClassVar[str] = "rm"
    prompt: PromptColumn
    completions: Annotated[list[Messages], "The K completions, in the order of the slate."]
    ranks: Annotated[list[int], "Rank of each completion: 1 is best, and equal ranks are a tie."]
    ratings: Annotated[list[int], "Rating of each completion, from 1 (worst) to 7 (best)."]
    policies: Annotated[list[str], "Policy that wrote each completion, as `name@revision`."]
    completion_ids: Annotated[list[int], "Id of each completion."]
    # Text, because engines report different keys and a column has one type.
    provenance: Annotated[list[str], "How each completion was made, as JSON text."]
    shown: Annotated[list[int], "Indexes of the completions in the order in which the labeler saw them."]
    pairs: Annotated[
        list[Pair], "Indexes of the better and the worse completion of each pair, without ties and equal texts."
    ]
    tied_pairs: Annotated[int, "Number of pairs left out because they are ties."]
    identical_pairs: Annotated[int, "Number of pairs left out because their texts are equal."]
    tie_rule: Annotated[str, "What `pairs` does with ties: always `dropped`."]
    weight: WeightColumn
    ranking_id: RankingIdColumn
    split: SplitColumn
    about_prompt: AboutPrompt
    about_answer: AboutAnswer


@dataclass(frozen=True)
class RmPairRow(Row):
    """One pair of a ranking, for trainers that take pairs.

    There is no `margin` column: trainers that find one add it to the loss, which the method does not do.
    """

    file: ClassVar[str] = "rm_pairs"
    prompt: PromptColumn
    chosen: Annotated[Messages, "The better completion, as one assistant message."]
    rejected: Annotated[Messages, "The worse completion, as one assistant message."]
    weight: WeightColumn
    rank_gap: Annotated[int, "Rank of `rejected` minus rank of `chosen`; at least 1."]
    rating_gap: Annotated[int, "Rating of `chosen` minus rating of `rejected`; may be negative."]
    chosen_policy: Annotated[str, "Policy that wrote `chosen`, as `name@revision`."]
    rejected_policy: Annotated[str, "Policy that wrote `rejected`, as `name@revision`."]
    chosen_id: Annotated[int, "Id of `chosen`, as in `completion_ids` of `rm`."]
    rejected_id: Annotated[int, "Id of `rejected`, as in `completion_ids` of `rm`."]
    ranking_id: RankingIdColumn
    split: SplitColumn
    about_prompt: AboutPrompt
    about_answer: AboutAnswer


@dataclass(frozen=True)
class Choice:
    """A completion of a slate with its rank and rating."""

    completion_id: int
    text: str
    text_hash: str
    policy: str
    rank: int
    rating: int
    provenance: str


# By the id of the candidate, in the order of the slate.
Slate = dict[int, Choice]


def answers(*, exported: QuerySet[Assignment]) -> QuerySet[Ranking]:
    """Ordered by prompt; each with `shown`, the candidate ids in the order in which the labeler saw them."""
    showing = Showing.objects.filter(task=OuterRef("assignment__task"), labeler=OuterRef("assignment__labeler"))
    return (
        Ranking.objects.filter(assignment__in=exported)
        .select_related("assignment__task__prompt__group")
        .defer(*UNREAD)
        .annotate(shown=showing.values("order"))
        .order_by("assignment__task__prompt_id", "assignment_id")
    )


def rows(*, exported: QuerySet[Assignment], names: Names) -> Iterator[Sequence[Row]]:
    """Each ranking with its pairs. Costs two queries a chunk."""
    policies = {policy.id: f"{policy.name}@{policy.revision}" for policy in Policy.objects.all()}
    for chunk in chunks(answers(exported=exported).iterator(CHUNK), CHUNK):
        slates = placed([ranking.id for ranking in chunk], policies)
        for ranking in chunk:
            line = row(ranking, slates[ranking.id], names)
            yield [line, *flat(line)]


def row(ranking: Ranking, slate: Slate, names: Names) -> RmRow:
    assignment = ranking.assignment
    prompt = prompt_of(assignment)
    choices = list(slate.values())
    pairs, tied, identical = compare(choices)
    index = {candidate: number for number, candidate in enumerate(slate)}
    return RmRow(
        prompt=messages(prompt),
        completions=[assistant(choice.text) for choice in choices],
        ranks=[choice.rank for choice in choices],
        ratings=[choice.rating for choice in choices],
        policies=[choice.policy for choice in choices],
        completion_ids=[choice.completion_id for choice in choices],
        provenance=[choice.provenance for choice in choices],
        shown=[index[candidate] for candidate in cast(Any, ranking).shown or ()],
        pairs=pairs,
        tied_pairs=tied,
        identical_pairs=identical,
        tie_rule="dropped",
        weight=1 / comb(len(choices), 2),
        ranking_id=ranking.id,
        split=prompt.group.split,
        about_prompt=about_prompt(prompt),
        about_answer=about_answer(assignment, names),
    )


def flat(ranking: RmRow) -> Iterator[RmPairRow]:
    for pair in ranking.pairs:
        chosen, rejected = pair["chosen"], pair["rejected"]
        yield RmPairRow(
            prompt=ranking.prompt,
            chosen=ranking.completions[chosen],
            rejected=ranking.completions[rejected],
            weight=ranking.weight,
            rank_gap=ranking.ranks[rejected] - ranking.ranks[chosen],
            rating_gap=ranking.ratings[chosen] - ranking.ratings[rejected],
            chosen_policy=ranking.policies[chosen],
            rejected_policy=ranking.policies[rejected],
            chosen_id=ranking.completion_ids[chosen],
            rejected_id=ranking.completion_ids[rejected],
            ranking_id=ranking.ranking_id,
            split=ranking.split,
            about_prompt=ranking.about_prompt,
            about_answer=ranking.about_answer,
        )


def compare(choices: Sequence[Choice]) -> tuple[list[Pair], int, int]:
    """The pairs with a winner, the number of ties, and the number of pairs of equal texts: C(K,2) in total.

    Ranks 1, 2, 2, 4 of different texts give 5 pairs and 1 tie.
    """
    pairs: list[Pair] = []
    tied = identical = 0
    for (i, first), (j, second) in combinations(enumerate(choices), 2):
        if first.text_hash == second.text_hash:
            identical += 1
        elif first.rank == second.rank:
            tied += 1
        else:
            pairs.append({"chosen": i, "rejected": j} if first.rank < second.rank else {"chosen": j, "rejected": i})
    return pairs, tied, identical


def placed(rankings: Sequence[int], policies: Mapping[int, str]) -> dict[int, Slate]:
    """By the id of the ranking."""
    slates: dict[int, Slate] = {ranking: {} for ranking in rankings}
    placings = (
        Placing.objects.filter(ranking__in=rankings)
        .order_by("ranking", "candidate")
        .values_list(
            "ranking",
            "candidate",
            "candidate__completion",
            "candidate__completion__text",
            "candidate__completion__text_hash",
            "candidate__completion__policy",
            "rank",
            "rating",
            *(f"candidate__completion__{name}" for name in PROVENANCE),
        )
    )
    for ranking, candidate, completion, text, text_hash, policy, rank, rating, *known in placings:
        made = provenance(dict(zip(PROVENANCE, known, strict=True)))
        slates[ranking][candidate] = Choice(completion, text, text_hash, policies[policy], rank, rating, made)
    return slates


def provenance(known: dict[str, Any]) -> str:
    """The columns of PROVENANCE and what the engine reported, as JSON text with sorted keys."""
    reported = known.pop("provenance")
    return json.dumps({**known, **reported}, sort_keys=True, ensure_ascii=False)


def ranked(*, judged: QuerySet[Assignment]) -> Iterator[Ranked]:
    """One query, streamed."""
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
    for _assignment, slate in groupby(placings.iterator(PLACINGS_READ), key=lambda placing: placing[0]):
        placed_here = list(slate)
        _id, task, prompt, labeler, cohort, version, _rank, _rating = placed_here[0]
        ranks, ratings = (tuple(column) for column in zip(*(placing[6:] for placing in placed_here), strict=True))
        yield Ranked(Answer(task, prompt, labeler, ranks, ratings), cohort, version)


RM = TrainingFile(
    row=RmRow,
    card="""\
- `rm`: one line a ranking: K completions with their ranks (1 is best, equal ranks are a tie) and ratings (1 to 7, 7 is
  best), in the order of the slate; `shown` is the order the labeler saw. `pairs` are all pairs of the ranking except
  ties (dropped) and pairs of two equal texts. A reward model takes the pairs of a line as one batch element, each
  weighted by `weight` = 1/C(K,2). `provenance` is JSON text, one of each completion: the hashes of checkpoint, adapter,
  template and rendered prompt, engine and versions, dtype, parameters, seed and attempt, why it ended, and where the
  run kept them its token ids and their logprobs under the policy itself (temperature 1).
""",
    rule="RM: every ranking. Its pairs leave out ties and pairs of two equal texts.",
    sources=(Source.LABELER, Source.CUSTOMER),
)
RM_PAIRS = TrainingFile(
    row=RmPairRow,
    card="""\
- `rm_pairs`: the same pairs, one a line; `chosen_id` and `rejected_id` are `completion_ids` of `rm`. Used without
  `weight`, prompts with many completions count for more. There is no `margin` column, because trainers that find one
  add it to the loss; `rank_gap` and `rating_gap` can make one.
""",
)
EXPORT = WorkflowExport(
    key="rankings",
    files=(RM, RM_PAIRS),
    statistics=(
        Statistic("rm_rankings", RM, _("Rankings")),
        Statistic("rm_pairs", RM_PAIRS, _("Pairs")),
        Statistic("rm_tied_pairs", RM, _("Ties, not exported"), "tied_pairs"),
        Statistic("rm_identical_pairs", RM, _("Equal texts, not exported"), "identical_pairs"),
    ),
    answers=answers,
    rows=rows,
    contents=_("RM: accepted rankings, each with its pairs, without ties and without pairs of two equal texts."),
    unanswered=_("“%(name)s” has no rankings yet."),
    ranked=ranked,
    facts={"tie_rule": "dropped", "pair_weight": "1/C(K,2)"},
)
