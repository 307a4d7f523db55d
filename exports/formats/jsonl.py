"""JSON Lines: one row a line, UTF-8, keys in the order of the schema, so that equal rows are equal bytes."""

import json
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Self

from exports.schema import FileKind, Row


def file_name(kind: FileKind, split: str) -> str:
    return f"{kind}_{split}.jsonl"


def line(row: Row) -> bytes:
    return json.dumps(row.as_json(), ensure_ascii=False, separators=(",", ":")).encode() + b"\n"


def read(path: Path) -> Iterator[tuple[bytes, dict[str, Any]]]:
    """Each line of a file that Writer wrote, as its bytes and as its values. Memory is one line."""
    with path.open("rb") as file:
        for raw in file:
            yield raw, json.loads(raw)


class Writer:
    """Writes rows to the files of their kind and split. A file begins with its first row: loaders refuse empty ones."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.files: dict[str, IO[bytes]] = {}

    def write(self, row: Row) -> None:
        name = file_name(row.kind, row.split)
        if name not in self.files:
            self.files[name] = (self.folder / name).open("xb")
        self.files[name].write(line(row))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, error: type[BaseException] | None, value: BaseException | None, traceback: TracebackType | None
    ) -> None:
        for file in self.files.values():
            file.close()
