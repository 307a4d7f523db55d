"""docs/training-files.md: the columns of each training file, as Markdown."""

from typing import get_args, is_typeddict

from exports.schema import SCHEMA_VERSION, Messages
from exports.table import FILES

TEXT = f"""# Training files

`manage.py export` and the page **Exports** write these files as JSON Lines, one for each side of the split:
`sft_train.jsonl`, `sft_valid.jsonl` and so on. A file without rows is not written. Every line has all columns of its
file, and a column has one type. This is version {SCHEMA_VERSION} of the columns; manifests name their version.

A message is `{{"role": ..., "content": ...}}`. This page is generated: after a change of the columns run
`DEBUG=1 .venv/bin/python manage.py training_files > docs/training-files.md`.
"""
TYPES: dict[object, str] = {str: "text", int: "integer", float: "number", Messages: "messages"}


def reference() -> str:
    lines = TEXT.splitlines()
    for file in FILES:
        lines += ["", f"## {file.name}", "", "| Column | Type | Meaning |", "|---|---|---|"]
        for column in file.columns:
            type_ = type_name(column.type) + (" or null" if column.nullable else "")
            lines.append(f"| `{column.name}` | {type_} | {column.meaning} |")
    return "\n".join(lines) + "\n"


def type_name(type_: object) -> str:
    if type_ in TYPES:
        return TYPES[type_]
    if is_typeddict(type_):
        return "{" + ", ".join(f"`{name}`: {TYPES[of]}" for name, of in type_.__annotations__.items()) + "}"
    return f"list of {type_name(get_args(type_)[0])}"
