"""Campaigns: set up, open, watch, pause, close."""

from datetime import timedelta

from django.contrib import messages
from django.db.models import QuerySet
from django.forms import ModelForm
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.utils import timezone
from django.utils.translation import gettext as _
from django.views.decorators.http import require_http_methods, require_safe

from annotate.accounts.access import managers, person
from annotate.accounts.models import Cohort
from annotate.guidelines.models import Guideline
from annotate.guidelines.queries import current_version
from annotate.lib.methods import post_or_redirect, refusals_lead_to
from annotate.lib.paging import page_of
from annotate.lib.refusals import shown_in
from annotate.pools.models import Pool
from annotate.studio import queries
from annotate.work import queries as work
from annotate.work import refusals, review
from annotate.work.forms import CampaignForm
from annotate.work.models import Assignment, Campaign, CampaignSettings
from annotate.work.states import CAMPAIGN_MOVES, CampaignState
from annotate.work.workflow import Context, Workflow
from annotate.workflows import counts
from annotate.workflows.actions import change_campaign, change_state, create_campaign, settings_of, with_settings
from annotate.workflows.table import WORKFLOWS, workflow_of, workflow_or_404


@require_safe
@managers
def campaigns(request: HttpRequest) -> HttpResponse:
    page = page_of(request, queries.campaigns())
    progress = counts.progress(page, now=timezone.now())
    rows = [(campaign, progress[campaign.id]) for campaign in page]
    return render(request, "studio/campaigns.html", {"page": page, "rows": rows})


@require_safe
@managers
def campaign_kind(request: HttpRequest) -> HttpResponse:
    """The first step: choose a workflow."""
    missing = {"no_pool": not Pool.objects.exists(), "no_guideline": not Guideline.objects.exists()}
    return render(request, "studio/campaign_kind.html", {"workflows": WORKFLOWS.values(), **missing})


@require_http_methods(["GET", "HEAD", "POST"])
@managers
def campaign_new(request: HttpRequest, workflow: str) -> HttpResponse:
    chosen = workflow_or_404(workflow)
    form, settings = CampaignForm(request.POST or None), _settings_form(request, chosen)
    if request.method == "POST" and _are_valid(form, settings):
        with shown_in(form):
            campaign = create_campaign(
                workflow=chosen.key,
                by=person(request),
                now=timezone.now(),
                settings=settings.cleaned_data if settings else None,
                **form.cleaned_data,
            )
            messages.success(request, _("The campaign is a draft. Labelers see it when you open it."))
            return redirect("studio:campaign", campaign.id)
    return render(request, "studio/campaign_new.html", {"form": form, "settings_form": settings, "workflow": chosen})


@require_http_methods(["GET", "HEAD", "POST"])
@managers
def campaign_edit(request: HttpRequest, campaign_id: int) -> HttpResponse:
    campaign = get_object_or_404(Campaign, id=campaign_id)
    name = campaign.name
    form = CampaignForm(request.POST or None, instance=campaign)
    draft = campaign.state == CampaignState.DRAFT
    settings = _settings_form(request, workflow_of(campaign), campaign) if draft else None
    if request.method == "POST" and _are_valid(form, settings):
        with shown_in(form):
            change_campaign(
                campaign=campaign,
                now=timezone.now(),
                settings=settings.cleaned_data if settings else None,
                **form.cleaned_data,
            )
            messages.success(request, _("The campaign was changed."))
            return redirect("studio:campaign", campaign.id)
    # The form has changed the campaign object. The title must not show a refused name.
    context = {"form": form, "settings_form": settings, "campaign": campaign, "name": name}
    return render(request, "studio/campaign_edit.html", context)


@require_safe
@managers
def campaign(request: HttpRequest, campaign_id: int) -> HttpResponse:
    campaign = get_object_or_404(_with_related(), id=campaign_id)
    return render(request, "studio/campaign.html", _campaign(request, campaign))


@require_safe
@managers
def campaign_progress(request: HttpRequest, campaign_id: int) -> HttpResponse:
    """The section of the campaign's page that refreshes itself."""
    campaign = get_object_or_404(_with_related(), id=campaign_id)
    return render(request, "studio/_campaign_progress.html", _progress(campaign, max_age=counts.FRESH))


@require_http_methods(["GET", "HEAD", "POST"])
@managers
@refusals_lead_to("studio:campaign", "campaign_id")
def campaign_state(request: HttpRequest, campaign_id: int, to: str) -> HttpResponse:
    """Explain the move, and make it after confirmation."""
    campaign = get_object_or_404(Campaign.objects.select_related("guideline", "pool"), id=campaign_id)
    if to not in CampaignState:
        raise Http404
    if request.method == "POST":
        return _move(request, campaign, CampaignState(to))
    if (campaign.state, to) not in CAMPAIGN_MOVES:
        raise refusals.NoSuchMove
    context = {"campaign": campaign, "to": to, "version": current_version(campaign.guideline)}
    return render(request, "studio/campaign_state.html", context | _progress(campaign))


@managers
@post_or_redirect("studio:campaign", "campaign_id")
def replace_sent_back(request: HttpRequest, campaign_id: int, assignment_id: int) -> HttpResponse:
    """Free the slot of a sent-back answer for another labeler."""
    get_object_or_404(Assignment, id=assignment_id, campaign=campaign_id)
    review.replace_sent_back(assignment_id=assignment_id, by=person(request), now=timezone.now())
    messages.success(request, _("Another labeler gets the task."))
    return redirect("studio:campaign", campaign_id)


def _settings_form(
    request: HttpRequest, workflow: Workflow, campaign: Campaign | None = None
) -> "ModelForm[CampaignSettings] | None":
    """The form of the workflow's own settings, if it has any."""
    if workflow.settings_form is None:
        return None
    return workflow.settings_form(request.POST or None, instance=settings_of(campaign) if campaign else None)


def _are_valid(form: CampaignForm, settings: "ModelForm[CampaignSettings] | None") -> bool:
    """Validate both, so that the page shows the errors of both."""
    results = [form.is_valid(), settings is None or settings.is_valid()]
    return all(results)


def _move(request: HttpRequest, campaign: Campaign, to: CampaignState) -> HttpResponse:
    again = campaign.state == CampaignState.PAUSED
    change_state(campaign=campaign, to=to, now=timezone.now())
    messages.success(request, _success_message(to, again))
    return redirect("studio:campaign", campaign.id)


def _success_message(to: CampaignState, again: bool) -> str:
    opened = _("The campaign is open again.") if again else _("The campaign is open. Its tasks are being created.")
    return {
        CampaignState.OPEN: opened,
        CampaignState.PAUSED: _("The campaign is paused. Labelers can finish their current tasks and get no new ones."),
        CampaignState.CLOSED: _("The campaign is closed."),
    }[to]


def _with_related() -> QuerySet[Campaign]:
    return with_settings(Campaign.objects.select_related("pool", "guideline"))


def _progress(campaign: Campaign, *, max_age: timedelta = counts.CACHED) -> Context:
    numbers = counts.numbers_of(campaign, now=timezone.now(), max_age=max_age)
    workflow = workflow_of(campaign)
    part = workflow.progress_part(campaign=campaign)
    return {
        "campaign": campaign,
        "workflow": workflow,
        "progress_part": part,
        "numbers": numbers,
        "progress": numbers.progress,
        "running": campaign.state in (CampaignState.OPEN, CampaignState.PAUSED),
        "matched": work.matched_percent(campaign) if campaign.state != CampaignState.CLOSED else None,
    } | (part.context if part else {})


def _campaign(request: HttpRequest, campaign: Campaign) -> Context:
    context = _progress(campaign)
    context |= {
        "version": current_version(campaign.guideline),
        "moves": [to for to in CampaignState if (campaign.state, to) in CAMPAIGN_MOVES],
        "cohorts": [Cohort(cohort).label for cohort in campaign.cohorts],
        "named": campaign.labelers.order_by("username"),
        "qualifications": campaign.qualifications.order_by("name"),
        "labelers": queries.labelers_of(campaign, context["numbers"].labelers),
        "stopped": 0 if campaign.state == CampaignState.CLOSED else work.stopped_tasks(campaign).count(),
        "active_time": work.active_time(Assignment.objects.filter(campaign=campaign)),
        "waiting": queries.waiting_for_writers(campaign),
        "page": page_of(request, work.skips(campaign), size=10),
    }
    workflow = workflow_of(campaign)
    parts = {
        "settings_part": workflow.settings_part(campaign=campaign),
        "campaign_part": workflow.campaign_part(campaign=campaign),
    }
    for part in parts.values():
        context |= part.context if part else {}
    return context | parts
