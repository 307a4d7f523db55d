import secrets
from datetime import datetime
from hashlib import sha256

from django.db import transaction
from django.utils.translation import gettext_lazy as _
from rest_framework import authentication
from rest_framework.exceptions import AuthenticationFailed

from annotate.accounts import events
from annotate.accounts.models import ApiToken, EventKind, Role, User
from annotate.lib.refusals import Refusal

HINT = 4


class NoToken(Refusal):
    """No token can be created for this person."""


def create(*, user: User, by: User | None, now: datetime, replace: bool = False) -> str:
    """Return the key, which cannot be shown again. `by` is None for the command line.

    Raises NoToken unless `user` is an active manager.
    """
    if user.role != Role.MANAGER or not user.is_active:
        raise NoToken(_("Only active managers can use the API. %(name)s is not one.") % {"name": user.username})
    key = secrets.token_urlsafe(32)
    with transaction.atomic():
        if replace:
            user.api_tokens.all().delete()
        ApiToken.objects.create(user=user, digest=digest(key), hint=key[:HINT], created_at=now)
        events.record(subject=user, actor=by, kind=EventKind.TOKEN_CREATED, now=now, notice=True)
    return key


def end(*, user: User, by: User | None, now: datetime) -> int:
    """Returns the number of deleted tokens."""
    with transaction.atomic():
        ended, _rows = user.api_tokens.all().delete()
        if ended:
            events.record(subject=user, actor=by, kind=EventKind.TOKENS_ENDED, now=now)
    return ended


def digest(key: str) -> str:
    return sha256(key.encode()).hexdigest()


class TokenAuthentication(authentication.TokenAuthentication):
    """Looking up the hash reveals nothing by its timing."""

    def authenticate_credentials(self, key: str) -> tuple[User, ApiToken]:
        token = ApiToken.objects.select_related("user").filter(digest=digest(key)).first()
        if token is None or not token.user.is_active:
            raise AuthenticationFailed(_("This token is not valid. A new password or role may have ended it."))
        return token.user, token
