"""Keys for scripts that use the API: shown once, kept as a hash."""

import secrets
from datetime import datetime
from hashlib import sha256
from typing import Any

from django.db import transaction
from django.utils.translation import gettext_lazy as _
from rest_framework import authentication
from rest_framework.exceptions import AuthenticationFailed

from annotate.accounts import events
from annotate.accounts.models import ApiToken, EventKind, Role, User
from annotate.lib.refusals import Refusal

HINT = 4


class NoToken(Refusal):
    """No token is created; the message says why."""


def create(*, user: User, by: User | None, now: datetime, replace: bool = False) -> str:
    """The key of a new token; it cannot be shown again. `replace` ends the older ones.

    `by` is None for the command line. Raises NoToken unless `user` is an active manager: the API answers nobody else.
    """
    if user.role != Role.MANAGER or not user.is_active:
        raise NoToken(_("The API is for active managers. %(name)s is none.") % {"name": user.username})
    key = secrets.token_urlsafe(32)
    with transaction.atomic():
        if replace:
            user.api_tokens.all().delete()
        ApiToken.objects.create(user=user, digest=digest(key), hint=key[:HINT], created_at=now)
        events.record(subject=user, actor=by, kind=EventKind.TOKEN_CREATED, now=now, notice=True)
    return key


def end(*, user: User, by: User | None, now: datetime) -> int:
    """End all tokens of this person. Returns how many there were."""
    with transaction.atomic():
        ended, _rows = user.api_tokens.all().delete()
        if ended:
            events.record(subject=user, actor=by, kind=EventKind.TOKENS_ENDED, now=now)
    return ended


def digest(key: str) -> str:
    return sha256(key.encode()).hexdigest()


class TokenAuthentication(authentication.TokenAuthentication):
    """`Authorization: Token KEY`. Django looks the hash up, so how long it takes tells nothing about the key."""

    def authenticate_credentials(self, key: str) -> tuple[Any, Any]:
        token = ApiToken.objects.select_related("user").filter(digest=digest(key)).first()
        if token is None or not token.user.is_active:
            raise AuthenticationFailed(_("This token is not valid. It may have ended with a new password or role."))
        return token.user, token
