"""Without a mail server nothing is logged either, because mails contain links to accounts."""

import logging

from django.conf import settings
from django.core.mail import send_mail

log = logging.getLogger(__name__)

NO_SERVERS = ("django.core.mail.backends.console.EmailBackend", "django.core.mail.backends.dummy.EmailBackend")


def is_set_up() -> bool:
    return settings.EMAIL_BACKEND not in NO_SERVERS


def send(*, subject: str, text: str, to: str) -> bool:
    """Returns whether a mail server accepted it."""
    if not to or not is_set_up():
        return False
    try:
        send_mail(subject, text, None, [to])
    except OSError as unreachable:
        # The error may quote the address.
        log.warning("A mail was not sent: %s", type(unreachable).__name__)
        return False
    return True
