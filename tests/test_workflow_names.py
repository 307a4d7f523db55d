"""A workflow is named in its package, in its export rows, and by one line each in four files. So a new one is easy."""

import ast
import re

import pytest
from django.conf import settings

from annotate.work.models import Assignment, Campaign, Task
from annotate.workflows.table import WORKFLOWS

ROOT = settings.BASE_DIR
PACKAGES = {type(workflow).__module__.split(".")[1] for workflow in WORKFLOWS.values()}
NAMES = PACKAGES | set(WORKFLOWS)
# The names of what the workflows hang on slots, tasks and campaigns: `ranking`, `brief`, `mix`.
RELATED = {
    relation.get_accessor_name()
    for model in (Assignment, Task, Campaign)
    for relation in model._meta.related_objects
    if relation.related_model.__module__.split(".")[1] in PACKAGES
}
ROWS = {"assignment", "slot", "task", "campaign"}
OWN = re.compile(rf"(annotate|templates)/({'|'.join(sorted(PACKAGES))})/|exports/rows/|.*/migrations/")
TABLES = {"annotate/settings.py", "annotate/workflows/table.py", "exports/table.py"}
# The small policy of the demonstration is trained on texts that name no workflow, but many words.
FILES = [
    path
    for folder in ("annotate", "exports", "models_worker", "templates", "static")
    for path in sorted((ROOT / folder).rglob("*"))
    if path.suffix in (".py", ".html", ".js", ".css")
    and "vendor" not in path.parts
    and not OWN.match(str(path.relative_to(ROOT)))
    and str(path.relative_to(ROOT)) not in TABLES
]


def named_in(lookup: str) -> list[str]:
    """The parts of a query's path. A relation alone may be the name of anything, such as a field of a file."""
    path = lookup.split("__")
    return path if len(path) > 1 else [part for part in path if part in NAMES]


def names_in_python(source: str) -> set[str]:
    """Packages that are imported, and keys and relations that are written as text or as keywords of a query."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.ImportFrom) and node.module:
            parts = [*node.module.split("."), *(alias.name for alias in node.names)]
        elif isinstance(node, ast.Import):
            parts = [part for alias in node.names for part in alias.name.split(".")]
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            parts = named_in(node.value)
        elif isinstance(node, ast.keyword) and node.arg:
            parts = named_in(node.arg)
        elif isinstance(node, ast.Attribute) and ast.unparse(node.value).split(".")[-1] in ROWS:
            parts = [node.attr]
        else:
            continue
        found |= {part for part in parts if part in NAMES | RELATED}
    return found


def names_in_markup(source: str) -> set[str]:
    """Keys in quotes, the folders of templates, and relations of an assignment, a task or a campaign."""
    keys = re.findall(rf"[\"'=]({'|'.join(sorted(NAMES))})[\"'/]", source)
    relations = re.findall(rf"(?:assignment|task|campaign)\.({'|'.join(sorted(RELATED))})\b", source)
    return {*keys, *relations}


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_no_other_file_names_a_workflow(path):
    source = path.read_text()
    assert (names_in_python if path.suffix == ".py" else names_in_markup)(source) == set()


@pytest.mark.parametrize(
    "source",
    [
        "from annotate.rankings.models import Ranking",
        "import annotate.demonstrations.actions",
        "if campaign.workflow == 'demonstrations': pass",
        "Q(instruction__prompt=None)",
        "order_by('ranking__assignment')",
        "campaign.rankingsettings.slate_min",
    ],
)
def test_each_way_to_name_a_workflow_in_python_is_noticed(source):
    assert names_in_python(source)


@pytest.mark.parametrize(
    "source",
    [
        '{% if campaign.workflow == "rankings" %}',
        '{% include "rankings/_task.html" %}',
        '.task[data-workflow="demonstrations"] { color: red }',
        "{{ assignment.instruction.text }}",
    ],
)
def test_each_way_to_name_a_workflow_in_a_template_is_noticed(source):
    assert names_in_markup(source)


@pytest.mark.parametrize("table", sorted(TABLES))
def test_a_table_names_every_workflow(table):
    source = (ROOT / table).read_text()
    assert all(re.search(rf"\b{package}\b", source) for package in PACKAGES)
