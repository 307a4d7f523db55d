"""What a request may carry, decided before any of it is read.

The check of the CSRF token reads a form with its files, and stores them on disk, before a view or its door is asked. So
the door, the length and the place of files are checked before that.
"""

from collections.abc import Callable
from typing import Any, TypeVar, cast

from django.conf import settings
from django.core.files.uploadhandler import FileUploadHandler
from django.http import HttpRequest, HttpResponse, HttpResponseBase, JsonResponse
from django.http.multipartparser import MultiPartParserError
from django.shortcuts import render
from django.utils.translation import gettext as _

from annotate.accounts.access import refusal
from annotate.lib.errors import is_for_a_script
from annotate.lib.requests import drop_body

AnyView = TypeVar("AnyView", bound=Callable[..., HttpResponseBase])

# All that people send who are not logged in is a name, a password, an address.
ANONYMOUS_MAX_BYTES = 64 * 1024
# The other fields of a form that has a file.
FORM_BYTES = 1024 * 1024


def takes_files(view: AnyView) -> AnyView:
    """Mark a view as one that files are sent to. No other accepts any."""
    cast(Any, view).takes_files = True
    return view


class NoFiles(FileUploadHandler):
    """Refuses a file as soon as its name is read."""

    def new_file(self, *args: Any, **kwargs: Any) -> None:
        raise MultiPartParserError("No files are sent to this address.")

    def receive_data_chunk(self, raw_data: bytes, start: int) -> bytes:
        return raw_data

    def file_complete(self, file_size: int) -> None:
        return None


class BodyGate:
    """Middleware, before that of the CSRF token."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponseBase]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        try:
            return self.get_response(request)
        finally:
            if _length(request):
                _drop_files(request)

    def process_view(
        self, request: HttpRequest, view: Any, _args: tuple[Any, ...], _kwargs: dict[str, Any]
    ) -> HttpResponseBase | None:
        length = _length(request)
        if not length and "Transfer-Encoding" not in request.headers:
            return None
        if door := getattr(view, "door", None):
            refused = refusal(request, door)
            if refused:
                return refused
        if not length:
            # Django reads nothing of a body that does not say how long it is.
            return _answer(request, 411, _("Send the length of the request in its header Content-Length."))
        most = _most(request, view)
        if length > most:
            if request.user.is_authenticated:
                drop_body(request, length)
            words = _("This is too large: %(length).1f MB. At most %(most).1f MB can be sent here.")
            return _answer(request, 413, words % {"length": length / 1024**2, "most": most / 1024**2})
        if not getattr(view, "takes_files", False):
            request.upload_handlers = [NoFiles(request)]
        return None


def _drop_files(request: HttpRequest) -> None:
    """Delete what was stored of a file that did not come whole: Django leaves it to Python's garbage collector.

    The client is gone, or the disk is full and stays so for as long.
    """
    for handler in request.upload_handlers:
        try:
            if file := getattr(handler, "file", None):
                file.close()
        except OSError:
            pass  # what is still in its buffer has no room either; the file is deleted all the same


def _length(request: HttpRequest) -> int:
    try:
        return int(request.META.get("CONTENT_LENGTH") or 0)
    except ValueError:
        return 0


def _most(request: HttpRequest, view: Any) -> int:
    if getattr(view, "takes_files", False):
        return settings.IMPORT_MAX_BYTES + FORM_BYTES
    # The API checks its token before it reads.
    if hasattr(view, "cls") or request.user.is_authenticated:
        return int(settings.DATA_UPLOAD_MAX_MEMORY_SIZE or 0)
    return ANONYMOUS_MAX_BYTES


def _answer(request: HttpRequest, status: int, words: str) -> HttpResponse:
    if is_for_a_script(request):
        return JsonResponse({"words": words, "detail": words}, status=status)
    return render(request, "413.html", {"words": words}, status=status)
