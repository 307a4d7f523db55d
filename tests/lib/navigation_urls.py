"""Addresses for test_tags: the names are the platform's, the pages are none."""

from django.http import HttpRequest, HttpResponse
from django.urls import URLPattern, URLResolver, include, path


def nothing(request: HttpRequest) -> HttpResponse:
    return HttpResponse()


desk: list[URLPattern | URLResolver] = [path("", nothing, name="home"), path("answers/", nothing, name="answers")]
urlpatterns = [
    path("desk/", include((desk, "desk"))),
]
