import logging

from allauth.account.adapter import DefaultAccountAdapter
from django.db.models import Q
from django.http import HttpRequest

from annotate.accounts.models import User
from annotate.lib import mail

log = logging.getLogger(__name__)


class InvitedOnly(DefaultAccountAdapter):  # type: ignore[misc]  # allauth ships no types
    """No sign-up, because accounts give access to unpublished prompts."""

    def is_open_for_signup(self, request: HttpRequest) -> bool:
        return False

    def _get_login_attempts_cache_key(self, request: HttpRequest, **credentials: object) -> str:
        """Count failed logins per account. Counts per spelling, host and port would give attackers more attempts."""
        login = str(credentials.get("email", credentials.get("username", "")))
        same = User.objects.filter(Q(username__iexact=login) | Q(email__iexact=login)) if login else User.objects.none()
        account = same.order_by("id").values_list("id", flat=True).first()
        return f"account:{account}" if account else f"login:{login.lower()}"

    def send_mail(self, template_prefix: str, email: str, context: dict[str, object]) -> None:
        """Hide that the mail server is down, because an error would reveal which addresses are known."""
        if not mail.is_set_up():
            return
        try:
            super().send_mail(template_prefix, email, context)
        except OSError as unreachable:
            log.warning("A mail was not sent: %s", type(unreachable).__name__)
