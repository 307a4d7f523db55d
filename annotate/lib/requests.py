"""What a request says about itself, where Django believes more than it can use."""

import codecs
import encodings
from collections.abc import Callable
from typing import Any

from django.core.handlers.wsgi import WSGIHandler, WSGIRequest
from django.http import HttpRequest, HttpResponseBase
from django.utils.http import parse_header_parameters

DROPPED_BYTES = 1024 * 1024 * 1024
CHUNK = 64 * 1024
# More names of charsets than Python has.
LOOKED_UP = 1_000


class Request(WSGIRequest):
    """Django decodes the address with the charset that the Content-Type names, before any middleware can answer.

    Some of Python's charsets are none, such as rot13, and some cannot decode everything, such as idna. They raise
    there, and again where a form is read. Punycode decodes, but the time grows with the square of the text: a form of
    64 kB takes a second, one of 1 MB minutes. So they are ignored, as Django ignores charsets that it does not know.
    """

    def _set_content_type_params(self, meta: dict[str, Any]) -> None:
        try:
            self.content_type, self.content_params = parse_header_parameters(meta.get("CONTENT_TYPE", ""))
        except (LookupError, ValueError):
            self.content_type, self.content_params = "", {}
        charset = self.content_params.get("charset")
        if charset and _decodes(charset):
            # Not by its setter, which reads the address to see whether it has been read.
            self._encoding = charset


class Handler(WSGIHandler):
    request_class = Request

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> HttpResponseBase:
        # Python keeps each name that it has ever looked up, and a stranger can name as many charsets as they like.
        if len(looked_up := getattr(encodings, "_cache", {})) > LOOKED_UP:
            looked_up.clear()
        return super().__call__(environ, start_response)


def drop_body(request: HttpRequest, length: int) -> None:
    """Read what is still to come of a body. A browser that is refused in the middle of sending shows no page."""
    left = min(length, DROPPED_BYTES)
    try:
        while left > 0 and (read := request.read(min(left, CHUNK))):
            left -= len(read)
    except OSError:
        pass  # they are gone


def _decodes(charset: str) -> bool:
    try:
        if codecs.lookup(charset).name == "punycode":
            return False
        b"\xff".decode(charset, "replace")
    except (LookupError, ValueError):
        return False
    return True
