"""Comparisons for the reward model: one weak order over K completions, with all its C(K,2) pairs on one line."""

import json
from collections.abc import Iterator, Sequence
from itertools import combinations
from math import comb
from typing import Any, cast

from annotate.rankings.models import Placing, Ranking
from annotate.samples.models import Policy
from annotate.work.models import Campaign
from exports import queries
from exports.rows.about import CHUNK, Names, about_answer, about_prompt, chunks, messages, prompt_of
from exports.schema import Choice, Pair, RmPairRow, RmRow

# Columns of a completion that say how it came about; `provenance` is what its engine told.
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

# Of each candidate of a ranking, in the order of the slate: its id, and what the row says of it.
Slate = dict[int, Choice]


def rows(campaigns: Sequence[Campaign], names: Names) -> Iterator[RmRow]:
    """One row a ranking. Memory is a chunk of rankings, the cost two queries a chunk."""
    policies = {policy.id: f"{policy.name}@{policy.revision}" for policy in Policy.objects.all()}
    for chunk in chunks(queries.rankings(campaigns).iterator(CHUNK), CHUNK):
        slates = placed([ranking.id for ranking in chunk], policies)
        for ranking in chunk:
            yield row(ranking, slates[ranking.id], names)


def row(ranking: Ranking, slate: Slate, names: Names) -> RmRow:
    assignment = ranking.assignment
    prompt = prompt_of(assignment)
    choices = list(slate.values())
    pairs, tied, identical = compare(choices)
    index = {candidate: number for number, candidate in enumerate(slate)}
    return RmRow(
        split=prompt.group.split,
        prompt=messages(prompt),
        choices=choices,
        shown=[index[candidate] for candidate in cast(Any, ranking).shown or ()],
        pairs=pairs,
        tied_pairs=tied,
        identical_pairs=identical,
        weight=1 / comb(len(choices), 2),
        ranking_id=ranking.id,
        about_prompt=about_prompt(prompt),
        about_answer=about_answer(assignment, names),
    )


def compare(choices: Sequence[Choice]) -> tuple[list[Pair], int, int]:
    """The pairs that one choice wins, by its place in the slate; how many pairs are ties; how many are of equal texts.

    Every one of the C(K,2) pairs is counted once. Ranks 1, 2, 2, 4 give 5 pairs and 1 tie.
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


def flat(ranking: RmRow) -> Iterator[RmPairRow]:
    """The same pairs, each as a line of its own."""
    for pair in ranking.pairs:
        yield RmPairRow(ranking, pair)


def placed(rankings: Sequence[int], policies: dict[int, str]) -> dict[int, Slate]:
    """The candidates of each ranking with their rank and rating, in the order the slate was made."""
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
    """What a completion's columns and its engine tell of how it came about, as JSON text with its keys in order."""
    told = known.pop("provenance")
    return json.dumps({**known, **told}, sort_keys=True, ensure_ascii=False)
