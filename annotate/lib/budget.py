"""What one request may spend on showing texts, in units that are estimated before the work begins.

A unit is about a microsecond of a slow processor. The estimate depends on the texts alone, never on a clock or a
cache, so the same page always looks the same. Work that no longer fits is not begun: the text is shown plainly.
"""

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from django.http import HttpRequest, HttpResponse

# Half a second is the longest that texts may hold up a page. The rest is room for a slower or busier processor.
UNITS_PER_REQUEST = 144_000

# Invisible characters that a request shows as their codes, which makes a page up to twenty times as long as its texts.
CODES_PER_REQUEST = 200_000

_budget: ContextVar[list[int] | None] = ContextVar("units_left", default=None)


@contextmanager
def request_budget(units: int = UNITS_PER_REQUEST) -> Iterator[None]:
    """Everything shown inside shares `units` and CODES_PER_REQUEST. An inner budget replaces an outer one."""
    token = _budget.set([units, CODES_PER_REQUEST])
    try:
        yield
    finally:
        _budget.reset(token)


def left() -> float:
    """The units that the request may still spend; outside of a request they have no limit."""
    budget = _budget.get()
    return math.inf if budget is None else budget[0]


def spend(units: int) -> bool:
    """Whether work that costs `units` may begin. If so, they are spent. Outside of a request everything may."""
    if left() < units:
        return False
    if budget := _budget.get():
        budget[0] -= units
    return True


def spend_codes(number: int) -> bool:
    """As `spend`, for codes of invisible characters. They take no units: another text is rendered all the same."""
    budget = _budget.get()
    if budget is None:
        return True
    if budget[1] < number:
        return False
    budget[1] -= number
    return True


class RequestBudget:
    """Middleware that gives each request its budget. The response must be rendered when it leaves the view."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        with request_budget():
            return self.get_response(request)
