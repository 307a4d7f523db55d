"""What a request says about itself, where Django believes more than it can use."""

from typing import Any

from django.core.handlers.wsgi import WSGIHandler, WSGIRequest
from django.utils.http import parse_header_parameters


class Request(WSGIRequest):
    """Django decodes the address with the charset that the Content-Type names, before any middleware can answer.

    Some of Python's charsets are none, such as rot13, and some cannot decode everything, such as idna. They raise
    there, and again where a form is read. So they are ignored, as Django ignores charsets that it does not know.
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


def _decodes(charset: str) -> bool:
    try:
        b"\xff".decode(charset, "replace")
    except (LookupError, ValueError):
        return False
    return True
