"""The pages for requests that fail, and what is said while the database does not answer.

Django's own handlers check the CSRF token first, and for that read a form with its files and store them, also what a
stranger sends to an address that does not exist. The pages need no such check: their forms get their token anyway.
"""

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
    # Pages that are open ask for files of an earlier version. The whole page says who is logged in, so it needs the
    # database; the threads that serve static files must never wait for that.
    if request.path.startswith(settings.STATIC_URL):
        return HttpResponseNotFound(_("There is no such file."), content_type="text/plain; charset=utf-8")
    return defaults.page_not_found(_unread(request), exception)


def server_error(request: HttpRequest) -> HttpResponseBase:
    """Django's page for an exception that nobody caught; where the database is the reason, one that says: try again.

    The database does not take the connection, ended it, or did not answer in time: statement, lock, or silence.
    """
    error = sys.exc_info()[1]
    if isinstance(error, OSError) and error.errno in NO_SPACE:
        return _disk_full(request)
    if not isinstance(error, OperationalError | InterfaceError):
        return defaults.server_error(_unread(request))
    # Nothing of this request is kept, and to save its session would only wait for the database once more.
    if hasattr(request, "session"):
        request.session.modified = False
    response: HttpResponse
    if is_for_a_script(request):
        words = _("The database does not answer in time. Try again in a few seconds.")
        response = JsonResponse({"words": words, "detail": words}, status=HTTPStatus.SERVICE_UNAVAILABLE)
    else:
        response = HttpResponse(render_to_string("503.html"), status=HTTPStatus.SERVICE_UNAVAILABLE)
    response["Retry-After"] = str(RETRY_AFTER)
    return response


def _disk_full(request: HttpRequest) -> HttpResponseBase:
    """A file that is uploaded is kept on disk until the view has it."""
    drop_body(request, DROPPED_BYTES)
    words = _("The server's disk is full, and nothing was stored. Tell the administrator of the server, and try again.")
    if is_for_a_script(request):
        return JsonResponse({"words": words, "detail": words}, status=HTTPStatus.INSUFFICIENT_STORAGE)
    return HttpResponse(render_to_string("507.html", {"words": words}), status=HTTPStatus.INSUFFICIENT_STORAGE)


def _unread(request: HttpRequest) -> HttpRequest:
    cast(Any, request).csrf_processing_done = True
    return request


def is_for_a_script(request: HttpRequest) -> bool:
    """Does a script rather than a person read the answer?"""
    found = request.resolver_match
    of_the_api = found is not None and hasattr(found.func, "cls")
    return of_the_api or request.get_preferred_type(["text/html", "application/json"]) == "application/json"
