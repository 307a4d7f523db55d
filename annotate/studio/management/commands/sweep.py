import logging
from typing import Any

from celery import current_app
from django.conf import settings
from django.core.management.base import BaseCommand, CommandError

log = logging.getLogger(__name__)


class Command(BaseCommand):
    help = (
        "Do once, in this process, what beat asks the workers to do every few seconds: free ended leases, make prompts "
        "of instructions and tasks of prompts, write waiting exports, wake workers for imports and sampling. "
        "Safe to run at any time, also while the workers do the same."
    )

    def handle(self, *args: Any, **options: Any) -> None:
        # By their names: some of these tasks belong to rooms above this one.
        current_app.loader.import_default_modules()
        failed = []
        for what, entry in settings.CELERY_BEAT_SCHEDULE.items():
            self.stdout.write(f"{what} ...")
            try:
                current_app.tasks[str(entry["task"])]()
            except Exception:
                # Whatever is wrong with one sweep, the others have work of their own.
                log.exception("%s failed", entry["task"])
                failed.append(what)
        if failed:
            raise CommandError("Some of it failed, see the log: " + "; ".join(failed))
