"""Statements of our own that insert rows: the database fills in every column that they leave out."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from django.apps import apps
from django.db import connection

ROOT = Path(__file__).resolve().parents[1]
INSERT = re.compile(r"INSERT INTO (\w+)(?: AS \w+)?\s*\(([\w\s,]+)\)")
MODELS = {model._meta.db_table: model for model in apps.get_models()}


def inserts() -> Iterator[tuple[str, set[str]]]:
    """The table and the columns of each statement."""
    for package in ("annotate", "exports", "models_worker"):
        for path in (ROOT / package).rglob("*"):
            if path.suffix in (".py", ".sql") and path.parent.name != "migrations":
                for table, columns in INSERT.findall(path.read_text()):
                    yield table, {column.strip() for column in columns.split(",")}


def needed(table: str) -> set[str]:
    """The columns that a row must have and that the database does not fill in."""
    fields = MODELS[table]._meta.concrete_fields
    filled = [field for field in fields if field.null or field.has_db_default() or field.generated]
    return {field.column for field in fields if field not in filled and field.get_internal_type() != "BigAutoField"}


@pytest.mark.parametrize(("table", "columns"), [pytest.param(*found, id=found[0]) for found in inserts()])
def test_an_insert_names_every_column_that_has_no_default(table, columns):
    assert needed(table) <= columns


def test_the_statements_are_found():
    assert {"work_task", "work_assignment", "work_event", "samples_samplerequest"} <= {table for table, _c in inserts()}


@pytest.mark.django_db
def test_the_database_has_the_defaults_of_the_models():
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT column_name, column_default FROM information_schema.columns"
            " WHERE table_name = 'work_assignment' AND column_default IS NOT NULL"
        )
        found = dict(cursor.fetchall())
    assert found.keys() >= {"language", "state", "hand", "needs_review", "comment", "rounds"}
    assert found["state"].startswith("'open'")
