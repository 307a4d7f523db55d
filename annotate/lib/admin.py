"""Django's admin for emergencies. Changes bypass the actions, so each app lists the few `mendable` columns."""

from typing import Any

from django.contrib import admin
from django.db.models import BinaryField, Field, GeneratedField, JSONField, Model, TextField
from django.http import HttpRequest

UNLISTED = (BinaryField, GeneratedField, JSONField, TextField)


class Emergency(admin.ModelAdmin):  # type: ignore[type-arg]
    mendable: tuple[str, ...] = ()
    show_full_result_count = False
    list_select_related = True
    list_per_page = 50

    def get_list_display(self, request: HttpRequest) -> list[Any]:
        return [field.name for field in self._columns() if not isinstance(field, UNLISTED)]

    def get_readonly_fields(self, request: HttpRequest, obj: Model | None = None) -> list[str]:
        return [field.name for field in self._columns() if field.name not in self.mendable]

    def get_fields(self, request: HttpRequest, obj: Model | None = None) -> list[Any]:
        return [field.name for field in self._columns()]

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return bool(self.mendable) and super().has_change_permission(request, obj)

    def has_delete_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return False

    def _columns(self) -> list["Field[object, object]"]:
        return [f for f in self.model._meta.fields if not isinstance(f, GeneratedField) and f.name != "password"]


def show(*models: type[Model]) -> None:
    admin.site.register(models, Emergency)
