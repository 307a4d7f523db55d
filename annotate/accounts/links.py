"""Links to set a password. Each person has at most one open link, which works once."""

from datetime import datetime, timedelta
from urllib.parse import urljoin

from django.conf import settings
from django.contrib.auth.tokens import PasswordResetTokenGenerator
from django.db import models, transaction
from django.urls import reverse
from django.utils import timezone
from django.utils.http import int_to_base36

from annotate.accounts.models import PasswordLink, User


class LinkTokens(PasswordResetTokenGenerator):
    """Tokens also end with a login, a new password or address, and after PASSWORD_RESET_TIMEOUT seconds."""

    def make_token(self, user: User) -> str:
        return _make(user=user, by=None, now=timezone.now())

    def check_token(self, user: User | None, token: str | None) -> bool:
        return user is not None and user.is_active and _open_links(user).exists() and super().check_token(user, token)

    def _make_hash_value(self, user: User, timestamp: int) -> str:
        return f"{super()._make_hash_value(user, timestamp)}/{_open_links(user).values_list('id', flat=True).first()}"


def make(*, user: User, site: str, by: User, now: datetime) -> str:
    """End the older link, and return the new address. `site`: the address of the platform."""
    key = {"uidb36": int_to_base36(user.pk), "key": _make(user=user, by=by, now=now)}
    return urljoin(site, reverse("account_reset_password_from_key", kwargs=key))


def _make(*, user: User, by: User | None, now: datetime) -> str:
    with transaction.atomic():
        # Of two concurrent links the second must end the first.
        User.objects.select_for_update(no_key=True).get(id=user.id)
        _open_links(user).update(ended_at=now)
        expires_at = now + timedelta(seconds=settings.PASSWORD_RESET_TIMEOUT)
        PasswordLink.objects.create(user=user, created_by=by, created_at=now, expires_at=expires_at)
        return str(super(LinkTokens, TOKENS).make_token(user))


def end(*, user: User, now: datetime) -> bool:
    """Returns whether the link was valid."""
    worked = working(user, now) is not None
    _open_links(user).update(ended_at=now)
    return worked


def working(user: User, now: datetime) -> PasswordLink | None:
    link = _open_links(user).select_related("created_by").first()
    if link is None or link.expires_at <= now or not user.is_active:
        return None
    # A login ends the link, because the token is signed over last_login.
    return link if user.last_login is None or user.last_login < link.created_at else None


def _open_links(user: User) -> models.QuerySet[PasswordLink]:
    return PasswordLink.objects.filter(user=user, ended_at=None)


TOKENS = LinkTokens()
