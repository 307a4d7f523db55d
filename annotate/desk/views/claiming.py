"""Find a labeler's task, and lead them to the next one."""

from datetime import datetime

from django.contrib import messages
from django.http import Http404, HttpRequest, HttpResponseRedirect
from django.shortcuts import get_object_or_404, redirect
from django.urls import reverse

from annotate.accounts.access import person
from annotate.accounts.models import User
from annotate.desk import queries
from annotate.lib.refusals import Refusal
from annotate.work import leases, refusals
from annotate.work import queries as work
from annotate.work.access import had
from annotate.work.eligibility import is_eligible
from annotate.work.models import Assignment, Campaign, Draft
from annotate.workflows.table import workflow_of


def task_page(request: HttpRequest, assignment_id: int) -> str:
    """404 for other labelers."""
    return reverse("desk:task", args=[had_or_404(person(request), assignment_id).id])


def held_page(request: HttpRequest, campaign_id: int) -> str:
    """The labeler's task in this campaign, or the list of campaigns."""
    labeler = person(request)
    held = [assignment.id for assignment in work.held(labeler) if assignment.campaign_id == campaign_id]
    if held:
        return reverse("desk:task", args=held[:1])
    if not is_eligible(get_object_or_404(Campaign, id=campaign_id), labeler):
        raise Http404
    return reverse("desk:home")


def had_or_404(labeler: User, assignment_id: int) -> Assignment:
    """404 for tasks of other labelers, so nobody learns which exist."""
    assignment = had(labeler, assignment_id)
    if assignment is None:
        raise Http404
    return assignment


def page_or_404(labeler: User, assignment_id: int) -> tuple[Assignment, Draft | None]:
    rows = queries.had_with_its_page(labeler, assignment_id)
    if rows is None:
        raise Http404
    return rows


def to_next_task(request: HttpRequest, campaign_id: int, now: datetime, field: str = "") -> HttpResponseRedirect:
    """Claim the next task and redirect to it, or home with the reason."""
    try:
        claimed = leases.claim(campaign_id=campaign_id, labeler=person(request), now=now)
    except refusals.NotYours as outsider:
        raise Http404 from outsider
    except refusals.NotAcknowledged:
        return redirect("desk:guideline", campaign_id)
    except Refusal as refused:
        # In a paused campaign, a prefetched task is in no list but counts as held.
        leases.release_prefetched(campaign_id=campaign_id, labeler=person(request), now=now)
        ask_for_more(campaign_id, refused)
        messages.info(request, str(refused))
        return redirect("desk:home")
    return redirect(reverse("desk:task", args=[claimed.id]) + field)


def ask_for_more(campaign_id: int, refused: Refusal) -> None:
    if isinstance(refused, refusals.NothingLeft):
        campaign = Campaign.objects.get(id=campaign_id)
        workflow_of(campaign).ran_out(campaign=campaign)
