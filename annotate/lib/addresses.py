from collections.abc import Callable, Mapping

from django.http import Http404, HttpRequest, HttpResponseBase

MAX_ID = 2**63 - 1


def id_in(text: str) -> int | None:
    """Parse an id, None if it is invalid. Python raises beyond 4300 digits."""
    return int(text) if text.isdecimal() and len(text) < len(str(MAX_ID)) else None


class KnownNumbers:
    def __init__(self, get_response: Callable[[HttpRequest], HttpResponseBase]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        return self.get_response(request)

    def process_view(self, _request: HttpRequest, _view: object, _args: object, kwargs: Mapping[str, object]) -> None:
        if any(isinstance(value, int) and value > MAX_ID for value in kwargs.values()):
            raise Http404
