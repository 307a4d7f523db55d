from typing import Any

from django.apps import AppConfig
from django.conf import settings
from django.db.backends.signals import connection_created


class LibConfig(AppConfig):
    name = "annotate.lib"

    def ready(self) -> None:
        connection_created.connect(plan_once, dispatch_uid="plan_once")


def plan_once(connection: Any, **_signal: Any) -> None:
    """One plan for each prepared statement, whatever its values: each is written so that there is one good way."""
    if settings.PREPARED_STATEMENTS:
        with connection.connection.cursor() as cursor:
            cursor.execute("SET plan_cache_mode = force_generic_plan")
