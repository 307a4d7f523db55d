from celery import shared_task
from django.utils import timezone

from annotate.work import actions, leases


@shared_task(name="work.sweep")
def sweep() -> None:
    now = timezone.now()
    leases.sweep(now=now)
    actions.cancel_left_open(now=now)
