"""Charsets in a request's Content-Type, asked of the application: Django's test client makes its own requests."""

import encodings
import io
import pkgutil
import time
from collections.abc import Iterator
from encodings import __path__ as codecs
from typing import Any

import pytest
from django.core.signals import request_finished, request_started
from django.db import close_old_connections

from annotate.lib.requests import LOOKED_UP, Handler

CHARSETS = [
    "rot13",
    "base64",
    "zlib",
    "idna",
    "punycode",
    "undefined",
    "utf-99",
    "utf-16",
    "latin-1",
    "\xff",
    "x" * 5000,
]
KINDS = ["application/json", "multipart/form-data; boundary=b", "application/x-www-form-urlencoded"]
TYPES = [
    *(f"{kind}; charset={charset}" for charset in CHARSETS for kind in KINDS),
    "multipart/form-data; boundary*=rot13''%ff",
    "multipart/form-data; boundary*=utf-99''%ff",
    "a/b; c*=idna''%ff%fe",
]
BODY = b'--b\r\nContent-Disposition: form-data; name="login"\r\n\r\n\xff\r\n--b--\r\n'


def ask(method: str, path: str, content_type: str, query: str = "next=%ff\xff&a=1", body: bytes = BODY) -> str:
    """The status of the answer, as gunicorn gets it."""
    environ: dict[str, Any] = {
        "REQUEST_METHOD": method,
        "PATH_INFO": path,
        "QUERY_STRING": query,
        "SERVER_NAME": "localhost",
        "SERVER_PORT": "80",
        "REMOTE_ADDR": "127.0.0.1",
        "CONTENT_TYPE": content_type,
        "CONTENT_LENGTH": str(len(body)),
        "HTTP_COOKIE": f"csrftoken={'c' * 32}",
        "HTTP_X_CSRFTOKEN": "c" * 32,
        "wsgi.url_scheme": "http",
        "wsgi.input": io.BytesIO(body),
        "wsgi.errors": io.StringIO(),
    }
    said: list[str] = []
    handler = Handler()
    list(handler(environ, lambda status, _headers, *_error: said.append(status)))
    return said[0]


@pytest.fixture(autouse=True)
def kept_connection(db: None) -> Iterator[None]:
    """The end of a request closes its connection, and with it the test's transaction."""
    for signal in (request_started, request_finished):
        signal.disconnect(close_old_connections)
    yield
    for signal in (request_started, request_finished):
        signal.connect(close_old_connections)


@pytest.mark.parametrize("content_type", TYPES)
def test_a_charset_that_does_not_decode_fails_no_request(content_type: str) -> None:
    for method, path in (("GET", "/account/login/"), ("POST", "/account/login/"), ("POST", "/api/v1/pools/")):
        assert ask(method, path, content_type)[0] in "24", (method, path)


def test_no_charset_takes_long() -> None:
    """Strangers send forms of 64 kB, labelers larger ones. Punycode took more than a second for these."""
    body = BODY.replace(b"\xff", b"-" + b"9" * 60_000)
    slow = []
    ask("POST", "/account/login/", KINDS[1])  # the first one loads the pages
    for charset in sorted({module.name for module in pkgutil.iter_modules(codecs)}):
        began = time.process_time()
        ask("POST", "/account/login/", f"multipart/form-data; boundary=b; charset={charset}", body=body)
        if (took := time.process_time() - began) > 0.5:
            slow.append((charset, took))
    assert slow == []


def test_the_names_of_charsets_that_do_not_exist_fill_no_memory() -> None:
    """Python keeps each that it has looked up, also of parameters that say their own charset."""
    for number in range(LOOKED_UP // 2 + 10):
        ask("GET", "/static/x", f"a/b; charset=none{number}")
        ask("GET", "/static/x", f"a/b; c*=nowhere{number}''%ff")
    assert len(encodings._cache) <= LOOKED_UP + 1  # type: ignore[attr-defined]


def test_too_many_parameters_in_the_address_are_refused_with_any_charset() -> None:
    assert ask("POST", "/account/login/", "text/plain; charset=utf-8", "&".join(["a=1"] * 2000)) == "400 Bad Request"
