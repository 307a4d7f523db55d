"""Context processor: the notices about a person's account, which every page shows until they are dismissed."""

from typing import Any

from django.http import HttpRequest

from annotate.accounts import events
from annotate.accounts.models import User


def context(request: HttpRequest) -> dict[str, Any]:
    """`account_notices()` reads the database only for the few people for whom a notice waits."""
    return {"account_notices": lambda: _sentences(request)}


def _sentences(request: HttpRequest) -> list[dict[str, Any]]:
    user = getattr(request, "user", None)
    if not isinstance(user, User) or not user.has_notices:
        return []
    return [{"id": event.id, "words": events.sentence(event), "at": event.at} for event in events.waiting(user)]
