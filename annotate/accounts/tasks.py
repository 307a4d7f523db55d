from typing import cast

from celery import shared_task
from django.core.cache import cache
from django.utils import timezone

from annotate.lib.cache import KeepingCache


@shared_task(name="accounts.sweep")
def sweep() -> None:
    """The cache contains counters of failed logins."""
    cast(KeepingCache, cache).forget_expired(now=timezone.now())
