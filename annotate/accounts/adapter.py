import logging
from typing import Any

from allauth.account.adapter import DefaultAccountAdapter
from django.http import HttpRequest

from annotate.lib import mail

log = logging.getLogger(__name__)


class InvitedOnly(DefaultAccountAdapter):  # type: ignore[misc]  # allauth ships no types
    """Nobody signs up: a manager invites people, because an account is access to unpublished prompts."""

    def is_open_for_signup(self, request: HttpRequest) -> bool:
        return False

    def send_mail(self, template_prefix: str, email: str, context: dict[str, Any]) -> None:
        """A mail server that is down must not fail a page: the page would tell known addresses from unknown ones."""
        if not mail.is_set_up():
            return
        try:
            super().send_mail(template_prefix, email, context)
        except OSError as unreachable:
            log.warning("A mail was not sent: %s", type(unreachable).__name__)
