"""What browsers and proxies may keep of a page: nothing."""

from collections.abc import Callable

from django.http import HttpRequest, HttpResponse


class NoStore:
    """Middleware: an answer that says nothing about caching is kept nowhere, so that Back shows no page after a logout.

    Static files are answered above it. The one answer that says otherwise is the task that is loaded ahead
    (annotate.desk.views.task), and a logout empties the browser's cache of it.
    """

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        response = self.get_response(request)
        response.headers.setdefault("Cache-Control", "no-store")
        match = request.resolver_match
        if request.method == "POST" and match is not None and match.view_name == "account_logout":
            response.headers["Clear-Site-Data"] = '"cache"'
        return response
