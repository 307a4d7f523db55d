"""Search for the slowest page of texts (rendered Markdown and word differences) and measure it.

    python bench/rendering.py [--rounds 1000] [--seed 1]

Combines and changes the patterns below at random, by a seed, and keeps the inputs with the most CPU time for their
estimated cost. Then renders a page that repeats the slowest text until the request's budget is spent, and twice as
often after that. Prints one JSON line: milliseconds of CPU time for the slowest page, text and difference, and the
growth of the time for a text of ten times the size (10 is linear).
"""

import argparse
import json
import random
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from annotate.lib import markdown
from annotate.lib.budget import UNITS_PER_REQUEST, request_budget
from annotate.lib.diff import word_diff

FRAGMENTS = (
    *"*`[]()<>|#-+_~!\\&:.\"' \n\tax1",
    *(
        "**",
        "***",
        "``",
        "```",
        "~~~",
        "> ",
        "- ",
        "1. ",
        "# ",
        "    ",
        "\n\n",
        "\n\n\n",
        "](",
        "](http://",
        "<http://",
    ),
    *(
        "*a*",
        "**a**",
        "`a`",
        "[a](http://b)",
        "<http://a>",
        "<mailto:a>",
        "|a|b|\n|-|-|\n",
        "|a|b|\n",
        "- a\n",
        "> a\n",
    ),
    *(
        "> > > > > > > > ",
        "- - - - - - - - ",
        "```\na\n```\n",
        "# a\n",
        "1. a\n",
        "  - a\n",
        "&amp;",
        "\u202e",
        "\u200b",
    ),
    *("א", "文", "word ", "A sentence of words. ", "é", "🦊"),
)
SIZE = 20_000

Pair = tuple[str, str]
T = TypeVar("T")


def pattern(rng: random.Random) -> str:
    """A few fragments that are repeated, sometimes between others."""
    unit = "".join(rng.choices(FRAGMENTS, k=rng.randint(1, 6)))
    around = "".join(rng.choices(FRAGMENTS, k=rng.randint(0, 4)))
    return around + unit * rng.randint(1, 2_000) + around[::-1]


def changed(rng: random.Random, old: str) -> str:
    """`old` with a fragment put in, a part left out, doubled or mixed with another pattern."""
    cut, end = sorted((rng.randint(0, len(old)), rng.randint(0, len(old))))
    unit = old[cut : cut + rng.randint(1, 12)] + rng.choice(FRAGMENTS)
    choices: tuple[Callable[[], str], ...] = (
        lambda: old[:cut] + rng.choice(FRAGMENTS) + old[cut:],
        lambda: old[:cut] + old[end:],
        lambda: old[:end] + old[cut:],
        lambda: old.replace(rng.choice(FRAGMENTS), rng.choice(FRAGMENTS)),
        lambda: old[: len(old) // 2] + pattern(rng),
        lambda: unit * (SIZE // len(unit)),
        lambda: pattern(rng),
    )
    return rng.choice(choices)()


def filled(unit: str, size: int) -> str:
    """`unit` repeated to `size` characters."""
    return (unit * (size // max(1, len(unit)) + 1))[:size] if unit else "a" * size


def climb(rng: random.Random, rounds: int, first: T, change: Callable[[T], T], score: Callable[[T], float]) -> T:
    """The input with the highest score after `rounds` changes, with some restarts."""
    best = now = first
    best_score = now_score = score(first)
    for number in range(rounds):
        candidate = change(now)
        candidate_score = score(candidate)
        if candidate_score >= now_score:
            now, now_score = candidate, candidate_score
        if candidate_score > best_score:
            best, best_score = candidate, candidate_score
        if number % 50 == 49:
            now, now_score = (best, best_score) if rng.random() < 0.5 else (first, score(first))
    return best


def cpu(work: Callable[[], object], times: int = 1) -> float:
    """Milliseconds of CPU time of this thread, the least of `times` runs."""
    least = float("inf")
    for _ in range(times):
        began = time.thread_time()
        work()
        least = min(least, time.thread_time() - began)
    return least * 1000


def page(texts: Sequence[str]) -> None:
    """Render these texts as a request does, with an empty cache."""
    with request_budget():
        for one in texts:
            markdown._cached.cache_clear()
            markdown.render(one)
            markdown.as_written(one)


def longest_rendered(pattern: str) -> str:
    """The longest repetition of the pattern that is still rendered."""
    low, high = 1, markdown.MAX_COST * markdown.UNIT_CHARACTERS
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if markdown.cost(filled(pattern, middle)) <= markdown.MAX_COST else (low, middle - 1)
    return filled(pattern, low)


def slowest_text(rng: random.Random, rounds: int, score: Callable[[str], float]) -> str:
    return climb(rng, rounds, "*a* ", lambda old: changed(rng, old)[:SIZE], lambda one: score(filled(one, SIZE)))


def milliseconds_per_unit(one: str) -> float:
    return cpu(lambda: markdown._rendered(one, 3)) / markdown.cost(one)


def page_of(one: str) -> list[str]:
    fits = UNITS_PER_REQUEST // markdown.cost(one)
    return [one] * min(3 * fits, 200)


def pair_of(rng: random.Random, size: int) -> Pair:
    """Two similar texts that are expensive to compare."""
    words = [f"{rng.choice(FRAGMENTS)}{number}" for number in range(rng.choice((2, 5, 20, 100, 150, 1000)))]
    gap = rng.choice((" ", "\n", ". ", "", ".", "\n\n"))
    old = gap.join(rng.choices(words, k=rng.randint(1, size // 4 + 1)))[:size]
    kind = rng.randint(0, 3)
    if kind == 0:
        new = gap.join(rng.choices(words, k=rng.randint(1, size // 4 + 1)))[:size]
    elif kind == 1:
        new = old[::-1]
    elif kind == 2:
        parts = old.split(gap or None)
        new = gap.join(part for part in parts if rng.random() < 0.9)
    else:
        new = filled(pattern(rng), size)
    return old, new


def slowest_pair(rng: random.Random, rounds: int, sizes: Sequence[int]) -> Pair:
    def another(old: Pair) -> Pair:
        if rng.random() < 0.7:
            return pair_of(rng, rng.choice(sizes))
        return old[rng.randint(0, 1)], changed(rng, old[1])[: sizes[-1]]

    return climb(rng, rounds, ("a b " * 100, "b a " * 100), another, lambda pair: cpu(lambda: word_diff(*pair)))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    rng = random.Random(options.seed)  # a search, not a secret
    found = slowest_text(rng, options.rounds, milliseconds_per_unit)
    one = longest_rendered(found)
    pair = slowest_pair(rng, options.rounds, (500, 5_000, 20_000, 80_000, 400_000))
    print(f"slowest text: {found[:80]!r}\nslowest pair: {pair[0][:80]!r}\n              {pair[1][:80]!r}")
    tenth, whole = filled(found, 20_000), filled(found, 200_000)
    result = {
        "slowest_page_ms": round(cpu(lambda: page(page_of(one)), 3), 1),
        "slowest_text_ms": round(cpu(lambda: markdown._rendered(one, 3), 3), 1),
        "slowest_diff_ms": round(cpu(lambda: word_diff(*pair), 3), 1),
        "text_growth": round(
            cpu(lambda: markdown._rendered(whole, 3), 3) / cpu(lambda: markdown._rendered(tenth, 3), 3), 1
        ),
        "diff_growth": round(
            cpu(lambda: word_diff(pair[0] * 10, pair[1] * 10), 3) / cpu(lambda: word_diff(*pair), 3), 1
        ),
        "rounds": options.rounds,
        "seed": options.seed,
    }
    print(json.dumps(result))


if __name__ == "__main__":
    main()
