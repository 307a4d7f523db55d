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

    @wraps(view)
    def answer(request: HttpRequest, *args: P.args, **kwargs: P.kwargs) -> HttpResponseBase:
        try:
            return view(request, *args, **kwargs)
        except Refusal as refusal:
            return JsonResponse({"words": str(refusal)}, status=HTTPStatus.CONFLICT)

    return cast(View[P], answer)


def post_or_redirect(page: Page, *parameters: str, refused: str = "") -> Callable[[View[P]], View[P]]:
    """Redirect a GET to the page of the form: people reload a refused form, or log in after their session has expired.

    `page`: an address name with these `parameters` of the view's address, or a function of the view's arguments. It
    also shows refusals, unless `refused` names another address. Put this decorator below the door.
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


def _path(page: Page, parameters: Sequence[str], request: HttpRequest, given: Mapping[str, object]) -> str:
    if callable(page):
        return page(request, **given)
    return reverse(page, args=[given[name] for name in parameters])
