"""Endpoints for scripts of managers. They call the same actions as the pages of the studio."""

from typing import Any, cast

from django.db.models import QuerySet
from django.utils import timezone
from drf_spectacular.utils import extend_schema
from rest_framework import mixins, status
from rest_framework.decorators import action
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.serializers import BaseSerializer
from rest_framework.viewsets import GenericViewSet

from annotate.accounts.models import User
from annotate.api.serializers import (
    CampaignSerializer,
    CompletionSerializer,
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
from annotate.pools import actions as pools
from annotate.pools.models import Pool, Prompt
from annotate.pools.queries import search_prompts
from annotate.pools.rules import PromptDraft
from annotate.samples import policies, probes, runs
from annotate.samples import queries as sampled
from annotate.samples.models import Policy, SampleRun
from annotate.samples.spec import PolicySpec
from annotate.work import quarantine
from annotate.work import queries as worked
from annotate.work.models import Campaign
from annotate.work.states import CampaignState
from annotate.workflows.actions import (
    change_campaign,
    change_state,
    create_campaign,
    release,
    retry_failed,
    with_settings,
)


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
    def list(self, request: Request, *args: object, **kwargs: object) -> Response:
        return super().list(request, *args, **kwargs)

    def get_queryset(self) -> QuerySet[Prompt]:
        form = PromptFilters(data=self.request.query_params)
        form.is_valid(raise_exception=True)
        filters = form.validated_data
        prompts = search_prompts(Prompt.objects.all(), filters.get("q", ""))
        if pool := filters.get("pool"):
            prompts = prompts.filter(pool=pool)
        if split := filters.get("split"):
            prompts = prompts.filter(group__split=split)
        if (quarantined := filters.get("quarantined")) is not None:
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
        """Keep the prompt in quarantine, and record that you have decided."""
        prompt = self.get_object()
        quarantine.keep(prompt_id=prompt.id, by=manager(request), now=timezone.now())
        return Response(PromptSerializer(self.get_object()).data)

    @extend_schema(request=ReleaseSerializer, responses=PromptSerializer)
    @action(detail=True, methods=["post"])
    def release(self, request: Request, pk: str) -> Response:
        """Release a prompt from quarantine. With {"instead": true} the equal prompts go into quarantine instead."""
        prompt, form = self.get_object(), ReleaseSerializer(data=request.data)
        form.is_valid(raise_exception=True)
        release(prompt=prompt, by=manager(request), now=timezone.now(), instead=form.validated_data["instead"])
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
        """Make it the policy that "current" means for its stage."""
        policy = self.get_object()
        policies.move_current(stage=policy.stage, policy=policy, by=manager(request), now=timezone.now())
        return Response(PolicySerializer(policy).data)

    @extend_schema(request=None, responses=PolicySerializer)
    @action(detail=True, methods=["post"])
    def probe(self, request: Request, pk: str) -> Response:
        """Request another probe of the policy's server."""
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

    def get_serializer_context(self) -> dict[str, object]:
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
        """Sample the failed prompts of the run again."""
        run = self.get_object()
        retry_failed(run=run)
        run.refresh_from_db()
        return Response(self.get_serializer(run).data)


class CampaignViewSet(
    mixins.ListModelMixin, mixins.RetrieveModelMixin, mixins.CreateModelMixin, GenericViewSet[Campaign]
):
    """A new campaign is a draft. POST {"to": "open"} to its `state` to open it."""

    serializer_class = CampaignSerializer
    queryset = with_settings(Campaign.objects.prefetch_related("labelers", "qualifications")).order_by("-id")
    known: dict[int, worked.Progress] = {}

    def paginate_queryset(self, queryset: Any) -> Any:
        page = super().paginate_queryset(queryset)
        if queryset.model is Campaign:
            self.known = worked.progress(list(page or []))
        return page

    def get_serializer_context(self) -> dict[str, object]:
        return {**super().get_serializer_context(), "progress": self.known}

    def perform_create(self, serializer: BaseSerializer[Campaign]) -> None:
        serializer.instance = create_campaign(**serializer.validated_data, by=manager(self.request), now=timezone.now())

    @extend_schema(request=CampaignSerializer(partial=True), responses=CampaignSerializer)
    def partial_update(self, request: Request, pk: str) -> Response:
        campaign = self.get_object()
        form = self.get_serializer(campaign, data=request.data, partial=True)
        form.is_valid(raise_exception=True)
        campaign = change_campaign(campaign=campaign, now=timezone.now(), **form.validated_data)
        return Response(self.get_serializer(campaign).data)

    @extend_schema(request=StateSerializer, responses=CampaignSerializer)
    @action(detail=True, methods=["post"])
    def state(self, request: Request, pk: str) -> Response:
        form = StateSerializer(data=request.data)
        form.is_valid(raise_exception=True)
        campaign = change_state(
            campaign=self.get_object(), to=CampaignState(form.validated_data["to"]), now=timezone.now()
        )
        return Response(self.get_serializer(campaign).data)

    @extend_schema(responses=StoppedTaskSerializer(many=True))
    @action(detail=True)
    def stopped_tasks(self, request: Request, pk: str) -> Response:
        """Tasks that wait for a manager because people skipped them, longest waiting first."""
        page = self.paginate_queryset(worked.stopped_tasks(self.get_object()))
        return self.get_paginated_response(StoppedTaskSerializer(page, many=True).data)
