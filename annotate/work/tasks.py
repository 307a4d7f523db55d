from celery import shared_task
from django.utils import timezone

from annotate.work import leases, slots


@shared_task(name="work.sweep")
def sweep() -> None:
    now = timezone.now()
    leases.sweep(now=now)
    slots.cancel_left_open(now=now)
