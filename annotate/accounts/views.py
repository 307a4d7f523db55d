from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.views.decorators.http import require_safe

from annotate.accounts.access import everyone, person
from annotate.accounts.models import Role

# Names, not imports: the rooms are above this one.
FIRST_PAGE = {Role.LABELER: "desk:home", Role.REVIEWER: "studio:review", Role.MANAGER: "studio:campaigns"}


@require_safe
@everyone
def home(request: HttpRequest) -> HttpResponse:
    return redirect(FIRST_PAGE[Role(person(request).role)])
