"""Messages between two pages, in a cookie that only this host over TLS can set (the prefix __Host-)."""

from django.contrib.messages.storage.cookie import CookieStorage
from django.contrib.messages.storage.fallback import FallbackStorage
from django.contrib.messages.storage.session import SessionStorage


class HostCookie(CookieStorage):
    cookie_name = "__Host-messages"


class Storage(FallbackStorage):
    storage_classes = (HostCookie, SessionStorage)
