"""Loads SQL from .sql files. A statement follows a line `-- name: take_next_slot`, and psql can run it too.

`:campaign` is a value (`\\set campaign 7` in psql), `{name}` a part that Python inserts.
"""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from annotate.lib.prepared import Shape

Values = dict[str, Any]

# No colon in quoted text or a cast starts a value.
TOKEN = re.compile(r"'(?:[^']|'')*'|::|:([a-z_]+)|%")


def load_statements(path: Path, **shapes: Shape[Any]) -> Mapping[str, str]:
    """A shape's alias with `.*` becomes its columns in the model's order. The table's order differs after a migration,
    and a prepared statement fails if its result gains a column.
    """
    _before, *parts = re.split(r"^-- name: (\w+)\n", path.read_text(encoding="utf-8"), flags=re.MULTILINE)
    return {name: _completed(text, shapes) for name, text in zip(parts[::2], parts[1::2], strict=True)}


def _completed(text: str, shapes: Mapping[str, Shape[Any]]) -> str:
    text = re.sub(r"^\s*--.*\n", "", text, flags=re.MULTILINE).strip().removesuffix(";")
    text = TOKEN.sub(lambda token: f"%({token[1]})s" if token[1] else token[0].replace("%", "%%"), text)
    return re.sub(r"\b(\w+)\.\*", lambda found: shapes[found[1]].columns if found[1] in shapes else found[0], text)
