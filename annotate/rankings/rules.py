"""Rules for mixes, slates and weak orders, on plain values."""

from collections import Counter, deque
from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import blake2b
from itertools import groupby
from typing import TypeVar

from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _

from annotate.lib.refusals import Refusal
from annotate.samples.gate import RESAMPLINGS, Flaw, Reading, flaw

# Names of candidates, in the order shown.
LETTERS = "ABCDEFGHI"
RATINGS = range(1, 8)

MIN_CANDIDATES, MAX_CANDIDATES = 4, 9

Name = TypeVar("Name", bound=Hashable)

LOW_ABOVE_HIGH = _("Enter a number that is not smaller than the one that starts sampling.")
EQUAL_COMPLETIONS = _("At temperature 0, all completions are equal. Enter 1 completion, or a higher temperature.")

EQUAL_PARTS = _("At temperature 0, this part samples the same text as a part before it. Remove one of the two.")


class BadMix(Refusal):
    """`part`: the index of the wrong part. None: the mix as a whole."""

    def __init__(self, message: str | Promise, part: int | None = None) -> None:
        super().__init__(str(message))
        self.part = part


@dataclass(frozen=True, kw_only=True)
class Share:
    """`count` completions of a policy, or of the policy that a stage's pointer names."""

    policy_id: int | None = None
    pointer: str = ""
    stage: str = ""
    count: int
    temperature: float = 1.0
    top_p: float = 1.0
    max_new_tokens: int = 128


def check_mix(shares: Sequence[Share], *, low: int, high: int) -> None:
    """Raises BadMix. An empty mix is valid: the campaign ranks existing completions."""
    total = sum(share.count for share in shares)
    if shares and not MIN_CANDIDATES <= total <= MAX_CANDIDATES:
        raise BadMix(_("The parts add up to %(total)d completions. A slate has 4 to 9.") % {"total": total})
    for number, share in enumerate(shares):
        if share.temperature == 0 and share.count > 1:
            raise BadMix(EQUAL_COMPLETIONS, number)
        # At temperature 0 `top_p` changes nothing; another limit may cut the text elsewhere.
        if share.temperature == 0 and any(_same_policy(share, other) for other in shares[:number]):
            raise BadMix(EQUAL_PARTS, number)
    if low > high:
        raise BadMix(LOW_ABOVE_HIGH)


def _same_policy(one: Share, other: Share) -> bool:
    whose = (one.policy_id, one.pointer, one.stage) == (other.policy_id, other.pointer, other.stage)
    return whose and other.temperature == 0 and one.max_new_tokens == other.max_new_tokens


def part_seed(seed: int, place: int) -> int:
    """Below 2**31. Equal parts must not sample equal texts."""
    return int.from_bytes(blake2b(f"{seed}\0{place}".encode(), digest_size=8).digest(), "big") % 2**31


@dataclass(frozen=True)
class Offer:
    completion_id: int
    policy_id: int
    run_id: int | None
    k: int | None
    text: Reading
    cut_off: bool = False


@dataclass(frozen=True)
class Gathered:
    """A slate's completions, and the flaws of the others. `short`: how many more to sample for each part."""

    chosen: list[int]
    flaws: Counter[Flaw] = field(default_factory=Counter)
    short: tuple[int, ...] = ()

    @property
    def why(self) -> Flaw:
        """The most common flaw. Without flaws, there were too few different completions."""
        return max(Flaw, key=lambda flaw: self.flaws[flaw]) if self.flaws else Flaw.ALIKE


@dataclass(frozen=True)
class Sampled:
    completion_id: int
    text: Reading
    cut_off: bool
    attempt: int


@dataclass(frozen=True)
class Part:
    """The slate takes `count` of `sampled`. `seeded`: another seed gives another text."""

    count: int
    sampled: Sequence[Sampled]
    seeded: bool = True


def gather(parts: Iterable[Part]) -> Gathered:
    """From each part, choose the first `count` completions that pass the gate.

    Deterministic: of two similar completions, the earlier one stays. `short` excludes those without an attempt left.
    """
    chosen: dict[int, Reading] = {}
    flaws: Counter[Flaw] = Counter()
    short = []
    for part in parts:
        taken = hopeful = 0
        for each in part.sampled:
            if taken == part.count:
                break
            reason = flaw(each.text, cut_off=each.cut_off, others=chosen.values())
            if reason is None:
                chosen[each.completion_id] = each.text
                taken += 1
            else:
                flaws[reason] += 1
                hopeful += part.seeded and each.attempt < RESAMPLINGS
        short.append(min(part.count - taken, hopeful))
    return Gathered(list(chosen), flaws, tuple(short))


def slate(offers: Iterable[Offer], limit: int) -> Gathered:
    """Choose at most `limit` different completions. Deterministic.

    Policies take turns, newest first, so the slate compares them in equal parts. One text may be empty: it cannot be
    sampled again here.
    """
    newest_first = sorted(offers, key=_newest_first)
    turns = deque(deque(texts) for _policy, texts in groupby(newest_first, key=lambda offer: offer.policy_id))
    chosen: dict[int, Reading] = {}
    flaws: Counter[Flaw] = Counter()
    while turns and len(chosen) < limit:
        remaining = turns.popleft()
        while remaining and (reason := _flaw(remaining[0], chosen.values())):
            flaws[reason] += 1
            remaining.popleft()
        if remaining:
            offer = remaining.popleft()
            chosen[offer.completion_id] = offer.text
            turns.append(remaining)
    return Gathered(list(chosen), flaws)


def _flaw(offer: Offer, chosen: Iterable[Reading]) -> Flaw | None:
    return flaw(offer.text, cut_off=offer.cut_off, others=chosen, empty_allowed=True)


def _newest_first(offer: Offer) -> tuple[int, int, int, int]:
    # Imported completions have no run and no k: order them by id.
    return -offer.policy_id, -(offer.run_id or 0), offer.k or 0, offer.completion_id


@dataclass(frozen=True)
class Mark:
    """`rating`: 1 (worst) to 7. `place`: 1 for the best."""

    rating: int
    place: int


def dense(places: Mapping[Name, int]) -> dict[Name, int]:
    """Places 2, 2, 5 become ranks 1, 1, 2."""
    ranks = {place: rank for rank, place in enumerate(sorted(set(places.values())), start=1)}
    return {name: ranks[place] for name, place in places.items()}
