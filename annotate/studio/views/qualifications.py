from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.utils.translation import gettext as _
from django.views.decorators.http import require_http_methods

from annotate.accounts import actions
from annotate.accounts import queries as accounts
from annotate.accounts.access import managers
from annotate.accounts.forms import QualificationForm
from annotate.accounts.models import Qualification
from annotate.lib.methods import post_or_redirect
from annotate.lib.paging import page_of
from annotate.lib.refusals import shown_in


@require_http_methods(["GET", "HEAD", "POST"])
@managers
def qualifications(request: HttpRequest) -> HttpResponse:
    """All qualifications. A POST adds one."""
    form = QualificationForm(request.POST or None)
    if request.method == "POST" and form.is_valid():
        with shown_in(form, "name"):
            actions.save_qualification(qualification=Qualification(), **form.cleaned_data)
            messages.success(request, _("The qualification is created. Add it to people on their pages."))
            return redirect("studio:qualifications")
    context = {"page": page_of(request, accounts.qualifications()), "form": form}
    return render(request, "studio/qualifications.html", context)


@require_http_methods(["GET", "HEAD", "POST"])
@managers
def qualification(request: HttpRequest, qualification_id: int) -> HttpResponse:
    """A qualification with its people and campaigns. A POST changes it."""
    found = get_object_or_404(Qualification, id=qualification_id)
    name = found.name
    form = QualificationForm(request.POST or None, instance=found)
    if request.method == "POST" and form.is_valid():
        with shown_in(form, "name"):
            actions.save_qualification(qualification=found, **form.cleaned_data)
            messages.success(request, _("Saved."))
            return redirect("studio:qualifications")
    context = {
        "qualification": found,
        "name": name,
        "form": form,
        "campaigns": found.campaigns.order_by("name"),
        "page": page_of(request, found.people.order_by("username"), size=50),
    }
    return render(request, "studio/qualification.html", context)


@managers
@post_or_redirect("studio:qualification", "qualification_id")
def qualification_delete(request: HttpRequest, qualification_id: int) -> HttpResponse:
    found = get_object_or_404(Qualification, id=qualification_id)
    actions.delete_qualification(qualification=found)
    messages.success(request, _("The qualification is deleted."))
    return redirect("studio:qualifications")
