"""The worker's tasks. Every Celery process imports this module, so it must not load torch."""

from celery import shared_task
from celery.signals import worker_shutting_down
from django.utils import timezone

from models_worker import runner


@shared_task(name="models_worker.sample_run")
def sample_run(run_id: int) -> None:
    runner.sample(run_id)


@shared_task(name="models_worker.probe_server")
def probe_server(probe_id: int) -> None:
    runner.probe()


@shared_task(name="models_worker.sweep")
def sweep() -> None:
    runner.sweep(now=timezone.now())


@worker_shutting_down.connect
def stop_sampling(**_signal: object) -> None:
    runner.stopping.set()
