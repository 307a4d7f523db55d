import csv
import json
import re
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import PurePath
from typing import Final

from django.utils.translation import gettext as _

from annotate.lib.objects import Repeated, each_once
from annotate.pools.importers.files import BadFile, line_end

JSONL: Final = (".jsonl", ".ndjson", ".json")
CSV: Final = (".csv", ".tsv")
# Their cells contain lists and objects.
JSON_COLUMNS: Final = ("messages", "shots", "instances", "history")
SEPARATOR: Final = re.compile(r'"?sep=(?P<sign>[^"])"?', re.IGNORECASE)
QUOTED: Final = re.compile(r'"(?:[^"]|"")*"?')
# Also inside concatenated files.
BYTE_ORDER_MARK: Final = "\ufeff"
# Deeper values overflow the stack.
MAX_LEVELS: Final = 100
# The default of 128 kB is too short for prompts.
csv.field_size_limit(10_000_000)


@dataclass(frozen=True)
class Line:
    """`number` and `last` are the first and last line of the row, from 1; `size` is in characters.

    `blank`: CSV cells without visible text, which `fields` lacks.
    """

    number: int
    last: int
    size: int
    fields: dict[str, object] = field(default_factory=dict)
    problem: str = ""
    blank: dict[str, str] = field(default_factory=dict)


class _Bad(Exception):
    """The line cannot be read."""


def read(file_name: str, chunks: Iterable[bytes]) -> Iterator[Line]:
    """Skip blank lines. Raises BadFile if the file is neither JSONL nor CSV with a header."""
    suffix = PurePath(file_name).suffix.lower()
    if suffix in JSONL:
        return _jsonl(_physical(chunks))
    if suffix in CSV:
        return _csv(_physical(chunks), "\t" if suffix == ".tsv" else "")
    raise BadFile(_("Only JSONL and CSV files can be imported. Give the file a name that ends with .jsonl or .csv."))


def _physical(chunks: Iterable[bytes]) -> Iterator[str]:
    rest, end = b"", b""
    for chunk in chunks:
        end = end or line_end(chunk)
        *whole, rest = (rest + chunk).split(end)
        for line in whole:
            yield line.decode() + "\n"
    if rest:
        yield rest.decode()


def _jsonl(physical: Iterator[str]) -> Iterator[Line]:
    is_first = True
    for number, line in enumerate(physical, start=1):
        text = line.removeprefix(BYTE_ORDER_MARK)
        if not text.strip():
            continue
        if is_first:
            _check_is_lines(text.strip())
            is_first = False
        try:
            yield Line(number, number, len(text), fields=_object(text))
        except _Bad as bad:
            yield Line(number, number, len(text), problem=str(bad))


def _check_is_lines(first: str) -> None:
    if first.startswith("["):
        raise BadFile(_("This file is one JSON list. Write one object per line instead, for example with: jq -c '.[]'"))
    if first == "{":
        raise BadFile(
            _("This file is one JSON object over several lines. Write each in one line, for example with: jq -c .")
        )


def _object(text: str) -> dict[str, object]:
    value = _json(text)
    if not isinstance(value, dict):
        raise _Bad(_("This is not a JSON object. Write {…} with the fields of one prompt on each line."))
    return {name: item for name, item in value.items() if item is not None}


def _json(text: str) -> object:
    try:
        value = json.loads(text, parse_int=_whole, object_pairs_hook=each_once)
    except Repeated as repeated:
        raise _Bad(str(repeated)) from repeated
    except (ValueError, RecursionError) as error:
        raise _Bad(_("This is not valid JSON: %(error)s") % {"error": error}) from error
    if text.count("[") + text.count("{") > MAX_LEVELS and _is_deep(value):
        raise _Bad(_("This JSON is nested more than %(most)d levels deep. Flatten it.") % {"most": MAX_LEVELS})
    return value


def _is_deep(value: object) -> bool:
    level = [value]
    for _level in range(MAX_LEVELS):
        objects = [each.values() if isinstance(each, dict) else each for each in level if isinstance(each, dict | list)]
        level = [inner for each in objects for inner in each]
        if not level:
            return False
    return True


def _whole(digits: str) -> int | float:
    """Integers that are too long for Python become infinite."""
    return int(digits) if len(digits) <= sys.int_info.default_max_str_digits else float(digits)


class _Remembered:
    """Lines without the byte order mark at the start of a row. `row`: the lines since it was cleared."""

    def __init__(self, physical: Iterator[str]) -> None:
        self.physical = physical
        self.row: list[str] = []

    def __iter__(self) -> Iterator[str]:
        for line in self.physical:
            text = line if self.row else line.removeprefix(BYTE_ORDER_MARK)
            self.row.append(text)
            yield text


def _csv(physical: Iterator[str], delimiter: str) -> Iterator[Line]:
    first = next(physical, "").removeprefix(BYTE_ORDER_MARK)
    # Excel writes the delimiter into a line of its own.
    named = SEPARATOR.fullmatch(first.strip("\r\n"))
    if named:
        delimiter, first = named["sign"], next(physical, "")
    # Spreadsheets write semicolons where the comma is the decimal sign. Quoted ones are text.
    delimiter = delimiter or max(",;\t", key=QUOTED.sub("", first).count)
    source = _Remembered(_again(first, physical))
    rows = csv.reader(iter(source), delimiter=delimiter, strict=True)
    skipped = 1 if named else 0
    header = _header(rows, skipped + 1)
    last = rows.line_num + skipped
    while True:
        number = last + 1
        source.row.clear()
        try:
            row = next(rows, None)
        except csv.Error as error:
            last = rows.line_num + skipped
            yield Line(number, last, 0, problem=_unreadable(error, number, last))
            continue
        if row is None:
            return
        last = rows.line_num + skipped
        if not any(cell.strip() for cell in row):
            continue
        size = sum(map(len, row))
        try:
            if _joins_rows(source.row, header, delimiter):
                raise _Bad(_joined(number, last))
            blank = _blank(header, row)
            yield Line(number, last, size, fields=_cells(header, row), blank=blank)
        except _Bad as bad:
            yield Line(number, last, size, problem=str(bad))


def _again(first: str, rest: Iterator[str]) -> Iterator[str]:
    yield first
    yield from rest


def _unreadable(error: csv.Error, number: int, last: int) -> str:
    problem = _("This is not valid CSV: %(error)s") % {"error": error}
    if last > number:
        span = _(
            "Lines %(number)d to %(last)d form one row because of a quotation mark. None of them is imported. Add the "
            "missing mark, or write each mark inside a text twice."
        )
        problem = f"{problem}. {span % {'number': number, 'last': last}}"
    return problem


def _joined(number: int, last: int) -> str:
    return _(
        "Lines %(number)d to %(last)d look like several rows, joined because a quotation mark is missing. None of them "
        "is imported. Add the missing mark. If this is the text of one prompt, write it as JSONL."
    ) % {"number": number, "last": last}


def _joins_rows(physical: list[str], header: list[str], delimiter: str) -> bool:
    """Do the lines of this row look like rows, joined by an unclosed quotation mark?

    Each must have as many cells as the header. Commas in prose come before a space or a line end, so the first, the
    last and most other lines must have no cell that begins with a space and, with only two columns, no empty cell
    unless the last line has one.
    """
    lines = [line.rstrip("\r\n") for line in physical]
    rows = [_trimmed(line.split(delimiter), header) for line in lines if line.strip()]
    named = _named(header)
    if len(rows) < 2 or named < 2 or not all(named <= len(cells) <= len(header) for cells in rows):
        return False
    may_be_empty = named > 2 or not rows[-1][-1]
    alike = [all(cell[:1].strip() or (may_be_empty and not cell) for cell in cells) for cells in rows]
    return alike[0] and alike[-1] and sum(alike) * 2 > len(alike)


def _named(header: list[str]) -> int:
    named = (place for place, name in enumerate(header, start=1) if name != f"column_{place}")
    return max(named, default=len(header))


def _trimmed(row: list[str], header: list[str]) -> list[str]:
    end = len(row)
    while end > _named(header) and not row[end - 1].strip():
        end -= 1
    return row[:end]


def _header(rows: Iterator[list[str]], line: int) -> list[str]:
    try:
        given = [name.strip().lower().replace(" ", "_").replace("-", "_") for name in next(rows, [])]
    except csv.Error as error:
        raise BadFile(
            _("The header in line %(line)d is not valid CSV. Correct it: %(error)s") % {"line": line, "error": error}
        ) from error
    header = [name or f"column_{place}" for place, name in enumerate(given, start=1)]
    if not any(given) or len(set(header)) < len(header) or any("\n" in name for name in given):
        raise BadFile(_("The header in line %(line)d must name each column once, within one line.") % {"line": line})
    return header


def _blank(header: list[str], row: list[str]) -> dict[str, str]:
    return {name: cell for name, cell in zip(header, row, strict=False) if not cell.strip()}


def _cells(header: list[str], row: list[str]) -> dict[str, object]:
    row = _trimmed(row, header)
    if not _named(header) <= len(row) <= len(header):
        raise _Bad(
            _("This row has %(cells)d cells, but the header has %(names)d. Check the quotation marks.")
            % {"cells": len(row), "names": len(header)}
        )
    cells = {name: cell for name, cell in zip(header, row, strict=False) if cell.strip()}
    values: dict[str, object] = {
        name: _json(cells[name]) for name in JSON_COLUMNS if name in cells and cells[name].lstrip()[0] in "[{"
    }
    if messages := _messages(cells.get("prompt", "")):
        values["prompt"] = messages
    return cells | values


def _messages(cell: str) -> list[dict[str, object]]:
    """A text in brackets has no messages."""
    if not cell.lstrip().startswith("["):
        return []
    try:
        value = _json(cell)
    except _Bad:
        return []
    if isinstance(value, list) and all(isinstance(each, dict) and "role" in each for each in value):
        return value
    return []
