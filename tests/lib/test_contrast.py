"""The colours of static/css/base.css against each other, in both themes (WCAG 2.2, 1.4.3 and 1.4.11)."""

import re
from pathlib import Path

import pytest

BASE = Path(__file__).resolve().parents[2] / "static" / "css" / "base.css"
TOKENS = {
    name: (light, dark)
    for name, light, dark in re.findall(r"--([\w-]+): light-dark\((#\w{6}), (#\w{6})\)", BASE.read_text())
}
GROUNDS = ("bg", "surface", "sunken")
SOFT = ("accent-soft", "good-soft", "warn-soft", "bad-soft")
TEXT = [
    *((ink, ground) for ink in ("text", "muted", "accent", "accent-strong") for ground in (*GROUNDS, *SOFT)),
    *((tone, ground) for tone in ("good", "warn", "bad") for ground in (*GROUNDS, f"{tone}-soft")),
    ("on-accent", "accent"),
    ("on-accent", "accent-strong"),
]
EDGES = [("line-strong", ground) for ground in GROUNDS] + [("accent", ground) for ground in GROUNDS]


def luminance(colour: str) -> float:
    """Relative luminance, 0 black to 1 white, as WCAG 2 defines it."""
    channels = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(one: str, other: str) -> float:
    darker, lighter = sorted((luminance(one), luminance(other)))
    return (lighter + 0.05) / (darker + 0.05)


def test_the_measure_is_the_published_one() -> None:
    assert contrast("#000000", "#ffffff") == pytest.approx(21)
    assert contrast("#777777", "#ffffff") == pytest.approx(4.48, abs=0.005)


@pytest.mark.parametrize("theme", [0, 1], ids=["light", "dark"])
@pytest.mark.parametrize(("least", "pairs"), [(4.5, TEXT), (3, EDGES)], ids=["text", "edges"])
def test_every_pair_can_be_told_apart(least: float, pairs: list[tuple[str, str]], theme: int) -> None:
    faint = {pair: contrast(TOKENS[pair[0]][theme], TOKENS[pair[1]][theme]) for pair in pairs}
    assert {pair: ratio for pair, ratio in faint.items() if ratio < least} == {}
