from typing import TYPE_CHECKING, cast

from rest_framework.permissions import BasePermission

from annotate.accounts.models import Role, User

if TYPE_CHECKING:
    from rest_framework.request import Request
    from rest_framework.views import APIView


class ManagerOnly(BasePermission):
    def has_permission(self, request: "Request", view: "APIView") -> bool:
        return bool(request.user.is_authenticated) and cast(User, request.user).role == Role.MANAGER
