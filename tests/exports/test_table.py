"""What each workflow exports is declared once: in its module of exports/rows and by one line of the export table."""

import ast
from io import StringIO
from pathlib import Path

import pytest
from django.core.management import call_command

import exports
from annotate.work.models import Assignment, Task
from annotate.workflows import WORKFLOWS
from exports.schema import columns
from exports.table import EXPORTS, FILES
from tests.exports.test_files import full

__all__ = ["full"]

HOME = Path(exports.__file__).parent
DOCS = HOME.parent / "docs"
KEYS = {export.key for export in EXPORTS}
# What a workflow adds to slots and tasks, such as `instruction` and `brief`.
RELATED = {
    relation.get_accessor_name()
    for model in (Assignment, Task)
    for relation in model._meta.related_objects
    if relation.related_model._meta.app_label in KEYS
}
SHARED = [
    path
    for path in sorted(HOME.rglob("*.py"))
    if path.relative_to(HOME).parts[0] not in ("rows", "migrations") and path != HOME / "table.py"
]


def names_of_workflows(source: str) -> set[str]:
    """The names of workflows in a module: their keys, packages, relations, and the enumeration of all keys."""
    found = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.ImportFrom) and node.module:
            imported = [*node.module.split("."), *(alias.name for alias in node.names)]
        elif isinstance(node, ast.Import):
            imported = [part for alias in node.names for part in alias.name.split(".")]
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            imported = node.value.split("__")
        elif isinstance(node, ast.keyword) and node.arg:
            imported = node.arg.split("__")
        else:
            continue
        found |= {name for name in imported if name in KEYS | RELATED | {"Workflow"}}
    return found


def test_every_workflow_is_in_the_table_once():
    assert sorted(export.key for export in EXPORTS) == sorted(WORKFLOWS)


@pytest.mark.parametrize("path", SHARED, ids=lambda path: str(path.relative_to(HOME)))
def test_only_its_rows_and_the_table_name_a_workflow(path):
    assert names_of_workflows(path.read_text()) == set()


@pytest.mark.parametrize(
    "source",
    [
        "from annotate.rankings.models import Ranking",
        "import annotate.edits.actions",
        "from annotate.work.models import Workflow",
        "if campaign.workflow == 'demonstrations': pass",
        "Q(instruction__prompt=None)",
        "order_by('ranking__assignment')",
    ],
)
def test_each_way_to_name_a_workflow_is_noticed(source):
    assert names_of_workflows(source)


def test_a_line_has_the_declared_columns_with_their_types(full, export):
    written = export()
    for file in FILES:
        declared = {column.name: column.type for column in file.columns}
        for split in ("train", "valid"):
            lines = written.lines(file.name, split)
            assert lines
            for line in lines:
                assert list(line) == list(declared)
                for name, type_ in declared.items():
                    assert isinstance(line[name], type_ if isinstance(type_, type) else list), name


def test_each_column_has_a_meaning_and_is_never_null():
    for file in FILES:
        for column in columns(file.row):
            assert column.meaning.endswith("."), column
            assert not column.nullable, column


def test_the_documentation_lists_the_columns_that_are_declared():
    out = StringIO()
    call_command("training_files", stdout=out)
    assert (DOCS / "training-files.md").read_text() == out.getvalue(), "run manage.py training_files"
