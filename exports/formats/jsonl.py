"""JSON Lines: one row a line, in UTF-8. Keys are in the order of their declaration: equal rows give equal bytes."""

import json
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Self

from exports.schema import Row


def file_name(file: str, split: str) -> str:
    return f"{file}_{split}.jsonl"


def line(row: Row) -> bytes:
    return json.dumps(row.as_json(), ensure_ascii=False, separators=(",", ":")).encode() + b"\n"


def read(path: Path) -> Iterator[tuple[bytes, dict[str, Any]]]:
    """Each line, as bytes and as values. Holds one line in memory."""
    with path.open("rb") as file:
        for raw in file:
            yield raw, json.loads(raw)


class Writer:
    """Creates a file when its first row is written, because loaders refuse empty files."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.files: dict[str, IO[bytes]] = {}

    def write(self, row: Row) -> None:
        name = file_name(row.file, row.split)
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
