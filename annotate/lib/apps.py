from django.apps import AppConfig
from django.conf import settings
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.backends.signals import connection_created


class LibConfig(AppConfig):
    name = "annotate.lib"

    def ready(self) -> None:
        connection_created.connect(plan_once, dispatch_uid="plan_once")


def plan_once(connection: BaseDatabaseWrapper, **_signal: object) -> None:
    if settings.PREPARED_STATEMENTS:
        with connection.connection.cursor() as cursor:
            cursor.execute("SET plan_cache_mode = force_generic_plan")
