from typing import Final

from celery import shared_task
from django.utils import timezone

from annotate.pools.importers import jobs
from annotate.samples import importers

# Tasks of higher packages, which this one may not import.
SAMPLE: Final = "models_worker.sample_run"
PROBE: Final = "models_worker.probe_server"
FILL: Final = "workflows.fill_campaigns"


@shared_task(name="samples.run_completion_import")
def run_completion_import(job_id: int) -> None:
    if jobs.check(job_id=job_id, unused=importers.unused, clock=timezone.now):
        jobs.run(job_id=job_id, take=importers.take, clock=timezone.now)
