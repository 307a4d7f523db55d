from celery import shared_task
from django.utils import timezone

from annotate.edits import actions


@shared_task(name="edits.sweep")
def sweep() -> None:
    actions.sweep(now=timezone.now())
