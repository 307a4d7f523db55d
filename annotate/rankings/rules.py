"""Mixes, slates and weak orders, on plain values."""

from collections import Counter, deque
from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import blake2b
from itertools import groupby
from typing import Any, TypeVar

from django.utils.translation import gettext_lazy as _

from annotate.lib.refusals import Refusal
from annotate.samples.gate import RESAMPLINGS, Flaw, Reading, flaw

# What a labeler calls the candidates, in the order shown: nothing about a letter says who wrote the text.
LETTERS = "ABCDEFGHI"
RATINGS = range(1, 8)

# The sizes of a slate.
MIN_CANDIDATES, MAX_CANDIDATES = 4, 9

Name = TypeVar("Name", bound=Hashable)


MARKS = _("It cannot be less than the number under which more are sampled.")


class BadMix(Refusal):
    """No slate can be made of these parts. `part`: which of them is wrong, None for all together."""

    def __init__(self, words: Any, part: int | None = None) -> None:
        super().__init__(str(words))
        self.part = part


@dataclass(frozen=True, kw_only=True)
class Share:
    """A part of a mix: so many completions of a slate, of a policy or of whichever a stage's pointer is at."""

    policy_id: int | None = None
    pointer: str = ""
    stage: str = ""
    count: int
    temperature: float = 1.0
    top_p: float = 1.0
    max_new_tokens: int = 128


def check_mix(shares: Sequence[Share], *, low: int, high: int) -> None:
    """Raises BadMix. No shares at all are a mix too: that of the completions that are there."""
    total = sum(share.count for share in shares)
    if shares and not MIN_CANDIDATES <= total <= MAX_CANDIDATES:
        raise BadMix(_("The parts add up to %(total)d completions. A slate has 4 to 9.") % {"total": total})
    for number, share in enumerate(shares):
        if share.temperature == 0 and share.count > 1:
            raise BadMix(_("At temperature 0 all completions of a prompt are equal: take one of them."), number)
    if low > high:
        raise BadMix(MARKS)


def part_seed(seed: int, place: int) -> int:
    """The seed of a part's run, below 2**31: parts of one policy must not write the same."""
    return int.from_bytes(blake2b(f"{seed}\0{place}".encode(), digest_size=8).digest(), "big") % 2**31


@dataclass(frozen=True)
class Offer:
    """A completion that could stand in a slate."""

    completion_id: int
    policy_id: int
    run_id: int | None
    k: int | None
    text: Reading
    cut_off: bool = False


@dataclass(frozen=True)
class Gathered:
    """The completions of a slate, and what kept others out of it. `short`: of each part, how many others might help."""

    chosen: list[int]
    flaws: Counter[Flaw] = field(default_factory=Counter)
    short: tuple[int, ...] = ()

    @property
    def why(self) -> Flaw:
        """What kept most of them out; where nothing did there were too few that differ."""
        return max(Flaw, key=lambda flaw: self.flaws[flaw]) if self.flaws else Flaw.ALIKE


@dataclass(frozen=True)
class Sampled:
    """A completion of a part, its attempt and whether it was cut off."""

    completion_id: int
    text: Reading
    cut_off: bool
    attempt: int


@dataclass(frozen=True)
class Part:
    """A part of a slate: how many it takes of what was sampled for it, and whether another seed gives another text."""

    count: int
    sampled: Sequence[Sampled]
    seeded: bool = True


def gather(parts: Iterable[Part]) -> Gathered:
    """The slate of a mix: of each part in turn its first `count` completions that pass the gate.

    Whoever comes later in the mix gives way, so the same completions give the same slate. A completion that was sampled
    anew as often as the gate allows is not asked for once more.
    """
    chosen: dict[int, Reading] = {}
    flaws: Counter[Flaw] = Counter()
    short = []
    for part in parts:
        taken = hopeful = 0
        for each in part.sampled:
            if taken == part.count:
                break
            found = flaw(each.text, cut_off=each.cut_off, others=chosen.values())
            if found is None:
                chosen[each.completion_id] = each.text
                taken += 1
            else:
                flaws[found] += 1
                hopeful += part.seeded and each.attempt < RESAMPLINGS
        short.append(min(part.count - taken, hopeful))
    return Gathered(list(chosen), flaws, tuple(short))


def slate(offers: Iterable[Offer], most: int) -> Gathered:
    """The completions of a slate, at most `most` and no two alike: the same offers give the same slate.

    One may be empty: nobody can sample it anew here, and saying nothing is an answer too.

    Policies take turns, the newest first, each giving its next text that is not there yet, newest run first. So a
    slate with room for only some of the completions compares as many policies as it can, in equal parts, and none
    fills it for having been sampled more often.
    """
    newest_first = sorted(offers, key=_newest_first)
    turns = deque(deque(hand) for _policy, hand in groupby(newest_first, key=lambda offer: offer.policy_id))
    chosen: dict[int, Reading] = {}
    flaws: Counter[Flaw] = Counter()
    while turns and len(chosen) < most:
        hand = turns.popleft()
        while hand and (found := _flaw(hand[0], chosen.values())):
            flaws[found] += 1
            hand.popleft()
        if hand:
            offer = hand.popleft()
            chosen[offer.completion_id] = offer.text
            turns.append(hand)
    return Gathered(list(chosen), flaws)


def _flaw(offer: Offer, chosen: Iterable[Reading]) -> Flaw | None:
    return flaw(offer.text, cut_off=offer.cut_off, others=chosen, empty_allowed=True)


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
