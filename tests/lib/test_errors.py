"""The pages for requests that fail."""

from django.test import Client


def test_a_static_file_that_is_gone_is_answered_without_the_database() -> None:
    """Few threads serve static files, and a page left open asks for those of an earlier version. No `db` here."""
    client = Client()
    client.cookies["sessionid"] = "of-somebody"
    response = client.get("/static/css/gone.0123456789ab.css")
    assert response.status_code == 404
    assert response["Content-Type"].startswith("text/plain")
