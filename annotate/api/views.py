"""Managers' verbs for scripts: the same actions as the studio's pages, in JSON, behind a token."""

from typing import Any, cast

from django.db.models import QuerySet
from django.utils import timezone
from django.utils.translation import gettext as _
from drf_spectacular.utils import extend_schema
from rest_framework import mixins, status
from rest_framework.decorators import action
from rest_framework.exceptions import NotFound
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.serializers import BaseSerializer
from rest_framework.viewsets import GenericViewSet

from annotate.accounts.models import User
from annotate.api.serializers import (
    CampaignSerializer,
    CompletionSerializer,
    MixSerializer,
    NewPromptSerializer,
    PolicySerializer,
    PoolSerializer,
    PromptFilters,
    PromptSerializer,
    ReleaseSerializer,
    RunSerializer,
    StateSerializer,
    StoppedTaskSerializer,
)
from annotate.lib.wake import wake
from annotate.pools import actions as pools
from annotate.pools.models import Pool, Prompt
from annotate.pools.queries import search_prompts
from annotate.pools.rules import PromptDraft
from annotate.rankings import stock, supply
from annotate.rankings.models import Mix
from annotate.samples import policies, probes, runs
from annotate.samples import queries as sampled
from annotate.samples.models import Policy, SampleRun
from annotate.samples.spec import PolicySpec
from annotate.work import actions as work
from annotate.work import quarantine
from annotate.work import queries as worked
from annotate.work.models import Campaign, Workflow
from annotate.work.states import CampaignState
from annotate.workflows import readmit

# By its name: the studio's room stands beside this one.
FILL = "studio.fill_campaigns"


def manager(request: Request) -> User:
    return cast(User, request.user)


class PoolViewSet(mixins.ListModelMixin, mixins.RetrieveModelMixin, mixins.CreateModelMixin, GenericViewSet[Pool]):
    serializer_class = PoolSerializer
    queryset = Pool.objects.order_by("id")

    def perform_create(self, serializer: BaseSerializer[Pool]) -> None:
        serializer.instance = pools.create_pool(**serializer.validated_data, now=timezone.now())


class PromptViewSet(mixins.ListModelMixin, mixins.RetrieveModelMixin, GenericViewSet[Prompt]):
    """Filter the list with ?pool=, ?split=, ?quarantined= and ?q= (words of the text)."""

    serializer_class = PromptSerializer

    @extend_schema(parameters=[PromptFilters])
    def list(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        return super().list(request, *args, **kwargs)

    def get_queryset(self) -> QuerySet[Prompt]:
        form = PromptFilters(data=self.request.query_params)
        form.is_valid(raise_exception=True)
        wanted = form.validated_data
        prompts = search_prompts(Prompt.objects.all(), wanted.get("q", ""))
        if pool := wanted.get("pool"):
            prompts = prompts.filter(pool=pool)
        if split := wanted.get("split"):
            prompts = prompts.filter(group__split=split)
        if (quarantined := wanted.get("quarantined")) is not None:
            prompts = prompts.filter(quarantined_at__isnull=not quarantined)
        return prompts.select_related("group").order_by("id")

    @extend_schema(request=NewPromptSerializer, responses={201: PromptSerializer})
    def create(self, request: Request) -> Response:
        form = NewPromptSerializer(data=request.data)
        form.is_valid(raise_exception=True)
        values = dict(form.validated_data)
        prompt = pools.add_prompt(pool=values.pop("pool"), draft=PromptDraft(**values), now=timezone.now())
        return Response(PromptSerializer(prompt).data, status=status.HTTP_201_CREATED)

    @extend_schema(request=None, responses=PromptSerializer)
    @action(detail=True, methods=["post"])
    def keep(self, request: Request, pk: str) -> Response:
        """Leave the prompt in quarantine, and note that you have decided so."""
        prompt = self.get_object()
        quarantine.keep(prompt_id=prompt.id, by=manager(request), now=timezone.now())
        return Response(PromptSerializer(self.get_object()).data)

    @extend_schema(request=ReleaseSerializer, responses=PromptSerializer)
    @action(detail=True, methods=["post"])
    def release(self, request: Request, pk: str) -> Response:
        """Use a prompt that is in quarantine, or with {"instead": true} use it instead of the equal ones."""
        prompt, form = self.get_object(), ReleaseSerializer(data=request.data)
        form.is_valid(raise_exception=True)
        quarantine.release(
            prompt_id=prompt.id,
            by=manager(request),
            now=timezone.now(),
            readmit=readmit,
            instead=form.validated_data["instead"],
        )
        wake(FILL, prompt.pool_id)
        return Response(PromptSerializer(self.get_object()).data)

    @extend_schema(responses=CompletionSerializer(many=True))
    @action(detail=True, pagination_class=None)
    def completions(self, request: Request, pk: str) -> Response:
        found = sampled.completions_of(self.get_object())
        return Response(CompletionSerializer(found, many=True).data)


class PolicyViewSet(mixins.ListModelMixin, mixins.RetrieveModelMixin, mixins.CreateModelMixin, GenericViewSet[Policy]):
    serializer_class = PolicySerializer
    queryset = Policy.objects.select_related("probe").order_by("id")

    def perform_create(self, serializer: BaseSerializer[Policy]) -> None:
        serializer.instance = policies.create(spec=PolicySpec(**serializer.validated_data), now=timezone.now())

    @extend_schema(request=None, responses=PolicySerializer)
    @action(detail=True, methods=["post"])
    def make_current(self, request: Request, pk: str) -> Response:
        """New sampling runs of this policy's stage start from it."""
        policy = self.get_object()
        policies.move_current(stage=policy.stage, policy=policy, by=manager(request), now=timezone.now())
        return Response(PolicySerializer(policy).data)

    @extend_schema(request=None, responses=PolicySerializer)
    @action(detail=True, methods=["post"])
    def probe(self, request: Request, pk: str) -> Response:
        """A worker finds out anew what the policy's server can do."""
        policy = self.get_object()
        policy.probe = probes.ask(policy=policy, now=timezone.now())
        return Response(PolicySerializer(policy).data)


class RunViewSet(mixins.ListModelMixin, mixins.RetrieveModelMixin, mixins.CreateModelMixin, GenericViewSet[SampleRun]):
    serializer_class = RunSerializer
    queryset = SampleRun.objects.order_by("-id")
    known: dict[int, sampled.Progress] = {}

    def paginate_queryset(self, queryset: Any) -> Any:
        page = super().paginate_queryset(queryset)
        self.known = sampled.progress(page or [], now=timezone.now())
        return page

    def get_serializer_context(self) -> dict[str, Any]:
        return {**super().get_serializer_context(), "progress": self.known}

    def perform_create(self, serializer: BaseSerializer[SampleRun]) -> None:
        serializer.instance = runs.start(**serializer.validated_data, by=manager(self.request), now=timezone.now())

    @extend_schema(request=None, responses=RunSerializer)
    @action(detail=True, methods=["post"])
    def cancel(self, request: Request, pk: str) -> Response:
        run = runs.cancel(run=self.get_object(), now=timezone.now())
        return Response(self.get_serializer(run).data)

    @extend_schema(request=None, responses=RunSerializer)
    @action(detail=True, methods=["post"])
    def retry(self, request: Request, pk: str) -> Response:
        """Try the prompts that failed again."""
        run = self.get_object()
        supply.try_again(run=run)
        run.refresh_from_db()
        return Response(self.get_serializer(run).data)


class CampaignViewSet(
    mixins.ListModelMixin, mixins.RetrieveModelMixin, mixins.CreateModelMixin, GenericViewSet[Campaign]
):
    """A campaign begins as a draft; POST {"to": "open"} to its `state` opens it."""

    serializer_class = CampaignSerializer
    queryset = Campaign.objects.prefetch_related("labelers", "policies", "qualifications").order_by("-id")
    known: dict[int, worked.Progress] = {}

    def paginate_queryset(self, queryset: Any) -> Any:
        page = super().paginate_queryset(queryset)
        if queryset.model is Campaign:
            self.known = worked.progress(list(page or []))
        return page

    def get_serializer_context(self) -> dict[str, Any]:
        return {**super().get_serializer_context(), "progress": self.known}

    def perform_create(self, serializer: BaseSerializer[Campaign]) -> None:
        serializer.instance = work.create_campaign(
            **serializer.validated_data, by=manager(self.request), now=timezone.now()
        )

    @extend_schema(request=CampaignSerializer(partial=True), responses=CampaignSerializer)
    def partial_update(self, request: Request, pk: str) -> Response:
        campaign = self.get_object()
        form = self.get_serializer(campaign, data=request.data, partial=True)
        form.is_valid(raise_exception=True)
        campaign = work.change_campaign(campaign=campaign, **form.validated_data)
        if work.match_overlap(campaign=campaign, now=timezone.now()):
            wake(FILL, campaign.pool_id)
        return Response(self.get_serializer(campaign).data)

    @extend_schema(responses=MixSerializer)
    @action(detail=True, methods=["get"])
    def mix(self, request: Request, pk: str) -> Response:
        """How a ranking campaign comes by its slates, and how these stand."""
        return Response(self._mix(self._ranked()))

    @extend_schema(request=MixSerializer, responses=MixSerializer)
    @mix.mapping.put
    def set_mix(self, request: Request, pk: str) -> Response:
        campaign = self._ranked()
        form = MixSerializer(data=request.data)
        form.is_valid(raise_exception=True)
        supply.save_mix(campaign=campaign, **form.validated_data)
        return Response(self._mix(campaign))

    @extend_schema(request=None, responses=MixSerializer)
    @action(detail=True, methods=["post"])
    def go_on(self, request: Request, pk: str) -> Response:
        """Sample for the campaign again, after it stopped by itself or a run was cancelled."""
        campaign = self._ranked()
        supply.go_on(campaign=campaign, now=timezone.now())
        return Response(self._mix(campaign))

    def _ranked(self) -> Campaign:
        campaign: Campaign = self.get_object()
        if campaign.workflow != Workflow.RANKINGS:
            raise NotFound(_("“%(name)s” is not a ranking campaign, so it has no mix.") % {"name": campaign.name})
        return campaign

    def _mix(self, campaign: Campaign) -> Any:
        mix = Mix.objects.filter(campaign=campaign).first() or Mix(campaign=campaign)
        said = {"mix": mix, "parts": stock.parts_of(campaign), "supply": stock.supply_of(campaign)}
        return MixSerializer(said).data

    @extend_schema(request=StateSerializer, responses=CampaignSerializer)
    @action(detail=True, methods=["post"])
    def state(self, request: Request, pk: str) -> Response:
        form = StateSerializer(data=request.data)
        form.is_valid(raise_exception=True)
        campaign = work.change_state(
            campaign=self.get_object(), to=CampaignState(form.validated_data["to"]), now=timezone.now()
        )
        if campaign.state == CampaignState.OPEN:
            wake(FILL, campaign.pool_id)
        return Response(self.get_serializer(campaign).data)

    @extend_schema(responses=StoppedTaskSerializer(many=True))
    @action(detail=True)
    def stopped_tasks(self, request: Request, pk: str) -> Response:
        """Tasks that so many people skipped that they wait for a manager, longest waiting first."""
        page = self.paginate_queryset(worked.stopped_tasks(self.get_object()))
        return self.get_paginated_response(StoppedTaskSerializer(page, many=True).data)
