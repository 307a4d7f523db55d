"""A budget for showing texts in one request. A unit is about a microsecond of a slow processor.

Costs depend on the texts alone, so that a page always looks the same.
"""

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from django.http import HttpRequest, HttpResponse

# Half a second on a processor three times as slow.
UNITS_PER_REQUEST = 144_000

# Codes lengthen texts twenty times.
CODES_PER_REQUEST = 200_000

_budget: ContextVar[list[int] | None] = ContextVar("units_left", default=None)


@contextmanager
def request_budget(units: int = UNITS_PER_REQUEST) -> Iterator[None]:
    token = _budget.set([units, CODES_PER_REQUEST])
    try:
        yield
    finally:
        _budget.reset(token)


def left() -> float:
    budget = _budget.get()
    return math.inf if budget is None else budget[0]


def spend(units: int) -> bool:
    if left() < units:
        return False
    if budget := _budget.get():
        budget[0] -= units
    return True


def spend_codes(number: int) -> bool:
    budget = _budget.get()
    if budget is None:
        return True
    if budget[1] < number:
        return False
    budget[1] -= number
    return True


class RequestBudget:
    """Views must return rendered responses."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        with request_budget():
            return self.get_response(request)
