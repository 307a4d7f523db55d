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
from annotate.rankings import slate_queries, slate_supply
from annotate.rankings.forms import MixForm, part_forms
from annotate.rankings.models import Mix, Portion
from annotate.rankings.rules import BadMix
from annotate.samples.forms import draw_seed
from annotate.work.models import Campaign
from annotate.work.states import CampaignState
from annotate.work.workflow import Context


@require_safe
@managers
def slates(request: HttpRequest, campaign_id: int) -> HttpResponse:
    return render(request, "rankings/_slates.html", about_slates(_campaign(campaign_id)))


@require_http_methods(["GET", "HEAD", "POST"])
@managers
def mix(request: HttpRequest, campaign_id: int) -> HttpResponse:
    campaign = _campaign(campaign_id)
    data = request.POST or None
    form = MixForm(data, instance=Mix.objects.filter(campaign=campaign).first())
    parts = part_forms(slate_queries.parts_of(campaign), data)
    if request.method == "POST" and form.is_valid() and parts.is_valid():
        filled = [(part, part.share) for part in parts if part.share]
        shares = [share for _part, share in filled if share]
        with shown_in(form):
            try:
                slate_supply.save_mix(campaign=campaign, shares=shares, seed=draw_seed(), **form.cleaned_data)
            except BadMix as bad:
                if bad.part is None:
                    raise
                filled[bad.part][0].add_error(None, str(bad))
            else:
                messages.success(request, _("The mix is saved. New slates are sampled from it."))
                return redirect("studio:campaign", campaign.id)
    return render(request, "rankings/mix.html", {"campaign": campaign, "form": form, "parts": parts})


@managers
@post_or_redirect("studio:campaign", "campaign_id")
def resume_sampling(request: HttpRequest, campaign_id: int) -> HttpResponse:
    slate_supply.resume_sampling(campaign=_campaign(campaign_id), now=timezone.now())
    messages.success(request, _("More slates are being sampled."))
    return redirect("studio:campaign", campaign_id)


def about_slates(campaign: Campaign) -> Context:
    mix = Mix.objects.select_related("campaign").filter(campaign=campaign).first()
    parts = slate_queries.parts_of(campaign)
    counts = slate_queries.slate_counts(campaign)
    context: Context = {"campaign": campaign, "mix": mix, "supply": counts, "parts": []}
    if mix and parts:
        resolved = slate_queries.resolved(mix)
        version = slate_queries.latest_version(mix)
        portions = Portion.objects.filter(version=version).select_related("run")
        runs = {portion.place: portion.run for portion in portions}
        context["parts"] = [(part, slate_queries.pointed_at(part), runs.get(part.place)) for part in parts]
        context["k"] = sum(part.count for part in parts)
        context["stall"] = slate_queries.stall(mix, resolved) if resolved else None
        short = not counts.sampling and counts.ready < mix.low
        context["used_up"] = short and version is not None and not slate_queries.next_prompts(mix).exists()
    context["fed"] = bool(parts) and campaign.state == CampaignState.OPEN
    return context


def _campaign(campaign_id: int) -> Campaign:
    return get_object_or_404(Campaign, id=campaign_id, rankingsettings__isnull=False)


urlpatterns = [
    path("slates/", slates, name="campaign-slates"),
    path("mix/", mix, name="campaign-mix"),
    path("mix/go-on/", resume_sampling, name="mix-go-on"),
]
