"""Check the door, the length and the files before the CSRF check, which reads the body and stores its files."""

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

ANONYMOUS_MAX_BYTES = 64 * 1024
# Fields besides the file.
FORM_BYTES = 1024 * 1024


def takes_files(view: AnyView) -> AnyView:
    """No other view accepts files."""
    cast(Any, view).takes_files = True
    return view


class NoFiles(FileUploadHandler):
    def new_file(self, *args: object, **kwargs: object) -> None:
        raise MultiPartParserError("This address accepts no files.")

    def receive_data_chunk(self, raw_data: bytes, start: int) -> bytes:
        return raw_data

    def file_complete(self, file_size: int) -> None:
        return None


class BodyGate:
    """Must come before the middleware of the CSRF check."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponseBase]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        try:
            return self.get_response(request)
        finally:
            if _length(request):
                _drop_files(request)

    def process_view(
        self, request: HttpRequest, view: Callable[..., HttpResponseBase], _args: object, _kwargs: object
    ) -> HttpResponseBase | None:
        length = _length(request)
        if not length and "Transfer-Encoding" not in request.headers:
            return None
        if door := getattr(view, "door", None):
            refused = refusal(request, door)
            if refused:
                return refused
        if not length:
            # Django ignores a body without a length.
            return _answer(request, 411, _("The length is missing. Send it in the header Content-Length."))
        most = _most(request, view)
        if length > most:
            if request.user.is_authenticated:
                drop_body(request, length)
            words = _("This is too large: %(length).1f MB. You can send at most %(most).1f MB. Shorten or divide it.")
            return _answer(request, 413, words % {"length": length / 1024**2, "most": most / 1024**2})
        if not getattr(view, "takes_files", False):
            request.upload_handlers = [NoFiles(request)]
        return None


def _drop_files(request: HttpRequest) -> None:
    """Django leaves incomplete files to the garbage collector, but the disk may be full."""
    for handler in request.upload_handlers:
        try:
            if file := getattr(handler, "file", None):
                file.close()
        except OSError:
            pass  # the disk is full; the file is deleted anyway


def _length(request: HttpRequest) -> int:
    try:
        return int(request.META.get("CONTENT_LENGTH") or 0)
    except ValueError:
        return 0


def _most(request: HttpRequest, view: Callable[..., HttpResponseBase]) -> int:
    if getattr(view, "takes_files", False):
        return settings.IMPORT_MAX_BYTES + FORM_BYTES
    # The API checks the token before it reads the body.
    if hasattr(view, "cls") or request.user.is_authenticated:
        return int(settings.DATA_UPLOAD_MAX_MEMORY_SIZE or 0)
    return ANONYMOUS_MAX_BYTES


def _answer(request: HttpRequest, status: int, words: str) -> HttpResponse:
    if is_for_a_script(request):
        return JsonResponse({"words": words, "detail": words}, status=status)
    return render(request, "413.html", {"words": words}, status=status)
