"""The bytes of a file, in and out of rows."""

import codecs
from collections.abc import Iterator
from functools import partial
from typing import IO, Final

from django.conf import settings
from django.utils.translation import gettext as _

from annotate.pools.models import ImportChunk, ImportJob

CHUNK: Final = 1024 * 1024
# A line is read in one piece, first of all by the page that takes the file. Fifty times the longest prompt.
LONGEST_LINE: Final = 10 * 1024 * 1024


class BadFile(Exception):
    """The file was not taken; the message says what to do about it."""


def keep(job: ImportJob, file: IO[bytes]) -> int:
    """Store the file in pieces and return the number of its lines.

    A file that is not UTF-8 is refused as a whole: taken line by line, what is lost would be the words with accents.
    """
    decoder = codecs.getincrementaldecoder("utf-8")()
    ends = size = number = unended = 0
    data = b""
    for number, data in enumerate(iter(partial(file.read, CHUNK), b"")):
        size += len(data)
        if size > settings.IMPORT_MAX_BYTES:
            most = settings.IMPORT_MAX_BYTES // (1024 * 1024)
            raise BadFile(_("The file is larger than %(most)d MB. Cut it into several.") % {"most": most})
        _decode(decoder, data, ends)
        first = data.find(b"\n")
        if unended + (first if first >= 0 else len(data)) > LONGEST_LINE:
            raise BadFile(
                _("Line %(number)d is longer than %(most)d MB. Write one prompt or completion a line.")
                % {"number": ends + 1, "most": LONGEST_LINE // (1024 * 1024)}
            )
        unended = len(data) - data.rfind(b"\n") - 1 if first >= 0 else unended + len(data)
        ImportChunk.objects.create(job=job, number=number, data=data)
        ends += data.count(b"\n")
    _decode(decoder, b"", ends, final=True)
    if not size:
        raise BadFile(_("The file is empty."))
    return ends if data.endswith(b"\n") else ends + 1


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
    """The file again, a piece at a time. Each is a query of its own: transactions come and go meanwhile."""
    number = 0
    while chunk := ImportChunk.objects.filter(job=job, number=number).first():
        yield bytes(chunk.data)
        number += 1
