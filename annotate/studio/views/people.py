from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.utils import timezone
from django.utils.translation import gettext as _
from django.views.decorators.http import require_http_methods, require_safe

from annotate.accounts import actions, links
from annotate.accounts import queries as accounts
from annotate.accounts.access import managers, person
from annotate.accounts.forms import InviteForm, RoleForm, WorkForm
from annotate.accounts.models import Role, User
from annotate.lib.methods import post_or_redirect
from annotate.lib.paging import page_of
from annotate.lib.refusals import shown_in
from annotate.studio import queries
from annotate.studio.forms import PeopleFilter
from annotate.work import queries as work
from annotate.work.models import Assignment
from annotate.work.workflow import Context
from annotate.workflows.counts import Counts

# Rows of an account's history on its page.
HISTORY = 100


@require_safe
@managers
def people(request: HttpRequest) -> HttpResponse:
    form = PeopleFilter(request.GET)
    page = page_of(request, accounts.people().filter(form.condition()))
    counts = queries.counts_of(page)
    rows = [(somebody, counts.get(somebody.id, Counts())) for somebody in page]
    return render(request, "studio/people.html", {"form": form, "page": page, "rows": rows})


@require_http_methods(["GET", "HEAD", "POST"])
@managers
def invite(request: HttpRequest) -> HttpResponse:
    form = InviteForm(request.POST or None)
    if request.method == "POST" and form.is_valid():
        with shown_in(form):
            invitation = actions.invite(
                **form.cleaned_data, site=_site(request), by=person(request), now=timezone.now()
            )
            return _invited(request, invitation)
    return render(request, "studio/invite.html", {"form": form})


@require_http_methods(["GET", "HEAD", "POST"])
@managers
def somebody(request: HttpRequest, user_id: int) -> HttpResponse:
    """One person. A POST changes the role."""
    user = get_object_or_404(User.objects.prefetch_related("qualifications"), id=user_id)
    form = RoleForm(request.POST or None, initial={"role": user.role, "cohort": user.cohort})
    if request.method == "POST" and form.is_valid():
        with shown_in(form):
            actions.change_role(user=user, **form.cleaned_data, by=person(request), now=timezone.now())
            messages.success(request, _("The role was changed."))
            return redirect("studio:person", user.id)
    return render(request, "studio/person.html", _person(user) | {"form": form})


@managers
@post_or_redirect("studio:person", "user_id")
def person_work(request: HttpRequest, user_id: int) -> HttpResponse:
    user = get_object_or_404(User, id=user_id, role=Role.LABELER)
    form = WorkForm(request.POST)
    if form.is_valid():
        actions.change_work(user=user, **form.cleaned_data)
        messages.success(request, _("Saved. The changes apply from the next task."))
        return redirect("studio:person", user.id)
    return render(request, "studio/person.html", _person(user) | {"work_form": form})


def _person(user: User) -> Context:
    work_values = {
        "languages": ", ".join(user.languages),
        "qualifications": user.qualifications.all(),
        "daily_cap": user.daily_cap,
    }
    return {
        "somebody": user,
        "form": RoleForm(initial={"role": user.role, "cohort": user.cohort}),
        "work_form": WorkForm(initial=work_values) if user.role == Role.LABELER else None,
        "campaigns": queries.campaigns_of(user),
        "link": links.working(user, timezone.now()),
        "history": accounts.history(user)[:HISTORY],
        "active_time": work.active_time(Assignment.objects.filter(labeler=user)),
    }


@managers
@post_or_redirect("studio:person", "user_id")
def new_link(request: HttpRequest, user_id: int) -> HttpResponse:
    user = get_object_or_404(User, id=user_id)
    invitation = actions.new_link(user=user, site=_site(request), by=person(request), now=timezone.now())
    return _invited(request, invitation)


@managers
@post_or_redirect("studio:person", "user_id")
def withdraw_link(request: HttpRequest, user_id: int) -> HttpResponse:
    user = get_object_or_404(User, id=user_id)
    actions.withdraw_link(user=user, by=person(request), now=timezone.now())
    messages.success(request, _("The link does not work any more."))
    return redirect("studio:person", user.id)


@managers
@post_or_redirect("studio:person", "user_id")
def deactivate(request: HttpRequest, user_id: int) -> HttpResponse:
    user = get_object_or_404(User, id=user_id)
    actions.deactivate(user=user, by=person(request), now=timezone.now())
    messages.success(request, _("The account is deactivated and its sessions have ended. The work stays."))
    return redirect("studio:person", user.id)


@managers
@post_or_redirect("studio:person", "user_id")
def reactivate(request: HttpRequest, user_id: int) -> HttpResponse:
    user = get_object_or_404(User, id=user_id)
    actions.reactivate(user=user, by=person(request), now=timezone.now())
    messages.success(request, _("The account is active again."))
    return redirect("studio:person", user.id)


def _site(request: HttpRequest) -> str:
    return request.build_absolute_uri("/")


def _invited(request: HttpRequest, invitation: actions.Invitation) -> HttpResponse:
    """Show the link in the response to the POST, because it is a secret that nothing stores."""
    return render(request, "studio/invited.html", {"invitation": invitation})
