"""Loads SQL from files that psql can run too (`\\set campaign 7`). Python replaces `:campaign` and `{name}`."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from annotate.lib.prepared import Shape

Values = dict[str, Any]

# No colon in quoted text or a cast starts a value.
TOKEN = re.compile(r"'(?:[^']|'')*'|::|:([a-z_]+)|%")


def load_statements(path: Path, **shapes: Shape[Any]) -> Mapping[str, str]:
    """Read the statements of a file by name. A shape's `alias.*` becomes the columns of its model.

    The table's order of columns differs after migrations, and new columns break prepared statements.
    """
    _before, *parts = re.split(r"^-- name: (\w+)\n", path.read_text(encoding="utf-8"), flags=re.MULTILINE)
    return {name: _completed(text, shapes) for name, text in zip(parts[::2], parts[1::2], strict=True)}


def _completed(text: str, shapes: Mapping[str, Shape[Any]]) -> str:
    text = re.sub(r"^\s*--.*\n", "", text, flags=re.MULTILINE).strip().removesuffix(";")
    text = TOKEN.sub(lambda token: f"%({token[1]})s" if token[1] else token[0].replace("%", "%%"), text)
    return re.sub(r"\b(\w+)\.\*", lambda found: shapes[found[1]].columns if found[1] in shapes else found[0], text)
