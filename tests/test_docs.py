"""The documentation is complete, and its links lead somewhere."""

import ast
import re
import tomllib
from functools import cache
from pathlib import Path

import pytest

from annotate.workflows.table import WORKFLOWS

ROOT = Path(__file__).resolve().parents[1]
PAGES = sorted([*(ROOT / "docs").glob("*.md"), ROOT / "README.md", ROOT / "CONTRIBUTING.md"])
DECISIONS = (ROOT / "docs/decisions.md").read_text()

FENCED = re.compile(r"^```.*?^```", re.DOTALL | re.MULTILINE)
LINK = re.compile(r"\]\(([^)\s]+)\)")
HEADING = re.compile(r"^#+ (.+)$", re.MULTILINE)
# A decision, as its section and as its line of the index have it: number, title, date, status.
SECTION = re.compile(r"^## (\d+)\. (.+)\n\n(\S+) · (.+)\n\n\S", re.MULTILINE)
LINE = re.compile(r"^\| (\d+) \| \[(.+)\]\(#(\S+)\) \| (\S+) \| (.+) \|$", re.MULTILINE)
STATUS = re.compile(r"accepted|superseded by (\d+)")


def anchor(heading: str) -> str:
    """The name that GitHub gives to a heading."""
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")


@cache
def anchors(page: Path) -> set[str]:
    return {anchor(heading) for heading in HEADING.findall(FENCED.sub("", page.read_text()))}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_relative_link_leads_to_a_file_and_a_heading(page):
    broken = []
    for link in LINK.findall(FENCED.sub("", page.read_text())):
        path, _, name = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        if "://" not in link and (not target.exists() or (name and name not in anchors(target))):
            broken.append(link)
    assert broken == []


def test_every_decision_is_in_the_index_with_its_number_date_and_status():
    sections = [
        (number, title, anchor(f"{number}. {title}"), *rest) for number, title, *rest in SECTION.findall(DECISIONS)
    ]
    assert LINE.findall(DECISIONS) == sections
    assert len(sections) == len(re.findall("^## ", DECISIONS, re.MULTILINE))
    assert [int(number) for number, *_rest in sections] == list(range(1, len(sections) + 1))


def test_every_decision_has_a_date_and_a_status():
    for number, _title, date, status in SECTION.findall(DECISIONS):
        assert re.fullmatch(r"\d{4}-\d\d-\d\d", date), number
        stated = STATUS.fullmatch(status)
        assert stated, number
        assert not stated[1] or int(number) < int(stated[1]) <= len(SECTION.findall(DECISIONS)), number


ARCHITECTURE = (ROOT / "docs/architecture.md").read_text()
STEP = re.compile(r"^\| .+ \| (`.+`) \| `(.+)` \|$", re.MULTILINE)
STEPS = [(name, place) for names, place in STEP.findall(ARCHITECTURE) for name in re.findall(r"`(\w+)`", names)]
FOLDERS = r"annotate|models_worker|exports|bin|templates|static|docs|tests|bench"


def defined_in(place: Path) -> set[str]:
    """The functions and classes at the top level of a module, or of any module of a package."""
    modules = [place] if place.is_file() else place.rglob("*.py")
    kinds = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
    return {node.name for path in modules for node in ast.parse(path.read_text()).body if isinstance(node, kinds)}


@pytest.mark.parametrize(("name", "place"), STEPS)
def test_every_function_of_the_architecture_is_where_it_says(name, place):
    assert name in defined_in(ROOT / place)


def test_every_path_of_the_architecture_exists():
    paths = re.findall(rf"`((?:{FOLDERS})/[\w./]*)`", ARCHITECTURE)
    assert len(paths) > 20
    assert [path for path in paths if not (ROOT / path).exists()] == []


def test_the_architecture_has_the_layers_of_the_import_contract():
    (contract,) = (
        contract
        for contract in tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
        if contract["type"] == "layers"
    )
    table = ARCHITECTURE.split("| packages | contain |")[1].split("\n\n")[0]
    rows = [re.findall(r"`([\w.]+)`", row.split("|")[1]) for row in table.splitlines() if "`" in row]
    layers = [layer.split(" | ") for layer in contract["layers"]]
    # The table names the workflows that the project has; a new one need not be in it.
    own = {type(workflow).__module__.rpartition(".")[0] for workflow in WORKFLOWS.values()}
    assert [row for row in rows if not own & set(row)] == [layer for layer in layers if not own & set(layer)]
    assert {package for row in rows for package in row} & own
