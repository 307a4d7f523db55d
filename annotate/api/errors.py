"""Turn refusals into responses of the API."""

from rest_framework import status
from rest_framework.exceptions import APIException
from rest_framework.response import Response
from rest_framework.views import exception_handler

from annotate.lib.refusals import Refusal


class Conflict(APIException):
    """409 with the message of a refusal as its detail."""

    status_code = status.HTTP_409_CONFLICT


def answer(error: Exception, context: dict[str, object]) -> Response | None:
    """The response to an error of a view. None if the framework does not know the error, which is then a bug."""
    return exception_handler(Conflict(str(error)) if isinstance(error, Refusal) else error, context)
