"""Error pages that skip Django's CSRF check, which would read and store uploads by strangers."""

import errno
import sys
from http import HTTPStatus
from typing import Any, cast

from django.conf import settings
from django.db import InterfaceError, OperationalError
from django.http import HttpRequest, HttpResponse, HttpResponseBase, HttpResponseNotFound, JsonResponse
from django.template.loader import render_to_string
from django.utils.translation import gettext as _
from django.views import defaults

from annotate.lib.requests import DROPPED_BYTES, drop_body

RETRY_AFTER = 5
NO_SPACE = (errno.ENOSPC, errno.EDQUOT)


def bad_request(request: HttpRequest, exception: Exception) -> HttpResponseBase:
    return defaults.bad_request(_unread(request), exception)


def permission_denied(request: HttpRequest, exception: Exception) -> HttpResponseBase:
    return defaults.permission_denied(_unread(request), exception)


def page_not_found(request: HttpRequest, exception: Exception) -> HttpResponseBase:
    # Open pages request files of an earlier version. Threads for static files must not wait for the database.
    if request.path.startswith(settings.STATIC_URL):
        return HttpResponseNotFound(
            _("This file does not exist. Reload the page."), content_type="text/plain; charset=utf-8"
        )
    return defaults.page_not_found(_unread(request), exception)


def server_error(request: HttpRequest) -> HttpResponseBase:
    """Answer 503 without the database, 507 with a full disk, else 500."""
    error = sys.exc_info()[1]
    if isinstance(error, OSError) and error.errno in NO_SPACE:
        return _disk_full(request)
    if not isinstance(error, OperationalError | InterfaceError):
        return defaults.server_error(_unread(request))
    # Saving the session would wait for the database again.
    if hasattr(request, "session"):
        request.session.modified = False
    response: HttpResponse
    if is_for_a_script(request):
        words = _("The database does not respond. Try again in a few seconds.")
        response = JsonResponse({"words": words, "detail": words}, status=HTTPStatus.SERVICE_UNAVAILABLE)
    else:
        response = HttpResponse(render_to_string("503.html"), status=HTTPStatus.SERVICE_UNAVAILABLE)
    response["Retry-After"] = str(RETRY_AFTER)
    return response


def _disk_full(request: HttpRequest) -> HttpResponseBase:
    drop_body(request, DROPPED_BYTES)
    words = _("The disk of the server is full, and nothing was saved. Inform the administrator, and try again later.")
    if is_for_a_script(request):
        return JsonResponse({"words": words, "detail": words}, status=HTTPStatus.INSUFFICIENT_STORAGE)
    return HttpResponse(render_to_string("507.html", {"words": words}), status=HTTPStatus.INSUFFICIENT_STORAGE)


def _unread(request: HttpRequest) -> HttpRequest:
    cast(Any, request).csrf_processing_done = True
    return request


def is_for_a_script(request: HttpRequest) -> bool:
    match = request.resolver_match
    is_api = match is not None and hasattr(match.func, "cls")
    return is_api or request.get_preferred_type(["text/html", "application/json"]) == "application/json"
