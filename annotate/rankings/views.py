"""A manager's pages for the slates of a campaign: the mix they are sampled from, and how far they are."""

from typing import Any

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import path
from django.utils import timezone
from django.utils.translation import gettext as _
from django.views.decorators.http import require_http_methods, require_safe

from annotate.accounts.access import managers
from annotate.lib.methods import post_or_redirect
from annotate.lib.refusals import shown_in
from annotate.rankings import stock, supply
from annotate.rankings.forms import MixForm, part_forms
from annotate.rankings.models import Mix, Portion
from annotate.rankings.rules import BadMix
from annotate.samples.forms import draw_seed
from annotate.work.models import Campaign
from annotate.work.states import CampaignState


@require_safe
@managers
def slates(request: HttpRequest, campaign_id: int) -> HttpResponse:
    """The part of the campaign's page that tells of its slates and keeps itself up to date."""
    return render(request, "rankings/_slates.html", about_slates(_campaign(campaign_id)))


@require_http_methods(["GET", "HEAD", "POST"])
@managers
def mix(request: HttpRequest, campaign_id: int) -> HttpResponse:
    campaign = _campaign(campaign_id)
    data = request.POST or None
    form = MixForm(data, instance=Mix.objects.filter(campaign=campaign).first())
    parts = part_forms(stock.parts_of(campaign), data)
    if request.method == "POST" and form.is_valid() and parts.is_valid():
        filled = [(part, part.share) for part in parts if part.share]
        shares = [share for _part, share in filled if share]
        with shown_in(form):
            try:
                supply.save_mix(campaign=campaign, shares=shares, seed=draw_seed(), **form.cleaned_data)
            except BadMix as bad:
                if bad.part is None:
                    raise
                filled[bad.part][0].add_error(None, str(bad))
            else:
                messages.success(request, _("The slates are made like this from now on."))
                return redirect("studio:campaign", campaign.id)
    return render(request, "rankings/mix.html", {"campaign": campaign, "form": form, "parts": parts})


@managers
@post_or_redirect("studio:campaign", "campaign_id")
def go_on(request: HttpRequest, campaign_id: int) -> HttpResponse:
    """Sample for the campaign again, after it stopped by itself or a run was cancelled."""
    supply.go_on(campaign=_campaign(campaign_id), now=timezone.now())
    messages.success(request, _("More slates are being sampled."))
    return redirect("studio:campaign", campaign_id)


def about_slates(campaign: Campaign) -> dict[str, Any]:
    mix = Mix.objects.select_related("campaign").filter(campaign=campaign).first()
    parts = stock.parts_of(campaign)
    context: dict[str, Any] = {"campaign": campaign, "mix": mix, "supply": stock.supply_of(campaign), "parts": []}
    if mix and parts:
        resolved = stock.resolved(mix)
        version = stock.latest_version(mix)
        portions = Portion.objects.filter(version=version).select_related("run")
        runs = {portion.place: portion.run for portion in portions}
        context["parts"] = [(part, stock.pointed_at(part), runs.get(part.place)) for part in parts]
        context["k"] = sum(part.count for part in parts)
        context["stall"] = stock.stall(mix, resolved) if resolved else None
        short = not context["supply"].sampling and context["supply"].ready < mix.low
        context["used_up"] = short and version is not None and not stock.next_prompts(mix).exists()
    context["fed"] = bool(parts) and campaign.state == CampaignState.OPEN
    return context


def _campaign(campaign_id: int) -> Campaign:
    return get_object_or_404(Campaign, id=campaign_id, rankingsettings__isnull=False)


urlpatterns = [
    path("slates/", slates, name="campaign-slates"),
    path("mix/", mix, name="campaign-mix"),
    path("mix/go-on/", go_on, name="mix-go-on"),
]
