"""Loads SQL statements from .sql files.

Each statement follows a line `-- name: take_next_slot` and is complete, so psql runs it too. `:campaign` is a value
(`\\set campaign 7` in psql), and `slot.*` selects all columns of a row. `{name}` is a part that Python inserts.
"""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from annotate.lib.prepared import Shape

# The values of a statement by name, of any type that psycopg2 adapts.
Values = dict[str, Any]

# Quoted text and casts come first, so that no colon in them starts a value.
TOKEN = re.compile(r"'(?:[^']|'')*'|::|:([a-z_]+)|%")


def load_statements(path: Path, **shapes: Shape[Any]) -> Mapping[str, str]:
    """Return the statements of a file by name, with values as psycopg2 expects them: `%(campaign)s`.

    A shape's alias followed by `.*` becomes the columns of its model, in the model's order: the order in the table
    differs after a migration, and a prepared statement fails if a migration adds a column to its result.
    """
    _before, *parts = re.split(r"^-- name: (\w+)\n", path.read_text(encoding="utf-8"), flags=re.MULTILINE)
    return {name: _completed(text, shapes) for name, text in zip(parts[::2], parts[1::2], strict=True)}


def _completed(text: str, shapes: Mapping[str, Shape[Any]]) -> str:
    text = re.sub(r"^\s*--.*\n", "", text, flags=re.MULTILINE).strip().removesuffix(";")
    text = TOKEN.sub(lambda token: f"%({token[1]})s" if token[1] else token[0].replace("%", "%%"), text)
    return re.sub(r"\b(\w+)\.\*", lambda found: shapes[found[1]].columns if found[1] in shapes else found[0], text)
