from celery import shared_task
from django.utils import timezone

from annotate.instructions import actions


@shared_task(name="instructions.sweep")
def sweep() -> None:
    actions.sweep(now=timezone.now())
