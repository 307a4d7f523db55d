"""The API of a ranking campaign's mix, under the address of the campaign."""

from django.shortcuts import get_object_or_404
from django.urls import path
from django.utils import timezone
from django.utils.translation import gettext_lazy as _
from drf_spectacular.utils import extend_schema
from rest_framework.exceptions import NotFound
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from annotate.rankings import slate_queries, slate_supply
from annotate.rankings.models import Mix, RankingSettings
from annotate.rankings.serializers import MixSerializer
from annotate.work.models import Campaign

NOT_RANKED = _("“%(name)s” is not a ranking campaign, so it has no mix. Use the id of a ranking campaign.")


class MixView(APIView):
    """The mix of a ranking campaign, with the numbers of its slates."""

    @extend_schema(operation_id="campaigns_mix_retrieve", responses=MixSerializer)
    def get(self, request: Request, campaign_id: int) -> Response:
        return Response(_mix(_campaign(campaign_id)))

    @extend_schema(operation_id="campaigns_mix_update", request=MixSerializer, responses=MixSerializer)
    def put(self, request: Request, campaign_id: int) -> Response:
        campaign = _campaign(campaign_id)
        form = MixSerializer(data=request.data)
        form.is_valid(raise_exception=True)
        slate_supply.save_mix(campaign=campaign, **form.validated_data)
        return Response(_mix(campaign))


class ContinueView(APIView):
    """Resume sampling after it stopped or a run was cancelled."""

    @extend_schema(operation_id="campaigns_go_on_create", request=None, responses=MixSerializer)
    def post(self, request: Request, campaign_id: int) -> Response:
        campaign = _campaign(campaign_id)
        slate_supply.resume_sampling(campaign=campaign, now=timezone.now())
        return Response(_mix(campaign))


def _campaign(campaign_id: int) -> Campaign:
    campaign = get_object_or_404(Campaign, id=campaign_id)
    if not RankingSettings.objects.filter(campaign=campaign).exists():
        raise NotFound(NOT_RANKED % {"name": campaign.name})
    return campaign


def _mix(campaign: Campaign) -> object:
    mix = Mix.objects.filter(campaign=campaign).first() or Mix(campaign=campaign)
    values = {"mix": mix, "parts": slate_queries.parts_of(campaign), "supply": slate_queries.slate_counts(campaign)}
    return MixSerializer(values).data


urlpatterns = [
    path("mix/", MixView.as_view(), name="campaign-mix"),
    path("go_on/", ContinueView.as_view(), name="campaign-go-on"),
]
