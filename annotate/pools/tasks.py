from celery import shared_task
from django.utils import timezone

from annotate.pools import actions
from annotate.pools.importers import jobs, prompts


@shared_task(name="pools.run_import")
def run_import(job_id: int) -> None:
    if jobs.check(job_id=job_id, unused=prompts.unused, clock=timezone.now):
        jobs.run(job_id=job_id, take=prompts.take, clock=timezone.now)


@shared_task(name="pools.sweep")
def sweep() -> None:
    actions.sweep_imports(now=timezone.now())
