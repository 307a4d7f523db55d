"""Slates and weak orders, on plain values."""

from collections import deque
from collections.abc import Hashable, Iterable, Mapping
from dataclasses import dataclass
from itertools import groupby
from typing import TypeVar

# What a labeler calls the candidates, in the order shown: nothing about a letter says who wrote the text.
LETTERS = "ABCDEFGHI"
RATINGS = range(1, 8)

Name = TypeVar("Name", bound=Hashable)


@dataclass(frozen=True)
class Offer:
    """A completion that could stand in a slate."""

    completion_id: int
    policy_id: int
    run_id: int | None
    k: int | None
    text_hash: str


def slate(offers: Iterable[Offer], most: int) -> list[int]:
    """The completions of a slate, at most `most` and no two of equal text: the same offers give the same slate.

    Policies take turns, the newest first, each giving its next text that is not there yet, newest run first. So a
    slate with room for only some of the completions compares as many policies as it can, in equal parts, and none
    fills it for having been sampled more often.
    """
    newest_first = sorted(offers, key=_newest_first)
    turns = deque(deque(hand) for _policy, hand in groupby(newest_first, key=lambda offer: offer.policy_id))
    chosen: dict[str, int] = {}
    while turns and len(chosen) < most:
        hand = turns.popleft()
        while hand and hand[0].text_hash in chosen:
            hand.popleft()
        if hand:
            offer = hand.popleft()
            chosen[offer.text_hash] = offer.completion_id
            turns.append(hand)
    return list(chosen.values())


def _newest_first(offer: Offer) -> tuple[int, int, int, int]:
    # Imported completions have neither run nor k: they stand in the order they came.
    return -offer.policy_id, -(offer.run_id or 0), offer.k or 0, offer.completion_id


@dataclass(frozen=True)
class Mark:
    """What a labeler said about one candidate: a rating, 1 worst to 7 best, and a place, 1 best."""

    rating: int
    place: int


def dense(places: Mapping[Name, int]) -> dict[Name, int]:
    """Ranks without gaps, 1 is best: places 2, 2, 5 are ranks 1, 1, 2. Equal places stay equal."""
    ranks = {place: rank for rank, place in enumerate(sorted(set(places.values())), start=1)}
    return {name: ranks[place] for name, place in places.items()}
