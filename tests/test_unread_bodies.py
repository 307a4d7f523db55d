"""No address reads what somebody sends who may not send it. A new view joins by being routed."""

from io import BytesIO
from typing import Any

import pytest
from django.core.handlers.wsgi import WSGIHandler
from django.urls import URLPattern, reverse

from tests.test_doors import ENDPOINTS, PAGES, arguments, ids

FILE = b'--b\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n\r\n1\r\n--b--\r\n'


class Body(BytesIO):
    """Remembers whether anybody has read of it."""

    asked = False

    def read(self, *size: Any) -> bytes:
        self.asked = True
        return super().read(*size)


def post(path: str, *, length: int | None = None) -> tuple[str, Body]:
    """A form with a file from a stranger, with a CSRF token that would be valid; the status, and the body."""
    body, statuses = Body(FILE), list[str]()
    environment = {
        "REQUEST_METHOD": "POST",
        "PATH_INFO": path,
        "SERVER_NAME": "localhost",
        "SERVER_PORT": "80",
        "CONTENT_TYPE": "multipart/form-data; boundary=b",
        "CONTENT_LENGTH": str(len(FILE) if length is None else length),
        "HTTP_COOKIE": "csrftoken=" + "a" * 32,
        "wsgi.input": body,
        "wsgi.errors": BytesIO(),
        "wsgi.url_scheme": "http",
    }
    WSGIHandler()(environment, lambda status, _headers: statuses.append(status))
    return statuses[0], body


@pytest.mark.parametrize(("name", "entry"), [*PAGES, *ENDPOINTS], ids=ids([*PAGES, *ENDPOINTS]))
@pytest.mark.django_db
def test_a_stranger_is_turned_away_unread(name: str, entry: URLPattern) -> None:
    status, body = post(reverse(name, kwargs=arguments(entry)))
    assert status[:3] in ("302", "401", "405")
    assert not body.asked


@pytest.mark.parametrize("path", ["/nowhere/", "/studio/pools/9223372036854775808/import/"])
@pytest.mark.django_db
def test_so_is_what_is_sent_to_an_address_that_does_not_exist(path: str) -> None:
    status, body = post(path)
    assert status.startswith("404")
    assert not body.asked


@pytest.mark.parametrize("path", ["/account/login/", "/account/password/reset/", "/admin/login/", "/api/v1/pools/"])
@pytest.mark.django_db
def test_more_than_a_name_and_a_password_is_too_much_for_a_login(path: str) -> None:
    status, body = post(path, length=50 * 1024 * 1024)
    assert status.startswith("413")
    assert not body.asked
