"""HTTPS=1, and what a browser keeps of a page."""

import json
import subprocess
import sys
from urllib.parse import urlsplit

import pytest
from django.conf import settings
from django.test import Client
from django.urls import reverse

from annotate.accounts.models import Role
from tests import factories as make
from tests.models_worker.workers import database_url
from tests.settings import value_of

PASSWORD = "a long enough passphrase"
SECURE = """
import json, sys
import django
django.setup()
from django.test import Client
from annotate.accounts.models import User
lea = User.objects.get(username="lea")
lea.set_password(sys.argv[1])  # by this process's hashers
lea.save()
client = Client()
plain = client.get("/account/login/?next=/desk/")
by_proxy = {"headers": {"x-forwarded-proto": "https"}}
form = client.get("/account/login/", **by_proxy)
cookies = {}
def keep(response):
    for name, morsel in response.cookies.items():
        cookies[name] = {key: morsel[key] for key in ("secure", "path", "domain")}
keep(form)
login = client.post("/account/login/", {"login": "lea", "password": sys.argv[1]}, **by_proxy)
keep(login)
lists = client.post("/account/password/change/", {
    "oldpassword": sys.argv[1], "password1": "quite another passphrase", "password2": "quite another passphrase"
}, **by_proxy)
keep(lists)
print(json.dumps({
    "redirect": [plain.status_code, plain.get("Location")],
    "form": form.status_code,
    "login": [login.status_code, login.get("Location")],
    "hsts": form.get("Strict-Transport-Security"),
    "cookies": cookies,
}))
"""


@pytest.fixture
def lea(db):
    user = make.user(username="lea")
    user.set_password(PASSWORD)
    user.save()
    return user


@pytest.mark.django_db(transaction=True)
def test_with_https_pages_and_cookies_go_over_tls_only(lea, monkeypatch):
    for name, value in {"DATABASE_URL": database_url(), "ALLOWED_HOSTS": "testserver", "HTTPS": "1"}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("DEBUG", "1")  # static files by their source, as in this process
    command = [sys.executable, "-c", SECURE, PASSWORD]
    said = json.loads(subprocess.check_output(command, cwd=settings.BASE_DIR, text=True))
    assert said["redirect"] == [301, "https://testserver/account/login/?next=/desk/"]
    assert said["form"] == 200
    assert said["login"] == [302, reverse("home")]
    assert said["hsts"] == "max-age=31536000"
    assert set(said["cookies"]) == {"__Host-sessionid", "__Host-csrftoken", "__Host-messages"}
    for name, cookie in said["cookies"].items():
        assert cookie == {"secure": True, "path": "/", "domain": ""}, name


def test_how_long_browsers_insist_on_tls_is_the_operators_choice():
    assert value_of("SECURE_HSTS_SECONDS", HTTPS="1", HSTS_SECONDS="60") == 60
    assert value_of("SECURE_HSTS_INCLUDE_SUBDOMAINS", HTTPS="1") is False
    assert value_of("SECURE_HSTS_INCLUDE_SUBDOMAINS", HTTPS="1", HSTS_INCLUDE_SUBDOMAINS="1") is True
    assert value_of("SECURE_HSTS_SECONDS") is None


def test_a_logout_empties_the_browsers_cache(lea):
    client = Client()
    client.force_login(lea)
    assert "Clear-Site-Data" not in client.get(reverse("account_logout"))
    response = client.post(reverse("account_logout"))
    assert response["Clear-Site-Data"] == '"cache"'
    assert "no-store" in response["Cache-Control"]


@pytest.mark.parametrize("path", ["/nowhere/", "/studio/people/0/", "/admin/", "/account/password/change/"])
def test_errors_and_the_pages_of_libraries_are_not_kept_either(path, db):
    client = Client()
    client.force_login(make.user(Role.MANAGER, is_superuser=True, is_staff=True))
    assert "no-store" in client.get(path)["Cache-Control"]


@pytest.mark.browser
def test_scripts_find_the_token_in_the_cookie_of_either_name(browser):
    """Browsers take a cookie with the prefix __Host- over TLS alone, so this site is only played."""
    site = "https://annotate.test/"

    def answer(route):
        script = settings.BASE_DIR / "static" / urlsplit(route.request.url).path.lstrip("/")
        if script.suffix == ".js":
            route.fulfill(path=script, content_type="text/javascript")
        else:
            route.fulfill(body="<!doctype html><title>A page</title>", content_type="text/html")

    context = browser.new_context()
    context.route(f"{site}**", answer)
    page = context.new_page()
    page.goto(site)
    token = "async () => (await import('/js/http.js')).csrfToken()"
    assert page.evaluate(token) == ""
    context.add_cookies([{"name": "csrftoken", "value": "of-before", "url": site}])
    assert page.evaluate(token) == "of-before"
    context.add_cookies([{"name": "__Host-csrftoken", "value": "over-tls", "url": site, "secure": True}])
    assert page.evaluate(token) == "over-tls"
    context.close()
