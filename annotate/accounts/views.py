from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.utils import timezone
from django.views.decorators.http import require_safe

from annotate.accounts import events
from annotate.accounts.access import everyone, person
from annotate.accounts.models import Role
from annotate.lib.addresses import id_in
from annotate.lib.methods import post_or_redirect

# This package must not import those above it.
FIRST_PAGE = {Role.LABELER: "desk:home", Role.REVIEWER: "studio:review", Role.MANAGER: "studio:campaigns"}


@require_safe
@everyone
def home(request: HttpRequest) -> HttpResponse:
    return redirect(FIRST_PAGE[Role(person(request).role)])


@everyone
@post_or_redirect("home")
def dismiss_notices(request: HttpRequest) -> HttpResponse:
    shown = [number for word in request.POST.getlist("notice") if (number := id_in(word)) is not None]
    events.dismiss(user=person(request), ids=shown, now=timezone.now())
    return HttpResponse() if request.headers.get("HX-Request") else redirect("home")
