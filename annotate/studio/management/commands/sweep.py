import logging
from typing import Any

from celery import current_app
from django.conf import settings
from django.core.management.base import BaseCommand, CommandError

log = logging.getLogger(__name__)


class Command(BaseCommand):
    help = (
        "Run once, in this process, the tasks that beat sends to the workers every few seconds: free expired leases, "
        "create prompts and tasks, write waiting exports, wake workers for imports and sampling. Safe to run at any "
        "time, also while workers run."
    )

    def handle(self, *args: Any, **options: Any) -> None:
        # By name: some tasks belong to packages that this one must not import.
        current_app.loader.import_default_modules()
        failed = []
        for what, entry in settings.CELERY_BEAT_SCHEDULE.items():
            self.stdout.write(f"{what} ...")
            try:
                current_app.tasks[str(entry["task"])]()
            except Exception:
                # An error in one task must not stop the others.
                log.exception("%s failed", entry["task"])
                failed.append(what)
        if failed:
            raise CommandError("Some tasks failed. Read the log: " + "; ".join(failed))
