from typing import cast

from celery import shared_task
from django.core.cache import cache
from django.utils import timezone

from annotate.lib.cache import KeepingCache


@shared_task(name="accounts.sweep")
def sweep() -> None:
    """Delete tries to log in that count no more, and whatever else the cache has kept for its time."""
    cast(KeepingCache, cache).forget_expired(now=timezone.now())
