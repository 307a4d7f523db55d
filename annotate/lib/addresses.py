"""Numbers in addresses."""

from collections.abc import Callable
from typing import Any

from django.http import Http404, HttpRequest, HttpResponseBase

# What a column of the database holds.
MAX_ID = 2**63 - 1


def id_in(text: str) -> int | None:
    """The id that a person's browser sent as text; None where it is no number, or longer than every id there will be.

    Python raises for a number of more than 4300 digits, so the length is looked at first.
    """
    return int(text) if text.isdecimal() and len(text) < len(str(MAX_ID)) else None


class KnownNumbers:
    """Middleware: a number that is beyond every id is the number of nothing, whichever view it is for."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponseBase]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        return self.get_response(request)

    def process_view(self, _request: HttpRequest, _view: Any, _args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        if any(isinstance(value, int) and value > MAX_ID for value in kwargs.values()):
            raise Http404
