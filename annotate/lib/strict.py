"""Serializers and fields that refuse what REST framework ignores or rounds: unknown names, and fractions as ids."""

from collections.abc import Collection, Mapping
from typing import Any, TypeVar

from django.db.models import Model
from django.utils.translation import gettext_lazy as _
from rest_framework import serializers

M = TypeVar("M", bound=Model)

NO_FIELD = _("This field does not exist. Remove it, or correct its name.")


def unknown_fields(data: Mapping[str, object], known: Collection[str]) -> dict[str, Any]:
    """The errors of a serializer: every name outside of `known`."""
    return {name: [NO_FIELD] for name in data if name not in known}


class KeyField(serializers.PrimaryKeyRelatedField[M]):
    """REST framework's own field takes 1.9 as 1."""

    def to_internal_value(self, data: Any) -> M:
        if isinstance(data, float):
            self.fail("incorrect_type", data_type="float")
        row: M = super().to_internal_value(data)
        return row


class StrictSerializer(serializers.Serializer[Any]):
    def to_internal_value(self, data: Any) -> Any:
        if isinstance(data, Mapping) and (problems := unknown_fields(data, self.fields)):
            raise serializers.ValidationError(problems)
        return super().to_internal_value(data)
