"""An expired session in an htmx request moves the whole page to the login, and back to that page afterwards."""

import pytest
from django.contrib.auth.views import redirect_to_login
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import resolve_url
from django.test import RequestFactory
from django_htmx.middleware import HtmxMiddleware

from annotate.lib.htmx import WholePageRedirects

PAGE = "http://testserver/studio/pools/3/?q=frog"
HTMX = {"HX-Request": "true", "HX-Current-URL": PAGE}


def answer(response: HttpResponse, headers: dict[str, str]) -> HttpResponse:
    def view(request: HttpRequest) -> HttpResponse:
        return response

    request = RequestFactory().get("/studio/pools/3/_rows", headers=headers)
    through = HtmxMiddleware(WholePageRedirects(view))(request)
    assert isinstance(through, HttpResponse)
    return through


def test_the_login_page_is_never_swapped_into_a_part() -> None:
    response = answer(redirect_to_login("/studio/pools/3/_rows"), HTMX)
    assert response.status_code == 200
    assert response["HX-Redirect"] == f"{resolve_url('account_login')}?next=%2Fstudio%2Fpools%2F3%2F%3Fq%3Dfrog"
    assert "Location" not in response


def test_a_page_of_another_host_is_not_where_one_comes_back_to() -> None:
    response = answer(redirect_to_login("/x"), HTMX | {"HX-Current-URL": "https://evil.example/"})
    assert response["HX-Redirect"] == resolve_url("account_login")


@pytest.mark.parametrize("headers", [{}, {"HX-Request": "true"}])
def test_other_redirects_and_other_requests_are_left_alone(headers: dict[str, str]) -> None:
    elsewhere = answer(HttpResponseRedirect("/studio/pools/"), headers)
    assert (elsewhere.status_code, elsewhere["Location"]) == (302, "/studio/pools/")
    assert answer(HttpResponse("rows"), headers).content == b"rows"


def test_a_plain_request_meets_the_login_page_as_ever() -> None:
    response = answer(redirect_to_login("/studio/pools/3/"), {})
    assert response.status_code == 302
    assert response["Location"].endswith("?next=/studio/pools/3/")
