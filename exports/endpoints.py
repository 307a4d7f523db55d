from typing import Any, cast

from django.db.models import Prefetch
from django.http import FileResponse
from django.utils import timezone
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import extend_schema
from rest_framework import mixins, serializers
from rest_framework.decorators import action
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.viewsets import GenericViewSet

from annotate.accounts.models import User
from annotate.lib.strict import KeyField
from annotate.work.models import Campaign
from annotate.work.quarantine import quarantine as put_into_quarantine
from exports import actions, queries
from exports.models import Export
from exports.views import file_of


class OpenedCampaign(KeyField[Campaign]):
    """The error for a draft says so, instead of that the campaign does not exist."""

    def to_internal_value(self, data: Any) -> Campaign:
        campaign = super().to_internal_value(data)
        if campaign.opened_at is None:
            raise serializers.ValidationError(queries.unanswered(campaign))
        return campaign


class ExportSerializer(serializers.ModelSerializer[Export]):
    campaigns = OpenedCampaign(many=True, queryset=Campaign.objects.all(), allow_empty=False)

    class Meta:
        model = Export
        fields = [
            "id",
            "campaigns",
            "state",
            "rows_done",
            "rows_total",
            "manifest",
            "error",
            "leaks",
            "created_at",
            "finished_at",
        ]
        read_only_fields = [
            "state",
            "rows_done",
            "rows_total",
            "manifest",
            "error",
            "leaks",
            "created_at",
            "finished_at",
        ]


class ExportViewSet(mixins.ListModelMixin, mixins.RetrieveModelMixin, mixins.CreateModelMixin, GenericViewSet[Export]):
    """POST the campaigns, GET the export until `state` is `done`, then GET the files that the manifest names."""

    serializer_class = ExportSerializer
    queryset = Export.objects.prefetch_related(Prefetch("campaigns", Campaign.objects.order_by("id"))).order_by("-id")

    def perform_create(self, serializer: serializers.BaseSerializer[Export]) -> None:
        serializer.instance = actions.request_export(
            **serializer.validated_data, by=cast(User, self.request.user), now=timezone.now()
        )

    @extend_schema(request=None, responses=ExportSerializer)
    @action(detail=True, methods=["post"])
    def quarantine(self, request: Request, pk: str) -> Response:
        """Put the prompts in `leaks` of a failed export into quarantine. Then POST the campaigns again."""
        export = self.get_object()
        put_into_quarantine(cases=export.cases, by=cast(User, request.user), now=timezone.now())
        return Response(self.get_serializer(export).data)

    @extend_schema(responses={(200, "application/octet-stream"): OpenApiTypes.BINARY})
    @action(detail=True, url_path=r"files/(?P<name>[\w.-]+)", url_name="file")
    def file(self, request: Request, pk: str, name: str) -> FileResponse:
        return file_of(self.get_object(), name)
