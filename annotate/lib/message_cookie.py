"""__Host- limits a cookie to this host and to TLS."""

from typing import Any

from django.contrib import messages
from django.contrib.messages.storage.cookie import CookieStorage
from django.contrib.messages.storage.fallback import FallbackStorage
from django.contrib.messages.storage.session import SessionStorage
from django.http import HttpRequest


class HostCookie(CookieStorage):
    cookie_name = "__Host-messages"


class Storage(FallbackStorage):
    storage_classes = (HostCookie, SessionStorage)


def say_once(request: HttpRequest, words: str) -> None:
    """The same form may arrive twice."""
    waiting: Any = messages.get_messages(request)
    if words not in [str(message) for message in waiting]:
        messages.success(request, words)
    waiting.used = False  # reading marks them as shown
