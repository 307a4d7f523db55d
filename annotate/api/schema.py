"""What the OpenAPI schema cannot learn from a serializer's fields."""

from typing import Any

from drf_spectacular.extensions import OpenApiSerializerExtension

from annotate.workflows.table import WORKFLOWS


class CampaignSchema(OpenApiSerializerExtension):  # type: ignore[no-untyped-call]
    """A campaign has the settings of its workflow too. Each of them is optional here."""

    target_class = "annotate.api.serializers.CampaignSerializer"

    def map_serializer(self, auto_schema: Any, direction: str) -> Any:
        schema = auto_schema._map_serializer(self.target, direction, bypass_extensions=True)
        for workflow in WORKFLOWS.values():
            if workflow.settings_serializer:
                settings = auto_schema._map_serializer(
                    workflow.settings_serializer(), direction, bypass_extensions=True
                )
                schema["properties"] |= settings["properties"]
        return schema
