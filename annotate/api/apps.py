from django.apps import AppConfig


class ApiConfig(AppConfig):
    name = "annotate.api"

    def ready(self) -> None:
        from annotate.api import schema  # noqa: F401  # registers itself with drf-spectacular
