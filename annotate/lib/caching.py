from collections.abc import Callable

from django.http import HttpRequest, HttpResponse


class NoStore:
    """Forbid caching unless a view allows it (desk.views.tasks.task), so that Back shows no page after a logout."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        response = self.get_response(request)
        response.headers.setdefault("Cache-Control", "no-store")
        match = request.resolver_match
        if request.method == "POST" and match is not None and match.view_name == "account_logout":
            response.headers["Clear-Site-Data"] = '"cache"'
        return response
