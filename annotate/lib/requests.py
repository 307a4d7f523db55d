import codecs
import encodings
from typing import TYPE_CHECKING

from django.core.handlers.wsgi import WSGIHandler, WSGIRequest
from django.http import HttpRequest, HttpResponseBase
from django.utils.http import parse_header_parameters

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIEnvironment
DROPPED_BYTES = 1024 * 1024 * 1024
CHUNK = 64 * 1024
LOOKED_UP = 1_000


class Request(WSGIRequest):
    """Ignore unusable charsets, with which Django decodes the address before any middleware runs.

    Some raise (rot13, idna), and punycode takes minutes for 1 MB.
    """

    def _set_content_type_params(self, meta: "WSGIEnvironment") -> None:
        try:
            self.content_type, self.content_params = parse_header_parameters(meta.get("CONTENT_TYPE", ""))
        except (LookupError, ValueError):
            self.content_type, self.content_params = "", {}
        charset = self.content_params.get("charset")
        if charset and _decodes(charset):
            # The setter would read the address.
            self._encoding = charset


class Handler(WSGIHandler):
    request_class = Request

    def __call__(self, environ: "WSGIEnvironment", start_response: "StartResponse") -> HttpResponseBase:
        # Python caches each name for ever, and strangers can send any number.
        if len(looked_up := getattr(encodings, "_cache", {})) > LOOKED_UP:
            looked_up.clear()
        return super().__call__(environ, start_response)


def drop_body(request: HttpRequest, length: int) -> None:
    """Read the rest, because browsers that are still sending show no answer."""
    left = min(length, DROPPED_BYTES)
    try:
        while left > 0 and (read := request.read(min(left, CHUNK))):
            left -= len(read)
    except OSError:
        pass  # the client is gone


def _decodes(charset: str) -> bool:
    try:
        if codecs.lookup(charset).name == "punycode":
            return False
        b"\xff".decode(charset, "replace")
    except (LookupError, ValueError):
        return False
    return True
