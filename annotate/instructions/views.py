from django.contrib import messages
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import path
from django.utils import timezone
from django.utils.translation import ngettext
from django.views.decorators.http import require_http_methods, require_POST

from annotate.accounts.access import labelers, managers, person
from annotate.instructions.actions import add_briefs
from annotate.instructions.forms import BriefsForm
from annotate.instructions.models import Brief
from annotate.instructions.pages import changes
from annotate.lib.refusals import shown_in
from annotate.pools.models import Kind
from annotate.work.access import had
from annotate.work.models import Campaign
from annotate.work.workflow import Context


@require_POST
@labelers
def compare(request: HttpRequest, assignment_id: int) -> HttpResponse:
    assignment = had(person(request), assignment_id)
    if assignment is None or not hasattr(assignment.campaign, "instructionsettings"):
        raise Http404
    return render(request, "instructions/_diff.html", changes(assignment.task, request.POST))


@require_http_methods(["GET", "HEAD", "POST"])
@managers
def briefs(request: HttpRequest, campaign_id: int) -> HttpResponse:
    """Add briefs. Without JavaScript, and after an error, the form has its own page."""
    campaign = get_object_or_404(Campaign, id=campaign_id, instructionsettings__isnull=False)
    form = BriefsForm(request.POST or None)
    if request.method == "POST" and form.is_valid():
        with shown_in(form):
            made = add_briefs(
                campaign=campaign,
                kind=Kind(form.cleaned_data["kind"]),
                count=form.cleaned_data["count"],
                use_cases=form.cleaned_data["use_cases"],
                now=timezone.now(),
            )
            report = ngettext(
                "%(count)d new instruction is requested.", "%(count)d new instructions are requested.", len(made)
            )
            messages.success(request, report % {"count": len(made)})
            return redirect("studio:campaign", campaign.id)
    return render(
        request, "instructions/briefs.html", about_briefs(campaign) | {"campaign": campaign, "briefs_form": form}
    )


def about_briefs(campaign: Campaign) -> Context:
    briefs = Brief.objects.filter(task__campaign=campaign).order_by("-id")
    return {"briefs_form": BriefsForm(), "briefs": briefs[:5], "briefs_total": briefs.count()}


task_urlpatterns = [path("compare/", compare, name="compare")]
campaign_urlpatterns = [path("briefs/", briefs, name="campaign-briefs")]
