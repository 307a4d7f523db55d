"""Campaigns: set up, open, watch, pause, close."""

from datetime import timedelta
from typing import Any

from django.contrib import messages
from django.db.models import QuerySet
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.utils import timezone
from django.utils.translation import gettext as _
from django.utils.translation import ngettext
from django.views.decorators.http import require_http_methods, require_safe

from annotate.accounts.access import managers, person
from annotate.accounts.models import Cohort
from annotate.edits.actions import add_briefs
from annotate.edits.models import Brief
from annotate.guidelines.models import Guideline
from annotate.guidelines.queries import current_version
from annotate.lib.methods import post_or_redirect, refusals_lead_to
from annotate.lib.paging import page_of
from annotate.lib.refusals import shown_in
from annotate.lib.wake import wake
from annotate.pools.models import Kind, Pool
from annotate.rankings.stock import parts_of
from annotate.studio import counts, queries
from annotate.studio.forms import BriefsForm
from annotate.studio.views.mixes import about_slates
from annotate.work import filling, refusals, review
from annotate.work import queries as work
from annotate.work.campaigns import change_campaign, change_state, create_campaign
from annotate.work.forms import CampaignForm
from annotate.work.models import Assignment, Campaign, Workflow
from annotate.work.states import CAMPAIGN_MOVES, CampaignState

FILL = "studio.fill_campaigns"


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
    """The first step: what kind of work is it?"""
    missing = {"no_pool": not Pool.objects.exists(), "no_guideline": not Guideline.objects.exists()}
    return render(request, "studio/campaign_kind.html", {"kinds": Workflow, **missing})


@require_http_methods(["GET", "HEAD", "POST"])
@managers
def campaign_new(request: HttpRequest, workflow: str) -> HttpResponse:
    kind = _kind(workflow)
    form = CampaignForm(request.POST or None, workflow=kind)
    if request.method == "POST" and form.is_valid():
        with shown_in(form):
            campaign = create_campaign(by=person(request), now=timezone.now(), workflow=kind, **form.cleaned_data)
            messages.success(request, _("The campaign is a draft. Labelers see it when you open it."))
            return redirect("studio:campaign", campaign.id)
    return render(request, "studio/campaign_new.html", {"form": form, "kind": kind})


@require_http_methods(["GET", "HEAD", "POST"])
@managers
def campaign_edit(request: HttpRequest, campaign_id: int) -> HttpResponse:
    campaign = get_object_or_404(Campaign, id=campaign_id)
    name = campaign.name
    form = CampaignForm(request.POST or None, instance=campaign, workflow=Workflow(campaign.workflow))
    if request.method == "POST" and form.is_valid():
        with shown_in(form):
            campaign = change_campaign(campaign=campaign, **form.cleaned_data)
            # Of most campaigns that is all of it; what is left of a large one a worker does.
            if filling.match_overlap(campaign=campaign, now=timezone.now()):
                wake(FILL, campaign.pool_id)
            messages.success(request, _("The campaign was changed."))
            return redirect("studio:campaign", campaign.id)
    # The form has written into the campaign what was typed: a refused name must not stand in the title.
    return render(request, "studio/campaign_edit.html", {"form": form, "campaign": campaign, "name": name})


@require_safe
@managers
def campaign(request: HttpRequest, campaign_id: int) -> HttpResponse:
    campaign = get_object_or_404(_with_related(), id=campaign_id)
    return render(request, "studio/campaign.html", _campaign(request, campaign))


@require_safe
@managers
def campaign_progress(request: HttpRequest, campaign_id: int) -> HttpResponse:
    """The part of the campaign's page that keeps itself up to date."""
    campaign = get_object_or_404(_with_related(), id=campaign_id)
    return render(request, "studio/_campaign_progress.html", _progress(campaign, younger=counts.FRESH))


@require_http_methods(["GET", "HEAD", "POST"])
@managers
@refusals_lead_to("studio:campaign", "campaign_id")
def campaign_state(request: HttpRequest, campaign_id: int, to: str) -> HttpResponse:
    """Says what the move will do, and does it when that is confirmed."""
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
    """Ask another labeler instead of waiting for the writer of a sent-back answer."""
    get_object_or_404(Assignment, id=assignment_id, campaign=campaign_id)
    review.replace_sent_back(assignment_id=assignment_id, by=person(request), now=timezone.now())
    messages.success(request, _("Another labeler will be asked."))
    return redirect("studio:campaign", campaign_id)


@managers
@post_or_redirect("studio:campaign", "campaign_id")
def briefs(request: HttpRequest, campaign_id: int) -> HttpResponse:
    """Ask for new instructions."""
    campaign = get_object_or_404(_with_related(), id=campaign_id, workflow=Workflow.EDITS)
    form = BriefsForm(request.POST)
    if form.is_valid():
        with shown_in(form):
            made = add_briefs(
                campaign=campaign,
                kind=Kind(form.cleaned_data["kind"]),
                count=form.cleaned_data["count"],
                use_cases=form.cleaned_data["use_cases"],
                now=timezone.now(),
            )
            said = ngettext("%(count)d new instruction is asked for.", "%(count)d are asked for.", len(made))
            messages.success(request, said % {"count": len(made)})
            return redirect("studio:campaign", campaign.id)
    return render(request, "studio/campaign.html", _campaign(request, campaign) | {"briefs_form": form})


def _move(request: HttpRequest, campaign: Campaign, to: CampaignState) -> HttpResponse:
    again = campaign.state == CampaignState.PAUSED
    change_state(campaign=campaign, to=to, now=timezone.now())
    if to == CampaignState.OPEN:
        wake(FILL, campaign.pool_id)
    messages.success(request, _said(to, again))
    return redirect("studio:campaign", campaign.id)


def _said(to: CampaignState, again: bool) -> str:
    opened = _("The campaign is open again.") if again else _("The campaign is open. Its tasks are being made.")
    return {
        CampaignState.OPEN: opened,
        CampaignState.PAUSED: _("The campaign is paused. Labelers finish what they hold and get nothing new."),
        CampaignState.CLOSED: _("The campaign is closed."),
    }[to]


def _with_related() -> QuerySet[Campaign]:
    return Campaign.objects.select_related("pool", "guideline", "target_pool")


def _kind(workflow: str) -> Workflow:
    if workflow not in Workflow:
        raise Http404
    return Workflow(workflow)


def _progress(campaign: Campaign, *, younger: timedelta = counts.KEPT) -> dict[str, Any]:
    standing = counts.standing(campaign, now=timezone.now(), younger=younger)
    return {
        "campaign": campaign,
        "standing": standing,
        "mixed": campaign.workflow == Workflow.RANKINGS and bool(parts_of(campaign)),
        "progress": standing.progress,
        "running": campaign.state in (CampaignState.OPEN, CampaignState.PAUSED),
        "matched": work.matched_percent(campaign) if campaign.state != CampaignState.CLOSED else None,
    }


def _campaign(request: HttpRequest, campaign: Campaign) -> dict[str, Any]:
    context = _progress(campaign)
    context |= {
        "version": current_version(campaign.guideline),
        "moves": [to for to in CampaignState if (campaign.state, to) in CAMPAIGN_MOVES],
        "cohorts": [Cohort(cohort).label for cohort in campaign.cohorts],
        "named": campaign.labelers.order_by("username"),
        "policies": campaign.policies.order_by("name", "revision"),
        "qualifications": campaign.qualifications.order_by("name"),
        "labelers": queries.labelers_of(campaign, context["standing"].labelers),
        "stopped": 0 if campaign.state == CampaignState.CLOSED else work.stopped_tasks(campaign).count(),
        "active_time": work.active_time(Assignment.objects.filter(campaign=campaign)),
        "waiting": queries.waiting_for_writers(campaign),
        "page": page_of(request, work.skips(campaign), size=10),
    }
    if campaign.workflow == Workflow.RANKINGS:
        context |= about_slates(campaign)
    if campaign.workflow == Workflow.EDITS and campaign.state != CampaignState.CLOSED:
        briefs = Brief.objects.filter(task__campaign=campaign).order_by("-id")
        context |= {"briefs_form": BriefsForm(), "briefs": briefs[:5], "briefs_total": briefs.count()}
    return context
