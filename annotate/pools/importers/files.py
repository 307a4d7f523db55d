import codecs
from collections.abc import Iterator
from functools import partial
from typing import IO, Final

from django.conf import settings
from django.utils.translation import gettext as _

from annotate.lib.refusals import Refusal
from annotate.pools.models import ImportChunk, ImportJob

CHUNK: Final = 1024 * 1024
# Fifty times the longest prompt. A line is read in one piece.
MAX_LINE_BYTES: Final = 10 * 1024 * 1024


class BadFile(Refusal):
    """The file cannot be imported."""


def keep(job: ImportJob, file: IO[bytes]) -> int:
    """Store the file in chunks. Returns the number of lines. Raises BadFile, also for one line that is not UTF-8."""
    decoder = codecs.getincrementaldecoder("utf-8")()
    ends = size = number = unended = 0
    data = end = b""
    for number, data in enumerate(iter(partial(file.read, CHUNK), b"")):
        size += len(data)
        if size > settings.IMPORT_MAX_BYTES:
            most = settings.IMPORT_MAX_BYTES // (1024 * 1024)
            raise BadFile(_("The file is larger than %(most)d MB. Divide it into smaller files.") % {"most": most})
        if not number:
            _check_encoding(data)
            end = line_end(data)
        _decode(decoder, data, ends)
        first = data.find(end)
        if unended + (first if first >= 0 else len(data)) > MAX_LINE_BYTES:
            raise BadFile(
                _("Line %(number)d is longer than %(most)d MB. Write one prompt or completion per line.")
                % {"number": ends + 1, "most": MAX_LINE_BYTES // (1024 * 1024)}
            )
        unended = len(data) - data.rfind(end) - 1 if first >= 0 else unended + len(data)
        ImportChunk.objects.create(job=job, number=number, data=data)
        ends += data.count(end)
    _decode(decoder, b"", ends, final=True)
    if not size:
        raise BadFile(_("The file is empty. Choose another file."))
    return ends if data.endswith(end) else ends + 1


def line_end(data: bytes) -> bytes:
    """Detect the line end. Old Macintosh programs write carriage returns only."""
    return b"\r" if b"\n" not in data and b"\r" in data[:-1] else b"\n"


def _check_encoding(data: bytes) -> None:
    """Refuse UTF-16. Its ASCII characters are valid UTF-8, with NUL as every other byte."""
    begin = data[:1000]
    if len(begin) > 1 and begin.count(0) * 3 > len(begin):
        raise BadFile(
            _("This file is UTF-16 text. Save the file as UTF-8 (in Excel: “CSV UTF-8”) and import it again.")
        )


def _decode(decoder: codecs.IncrementalDecoder, data: bytes, lines_before: int, *, final: bool = False) -> None:
    try:
        decoder.decode(data, final)
    except UnicodeDecodeError as error:
        number = lines_before + 1 + error.object.count(b"\n", 0, error.start)
        raise BadFile(
            _("Line %(number)d is not UTF-8 text. Save the file as UTF-8 (in Excel: “CSV UTF-8”) and import it again.")
            % {"number": number}
        ) from error


def chunks(job: ImportJob) -> Iterator[bytes]:
    """Read the file with one query per chunk, so that transactions may end in between."""
    number = 0
    while chunk := ImportChunk.objects.filter(job=job, number=number).first():
        yield bytes(chunk.data)
        number += 1
