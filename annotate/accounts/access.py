"""The doors: who may enter a view.

Every view wears exactly one, and a test walks the URLs to see that none is missing.
"""

from collections.abc import Callable
from functools import wraps
from typing import Any, Concatenate, ParamSpec, cast

from django.contrib.auth.views import redirect_to_login
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponseBase
from django.urls import reverse

from annotate.accounts.models import Role, User

P = ParamSpec("P")
View = Callable[Concatenate[HttpRequest, P], HttpResponseBase]


def person(request: HttpRequest) -> User:
    """The person behind a request that passed a door."""
    return cast(User, request.user)


def door(*roles: Role) -> Callable[[View[P]], View[P]]:
    """Let people of these roles in, send strangers to the login page, refuse everybody else."""

    def guard(view: View[P]) -> View[P]:
        @wraps(view)
        def guarded(request: HttpRequest, *args: P.args, **kwargs: P.kwargs) -> HttpResponseBase:
            return refusal(request, frozenset(roles)) or view(request, *args, **kwargs)

        cast(Any, guarded).door = frozenset(roles)
        return cast(View[P], guarded)

    return guard


def refusal(request: HttpRequest, roles: frozenset[Role]) -> HttpResponseBase | None:
    """None for people of these roles, the way to the login for strangers. Raises PermissionDenied for others."""
    if not request.user.is_authenticated:
        # A person who sent a form after the session had ended comes back to a page, not to the form's address.
        back = request.get_full_path() if request.method in ("GET", "HEAD") else reverse("home")
        return redirect_to_login(back)
    if person(request).role not in roles or _speaks_for_another(request):
        raise PermissionDenied
    return None


def _speaks_for_another(request: HttpRequest) -> bool:
    """A page's scripts say whose page it is. Where somebody else has logged in meanwhile, in another tab or after it,
    what they send must not become that person's; of a form that is sent whole the CSRF token tells the same."""
    said = request.headers.get("X-Person")
    return said is not None and said != str(person(request).pk)


labelers = door(Role.LABELER)
reviewers = door(Role.REVIEWER, Role.MANAGER)
managers = door(Role.MANAGER)
everyone = door(Role.LABELER, Role.REVIEWER, Role.MANAGER)
