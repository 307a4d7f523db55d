"""Tasks that stopped after too many skips, and the manager's decision about each."""

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import reverse
from django.utils import timezone
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from django.views.decorators.http import require_safe

from annotate.accounts.access import managers, person
from annotate.lib.methods import post_or_redirect, refusals_lead_to
from annotate.lib.paging import back_to, page_of
from annotate.studio.forms import StoppedForm
from annotate.work import queries as work
from annotate.work.models import Campaign, Task
from annotate.work.stopped import drop_task, restart_task

RESTARTED = gettext_lazy("The task is back at the front of the queue.")
ENDED = gettext_lazy("The task collects no more answers. Existing answers stay.")


@require_safe
@managers
def stopped(request: HttpRequest, campaign_id: int) -> HttpResponse:
    campaign = get_object_or_404(Campaign, id=campaign_id)
    context = {
        "campaign": campaign,
        "page": page_of(request, work.stopped_tasks(campaign), size=20),
        "held": work.held_tasks(campaign).count(),
    }
    return render(request, "studio/stopped.html", context)


def _list_page(request: HttpRequest, campaign_id: int, task_id: int) -> str:
    """The page of the list that sent the decision."""
    return back_to(reverse("studio:stopped", args=[campaign_id]), request)


@managers
@post_or_redirect("studio:stopped", "campaign_id")
@refusals_lead_to(_list_page)
def decide(request: HttpRequest, campaign_id: int, task_id: int) -> HttpResponse:
    task = get_object_or_404(Task, id=task_id, campaign=campaign_id)
    form = StoppedForm(request.POST)
    if not form.is_valid():
        messages.error(request, _("Choose what happens to the task."))
    elif form.cleaned_data["decision"] == "restart":
        restart_task(task_id=task.id, now=timezone.now(), by=person(request))
        messages.success(request, str(RESTARTED))
    else:
        drop_task(task_id=task.id, now=timezone.now())
        messages.success(request, str(ENDED))
    return redirect(_list_page(request, campaign_id, task_id))
