from celery import shared_task
from django.utils import timezone

from exports import leases


@shared_task(name="exports.run_export")
def run_export(export_id: int) -> None:
    leases.run(export_id=export_id, clock=timezone.now)


@shared_task(name="exports.sweep")
def sweep() -> None:
    leases.sweep(clock=timezone.now)
