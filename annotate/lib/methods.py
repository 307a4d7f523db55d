"""What an address that takes forms answers to a GET, and to a form whose action refuses."""

from collections.abc import Callable, Mapping, Sequence
from functools import wraps
from http import HTTPStatus
from typing import Any, Concatenate, ParamSpec, cast

from django.contrib import messages
from django.http import HttpRequest, HttpResponseBase, HttpResponseRedirect, JsonResponse
from django.urls import reverse
from django.views.decorators.http import require_POST

from annotate.lib.refusals import Refusal

P = ParamSpec("P")
View = Callable[Concatenate[HttpRequest, P], HttpResponseBase]


Page = str | Callable[..., str]


def refusals_lead_to(page: Page, *parameters: str) -> Callable[[View[P]], View[P]]:
    """Where the view's action refuses, redirect to this page and show the refusal there. `page` as below."""

    def decorate(view: View[P]) -> View[P]:
        @wraps(view)
        def answer(request: HttpRequest, *args: P.args, **kwargs: P.kwargs) -> HttpResponseBase:
            try:
                return view(request, *args, **kwargs)
            except Refusal as refusal:
                messages.warning(request, str(refusal))
                return HttpResponseRedirect(_path(page, parameters, request, kwargs))

        return cast(View[P], answer)

    return decorate


def refusals_as_json(view: View[P]) -> View[P]:
    """For an address that only scripts call: answer a refusal with 409 and {"words": its message}."""

    @wraps(view)
    def answer(request: HttpRequest, *args: P.args, **kwargs: P.kwargs) -> HttpResponseBase:
        try:
            return view(request, *args, **kwargs)
        except Refusal as refusal:
            return JsonResponse({"words": str(refusal)}, status=HTTPStatus.CONFLICT)

    return cast(View[P], answer)


def post_or_redirect(page: Page, *parameters: str, refused: str = "") -> Callable[[View[P]], View[P]]:
    """Run the view for a POST, send a GET to the page that has the form, and answer 405 to everything else.

    `page` is the name of an address, filled with these parameters of the view's own address, or a function that takes
    the same arguments as the view and returns a path. Where the action refuses, that page shows the refusal, or
    `refused`, the name of an address without parameters.

    People reach the address of a form by GET: they reload the page that a refused form came back as, or log in after
    their session has ended there. A bare 405 is a dead end for them. Addresses that only scripts call keep the 405.
    Put this decorator below the door, so that the door decides first.
    """

    shown = refusals_lead_to(refused) if refused else refusals_lead_to(page, *parameters)

    def decorate(view: View[P]) -> View[P]:
        only_post = require_POST(shown(view))

        @wraps(view)
        def answer(request: HttpRequest, *args: P.args, **kwargs: P.kwargs) -> HttpResponseBase:
            if request.method in ("GET", "HEAD"):
                return HttpResponseRedirect(_path(page, parameters, request, kwargs))
            return only_post(request, *args, **kwargs)

        cast(Any, answer).takes_only_forms = True
        return cast(View[P], answer)

    return decorate


def _path(page: Page, parameters: Sequence[str], request: HttpRequest, given: Mapping[str, Any]) -> str:
    if callable(page):
        return page(request, **given)
    return reverse(page, args=[given[name] for name in parameters])
