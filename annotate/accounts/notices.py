from django.http import HttpRequest

from annotate.accounts import events
from annotate.accounts.models import User


def context(request: HttpRequest) -> dict[str, object]:
    """Only read the database for people with notices."""
    return {"account_notices": lambda: _sentences(request)}


def _sentences(request: HttpRequest) -> list[dict[str, object]]:
    user = getattr(request, "user", None)
    if not isinstance(user, User) or not user.has_notices:
        return []
    return [{"id": event.id, "words": events.sentence(event), "at": event.at} for event in events.waiting(user)]
