"""docs/glossary.md: every term once, and every name of the code that it gives is there."""

import re
from importlib import import_module
from pathlib import Path

import pytest

ROWS = [
    [cell.strip() for cell in line.strip("|").split("|")]
    for line in (Path(__file__).resolve().parents[1] / "docs/glossary.md").read_text().splitlines()
    if line.startswith("| ") and not line.startswith("| Term ")
]
TERMS = [term for terms, *_rest in ROWS for term in terms.split(", ")]
NAMES = [name for *_rest, names in ROWS for name in re.findall(r"`([\w.]+)`", names)]


def resolves(name: str) -> bool:
    """`pools.Prompt.shots` is a column of a model; `work.leases.claim` a function; `exports.rows` a package."""
    parts = name.split(".")
    models = [[f"{place}{parts[0]}.models", *parts[1:]] for place in ("annotate.", "")]
    roots = (*models, ["annotate", *parts], parts)
    return any(found(list(root)) for root in roots)


def found(parts: list[str]) -> bool:
    try:
        known = import_module(parts.pop(0))
    except ImportError:
        return False
    for part in parts:
        if not hasattr(known, part):
            try:
                import_module(f"{getattr(known, '__name__', '')}.{part}")
            except (ImportError, ValueError):
                return False
        known = getattr(known, part)
    return True


def test_each_term_has_one_meaning():
    assert len(TERMS) == len(set(TERMS)) >= 40


@pytest.mark.parametrize("name", [name for name in NAMES if name != "instructions"])
def test_the_code_has_the_name(name):
    assert resolves(name)


def test_a_name_that_is_not_there_is_noticed():
    assert not resolves("pools.Puddle")
    assert not resolves("pools.Prompt.depth")
