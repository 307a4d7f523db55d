"""The list of campaigns, a guideline, and the way to a task."""

from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, render
from django.utils import timezone
from django.views.decorators.http import require_http_methods, require_safe

from annotate.accounts.access import labelers, person
from annotate.desk import forms, queries
from annotate.desk.views.claiming import held_page, to_next_task
from annotate.guidelines.actions import acknowledge
from annotate.guidelines.models import GuidelineVersion
from annotate.guidelines.queries import acknowledged_version, current_version
from annotate.lib.diff import Piece, word_diff
from annotate.lib.methods import post_or_redirect
from annotate.work import queries as work
from annotate.work.eligibility import is_eligible
from annotate.work.models import Campaign
from annotate.work.states import CampaignState


@require_safe
@labelers
def home(request: HttpRequest) -> HttpResponse:
    labeler, now = person(request), timezone.now()
    held = list(work.held(labeler))
    offers = queries.offers(labeler, held)
    offered = {offer.campaign.id for offer in offers}
    today = work.answered_today(labeler, now)
    context = {
        "offers": offers,
        # Labelers finish tasks of campaigns that are paused or closed meanwhile.
        "elsewhere": [assignment for assignment in held if assignment.campaign_id not in offered],
        "sent_back": work.sent_back(labeler),
        "today": today,
        "most": labeler.daily_cap,
        "enough": labeler.daily_cap is not None and today >= labeler.daily_cap,
    }
    return render(request, "desk/home.html", context)


@labelers
@post_or_redirect(held_page)
def next_task(request: HttpRequest, campaign_id: int) -> HttpResponse:
    return to_next_task(request, campaign_id, timezone.now())


@require_http_methods(["GET", "HEAD", "POST"])
@labelers
def guideline(request: HttpRequest, campaign_id: int) -> HttpResponse:
    labeler, now = person(request), timezone.now()
    campaign = get_object_or_404(
        Campaign.objects.select_related("guideline").exclude(state=CampaignState.DRAFT), id=campaign_id
    )
    if not is_eligible(campaign, labeler):
        raise Http404
    if request.method == "POST":
        published = campaign.guideline.versions.exclude(published_at=None)
        read = get_object_or_404(published, id=forms.number(request.POST, "version"))
        acknowledge(version=read, labeler=labeler, now=now)
        return to_next_task(request, campaign.id, now)
    version, known = current_version(campaign.guideline), acknowledged_version(labeler, campaign.guideline)
    context = {"campaign": campaign, "version": version, "known": known, "pieces": _changes(known, version)}
    return render(request, "desk/guideline.html", context)


def _changes(known: GuidelineVersion | None, version: GuidelineVersion | None) -> list[Piece]:
    if known is None or version is None or known.id == version.id:
        return []
    return word_diff(known.body, version.body)
