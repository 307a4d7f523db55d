from typing import cast

from celery import shared_task
from django.core.cache import cache
from django.utils import timezone

from annotate.lib.cache import KeepingCache


@shared_task(name="accounts.sweep")
def sweep() -> None:
    """Delete expired counters of failed logins and other expired values of the cache."""
    cast(KeepingCache, cache).forget_expired(now=timezone.now())
