from typing import Any

from django.core.management.base import BaseCommand
from django.utils import timezone

from annotate.work import actions, leases


class Command(BaseCommand):
    help = (
        "Free every task whose lease has ended, and cancel what a closed campaign left open. "
        "Safe to run at any time, also while the workers do the same."
    )

    def handle(self, *args: Any, **options: Any) -> None:
        now = timezone.now()
        freed = leases.sweep(now=now)
        actions.cancel_left_open(now=now)
        self.stdout.write(f"{freed} leases had ended and were freed.")
