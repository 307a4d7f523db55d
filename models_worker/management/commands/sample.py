from typing import Any

from django.core.management.base import BaseCommand, CommandParser
from django.utils import timezone

from annotate.samples import queries
from annotate.samples.models import SampleRun
from models_worker import runner


class Command(BaseCommand):
    help = (
        "Sample in this process what waits, until nothing does. Needs no broker, and shares the work with whatever "
        "workers there are. Ctrl-C gives back what is not finished."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("run", nargs="?", type=int, help="the number of a run to begin with")

    def handle(self, *args: Any, **options: Any) -> None:
        waiting = [run.id for run in queries.waiting_runs()]
        if not waiting:
            self.stdout.write("Nothing waits.")
            return
        runner.sample(options["run"] or waiting[0])
        runs = SampleRun.objects.filter(id__in=waiting).order_by("id")
        for run_id, seen in queries.progress(runs, now=timezone.now()).items():
            self.stdout.write(f"Run {run_id}: {seen.done} prompts done, {seen.failed} failed, {seen.waiting} waiting.")
