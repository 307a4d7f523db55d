"""What each workflow exports is declared once: in its module of exports/rows and by one line of the export table."""

from io import StringIO
from pathlib import Path

from django.core.management import call_command

import exports
from annotate.workflows.table import WORKFLOWS
from exports.schema import columns
from exports.table import EXPORTS, FILES
from tests.exports.test_files import full

__all__ = ["full"]

HOME = Path(exports.__file__).parent
DOCS = HOME.parent / "docs"


def test_every_workflow_is_in_the_table_once():
    assert sorted(export.key for export in EXPORTS) == sorted(WORKFLOWS)


def test_a_line_has_the_declared_columns_with_their_types(full, export):
    written = export()
    files = [file for file in FILES if file.name in ("sft", "rm", "rm_pairs", "ppo")]
    assert len(files) == 4
    for file in files:
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
