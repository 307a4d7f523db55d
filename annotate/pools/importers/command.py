"""Import a file without a worker."""

import shlex
from argparse import ArgumentParser
from datetime import datetime
from pathlib import Path
from typing import Any, cast

from django.core.management.base import BaseCommand, CommandError
from django.db import transaction
from django.utils import timezone

from annotate.pools import actions, queries
from annotate.pools.importers import files, jobs, lines
from annotate.pools.importers.files import BadFile
from annotate.pools.importers.losses import Losses, TooManyFields, Unused
from annotate.pools.models import ImportJob, ImportKind, ImportState, Pool, Prompt


class ImportFile(BaseCommand):
    kind: ImportKind
    take: jobs.Take
    unused: Unused
    columns: tuple[str, ...]

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("pool", help="the name of the pool")
        parser.add_argument("file", type=Path, help="a .jsonl or .csv file in UTF-8; see docs/imports.md")
        parser.add_argument("--create", action="store_true", help="create the pool if it does not exist")
        parser.add_argument(
            "--ignore",
            action="append",
            default=[],
            metavar="FIELD",
            help="leave out this field although it contains text (repeat for more fields)",
        )

    def handle(self, **options: Any) -> None:
        job = self._claimed(options, timezone.now())
        shown = 0
        for _batch in jobs.import_batches(job, take=self.take, clock=timezone.now):
            if job.percent > shown:
                shown = job.percent
                self.stderr.write(f"{job.lines_done} of {job.lines_total} lines")
        if job.state != ImportState.DONE:
            raise CommandError(
                f"A worker took over the import after line {job.lines_done}. Its page shows the progress."
            )
        for line in queries.import_lines(job, refused_only=True):
            self.stdout.write(f"line {line.number}: {line.refusal}")
        if job.quarantined:
            for line in queries.quarantined_lines(job):
                reason = cast(Prompt, line.prompt).get_quarantine_reason_display()
                self.stdout.write(f"line {line.number}: in quarantine. {reason}")
            self.stdout.write(f"{job.quarantined} in quarantine. Decide about them on the page of the pool.")
        if job.ignored_fields:
            self.stdout.write(f"Fields left out: {', '.join(job.ignored_fields)}")
        if job.nobodys:
            self.stdout.write(
                f"{job.nobodys} of customers without a source_user. They may be on both sides of the split."
            )
        self.stdout.write(f"{job.taken} taken, {job.refused} refused.")
        if not job.taken:
            raise CommandError("Nothing was taken. Correct the refused lines and import the file again.")

    def _claimed(self, options: dict[str, Any], now: datetime) -> ImportJob:
        """Store and claim the job in one transaction, before a worker can claim it."""
        defaults = {name: options[name] for name in self.columns if options[name]}
        try:
            with options["file"].open("rb") as file, transaction.atomic():
                job = jobs.store(
                    pool=self._pool(options, now),
                    kind=self.kind,
                    file_name=options["file"].name,
                    data=file,
                    defaults=defaults,
                    by=None,
                    now=now,
                    ignore=options["ignore"],
                )
                self._check(job)
                return cast(ImportJob, jobs.claim(job_id=job.id, now=now))
        except (OSError, BadFile, TooManyFields) as problem:
            raise CommandError(str(problem)) from problem

    def _check(self, job: ImportJob) -> None:
        search = Losses(job, self.unused)
        search.look(lines.read(job.file_name, files.chunks(job)))
        if losses := search.found():
            named = "\n".join(f"  {loss.name} ({loss.lines} lines), such as: {loss.examples[0]}" for loss in losses)
            # The equals sign protects names that begin with a hyphen.
            options = " ".join(f"--ignore={shlex.quote(loss.name)}" for loss in losses)
            raise CommandError(
                f"Nothing was imported, because fields with text would be left out:\n{named}\n"
                f"To leave them out, add: {options}",
                returncode=2,
            )
        job.checked = True
        job.save(update_fields=["checked"])

    def _pool(self, options: dict[str, Any], now: datetime) -> Pool:
        pool = Pool.objects.filter(name=options["pool"]).first()
        if pool is None and not options["create"]:
            raise CommandError(f"There is no pool “{options['pool']}”. Add --create to create it.")
        return pool or actions.create_pool(name=options["pool"], now=now)
