"""Decorators that say which roles may use a view. A test checks that each view has exactly one."""

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
    return cast(User, request.user)


def door(*roles: Role) -> Callable[[View[P]], View[P]]:
    def guard(view: View[P]) -> View[P]:
        @wraps(view)
        def guarded(request: HttpRequest, *args: P.args, **kwargs: P.kwargs) -> HttpResponseBase:
            return refusal(request, frozenset(roles)) or view(request, *args, **kwargs)

        cast(Any, guarded).door = frozenset(roles)
        return cast(View[P], guarded)

    return guard


def refusal(request: HttpRequest, roles: frozenset[Role]) -> HttpResponseBase | None:
    """Return None for these roles and a redirect for visitors. Raises PermissionDenied for other users."""
    if not request.user.is_authenticated:
        # People return to a page, not to the address of a form.
        back = request.get_full_path() if request.method in ("GET", "HEAD") else reverse("home")
        return redirect_to_login(back)
    if person(request).role not in roles or _is_other_user(request):
        raise PermissionDenied
    return None


def _is_other_user(request: HttpRequest) -> bool:
    """Has another user logged in since the script's page was loaded? The CSRF token of forms detects that."""
    page_user = request.headers.get("X-Person")
    return page_user is not None and page_user != str(person(request).pk)


labelers = door(Role.LABELER)
reviewers = door(Role.REVIEWER, Role.MANAGER)
managers = door(Role.MANAGER)
everyone = door(Role.LABELER, Role.REVIEWER, Role.MANAGER)
