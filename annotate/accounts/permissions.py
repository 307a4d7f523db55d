from typing import TYPE_CHECKING, Any, cast

from django.utils.translation import gettext as _
from rest_framework.authentication import TokenAuthentication
from rest_framework.exceptions import AuthenticationFailed
from rest_framework.permissions import BasePermission

from annotate.accounts.models import Role, User

if TYPE_CHECKING:
    from rest_framework.request import Request
    from rest_framework.views import APIView


class Tokens(TokenAuthentication):
    """Django REST framework's, which asks the database also for what no column can hold."""

    def authenticate_credentials(self, key: str) -> Any:
        if not key.isascii() or not key.isprintable():
            raise AuthenticationFailed(_("Invalid token."))
        return super().authenticate_credentials(key)


class ManagerOnly(BasePermission):
    """The API moves pools, policies and exports: managers' work."""

    def has_permission(self, request: "Request", view: "APIView") -> bool:
        return bool(request.user.is_authenticated) and cast(User, request.user).role == Role.MANAGER
