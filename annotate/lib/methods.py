"""What an address that only takes forms answers to a GET."""

from collections.abc import Callable
from functools import wraps
from typing import Any, Concatenate, ParamSpec, cast

from django.http import HttpRequest, HttpResponseBase, HttpResponseRedirect
from django.urls import reverse
from django.views.decorators.http import require_POST

P = ParamSpec("P")
View = Callable[Concatenate[HttpRequest, P], HttpResponseBase]


def post_or_redirect(page: str | Callable[..., str], *parameters: str) -> Callable[[View[P]], View[P]]:
    """Run the view for a POST, send a GET to the page that has the form, and answer 405 to everything else.

    `page` is the name of an address, filled with these parameters of the view's own address, or a function that takes
    the same arguments as the view and returns a path.

    People reach the address of a form by GET: they reload the page that a refused form came back as, or log in after
    their session has ended there. A bare 405 is a dead end for them. Addresses that only scripts call keep the 405.
    Put this decorator below the door, so that the door decides first.
    """

    def path(request: HttpRequest, **given: Any) -> str:
        if callable(page):
            return page(request, **given)
        return reverse(page, args=[given[name] for name in parameters])

    def decorate(view: View[P]) -> View[P]:
        only_post = require_POST(view)

        @wraps(view)
        def answer(request: HttpRequest, *args: P.args, **kwargs: P.kwargs) -> HttpResponseBase:
            if request.method in ("GET", "HEAD"):
                return HttpResponseRedirect(path(request, **kwargs))
            return only_post(request, *args, **kwargs)

        cast(Any, answer).takes_only_forms = True
        return cast(View[P], answer)

    return decorate
