"""The lines of a file as values. What cannot be read is a line with a problem, and the next one is read."""

import csv
import json
import math
from codecs import BOM_UTF8
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import PurePath
from typing import Any, Final

from django.utils.translation import gettext as _

from annotate.lib.text import storable
from annotate.pools.importers.files import BadFile

JSONL: Final = (".jsonl", ".ndjson", ".json")
CSV: Final = (".csv", ".tsv")
# Columns of a CSV file whose cells hold lists and objects.
JSON_COLUMNS: Final = ("messages", "shots", "instances", "parameters")
# The csv module refuses cells beyond 128 kB, which a prompt may be.
csv.field_size_limit(10_000_000)


@dataclass(frozen=True)
class Line:
    """A line of JSONL or a row of CSV, which may span several lines: from `number` to `last`, counted from 1.

    `blank` has the cells of a CSV row without a visible text, by column; they are not among the fields.
    """

    number: int
    last: int
    size: int
    fields: dict[str, Any] = field(default_factory=dict)
    problem: str = ""
    blank: dict[str, str] = field(default_factory=dict)


class _Bad(Exception):
    """Why a line cannot be read."""


def read(file_name: str, chunks: Iterable[bytes]) -> Iterator[Line]:
    """The lines that are not blank, in order. Raises BadFile for a file that is neither JSONL nor CSV with a header."""
    suffix = PurePath(file_name).suffix.lower()
    if suffix in JSONL:
        return _jsonl(_physical(chunks))
    if suffix in CSV:
        return _csv(_physical(chunks), "\t" if suffix == ".tsv" else "")
    raise BadFile(_("Name the file .jsonl or .csv, by what it holds: other files cannot be imported."))


def _physical(chunks: Iterable[bytes]) -> Iterator[str]:
    rest = b""
    for chunk in chunks:
        *whole, rest = (rest + chunk).split(b"\n")
        for line in whole:
            yield _text(line) + "\n"
    if rest:
        yield _text(rest)


def _text(line: bytes) -> str:
    # Windows begins files with a byte order mark; files that were joined have one in their middle.
    return line.removeprefix(BOM_UTF8).decode()


def _jsonl(physical: Iterator[str]) -> Iterator[Line]:
    for number, text in enumerate(physical, start=1):
        if not text.strip():
            continue
        if number == 1 and text.lstrip().startswith("["):
            raise BadFile(_("This file is one JSON list. Write one object a line instead, for example by: jq -c '.[]'"))
        try:
            yield Line(number, number, len(text), fields=_object(text))
        except _Bad as bad:
            yield Line(number, number, len(text), problem=str(bad))


def _object(text: str) -> dict[str, Any]:
    value = _json(text)
    if not isinstance(value, dict):
        raise _Bad(_("This is not a JSON object: write {…} with the fields of one prompt on each line."))
    return {name: item for name, item in value.items() if item is not None}


def _json(text: str) -> Any:
    try:
        value = json.loads(text)
        whole = _storable(value)
    except (ValueError, RecursionError) as error:
        raise _Bad(_("This is not valid JSON: %(error)s") % {"error": error}) from error
    if not whole:
        raise _Bad(
            _("There is something in it that cannot be stored: NUL, half of a surrogate pair, or a number without end.")
        )
    return value


def _storable(value: object) -> bool:
    if isinstance(value, str):
        return storable(value)
    if isinstance(value, float):
        return math.isfinite(value)
    if isinstance(value, dict):
        return all(storable(name) and _storable(item) for name, item in value.items())
    return not isinstance(value, list) or all(map(_storable, value))


def _csv(physical: Iterator[str], delimiter: str) -> Iterator[Line]:
    first = next(physical, "")
    # Where the comma is the decimal sign, spreadsheets write semicolons.
    delimiter = delimiter or max(",;\t", key=first.count)
    rows = csv.reader(_again(first, physical), delimiter=delimiter, strict=True)
    header = _header(rows)
    last = rows.line_num
    while True:
        number = last + 1
        try:
            row = next(rows, None)
        except csv.Error as error:
            last = rows.line_num
            yield Line(number, last, 0, problem=_("This is not valid CSV: %(error)s") % {"error": error})
            continue
        if row is None:
            return
        last = rows.line_num
        if not any(cell.strip() for cell in row):
            continue
        size = sum(map(len, row))
        try:
            yield Line(number, last, size, fields=_cells(header, row), blank=_blank(header, row))
        except _Bad as bad:
            yield Line(number, last, size, problem=str(bad))


def _again(first: str, rest: Iterator[str]) -> Iterator[str]:
    yield first
    yield from rest


def _header(rows: Iterator[list[str]]) -> list[str]:
    try:
        header = [name.strip().lower().replace(" ", "_").replace("-", "_") for name in next(rows, [])]
    except csv.Error as error:
        raise BadFile(_("The header, line 1, is not valid CSV: %(error)s") % {"error": error}) from error
    if not header or not all(header) or len(set(header)) < len(header):
        raise BadFile(_("The header, line 1, must name every column, and each name once."))
    return header


def _blank(header: list[str], row: list[str]) -> dict[str, str]:
    return {name: cell for name, cell in zip(header, row, strict=False) if not cell.strip()}


def _cells(header: list[str], row: list[str]) -> dict[str, Any]:
    if len(row) != len(header):
        raise _Bad(
            _("This row has %(cells)d cells and the header %(names)d: is a quotation mark missing?")
            % {"cells": len(row), "names": len(header)}
        )
    cells: dict[str, Any] = {name: cell for name, cell in zip(header, row, strict=True) if cell.strip()}
    if not _storable(cells):
        raise _Bad(_("There is a NUL character in it, which cannot be stored."))
    return cells | {name: _json(cells[name]) for name in JSON_COLUMNS if name in cells}
