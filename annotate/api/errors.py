"""What the API answers when an action refuses."""

from typing import Any

from rest_framework import status
from rest_framework.exceptions import APIException
from rest_framework.response import Response
from rest_framework.views import exception_handler

from annotate.lib.refusals import Refusal


class Conflict(APIException):
    """An action refused; the detail is the refusal's message."""

    status_code = status.HTTP_409_CONFLICT


def answer(error: Exception, context: dict[str, Any]) -> Response | None:
    """409 with the message for a Refusal; for all else what the framework answers. None: the error is a bug."""
    return exception_handler(Conflict(str(error)) if isinstance(error, Refusal) else error, context)
