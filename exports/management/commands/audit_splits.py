from argparse import ArgumentParser

from django.core.management.base import BaseCommand, CommandError
from django.utils import timezone

from annotate.pools import audit
from annotate.pools.models import Prompt, QuarantineReason
from annotate.pools.quarantine import Case
from annotate.work.quarantine import quarantine
from exports.rows.about import chunks

# Prompts per transaction: few, so that labelers do not wait for its locks.
STEP = 100


class Command(BaseCommand):
    help = (
        "Find customers, writers and texts that are on both sides of the split. "
        "Exits with 1 if there are any, unless --quarantine puts them into quarantine."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument(
            "--quarantine", action="store_true", help="put newer copies and prompts on the wrong side into quarantine"
        )

    def handle(self, **options: object) -> None:
        found = audit.find()
        for batch in chunks(found, STEP):
            self._show(batch)
        self._count(found)
        if not found:
            return
        if not options["quarantine"]:
            raise CommandError("Put these prompts into quarantine with --quarantine, or one by one on their pages.")
        for batch in chunks(found, STEP):
            quarantine(cases=batch, by=None, now=timezone.now())
        # People may have added prompts or decided about some meanwhile.
        if left := audit.find():
            raise CommandError(f"{len(left)} prompts changed meanwhile and are still on both sides. Run this again.")
        self.stdout.write("These prompts are in quarantine. Managers can decide about each on the page of its pool.")

    def _show(self, batch: list[Case]) -> None:
        ids = {prompt_id for case in batch for prompt_id in (case.prompt_id, case.twin_id) if prompt_id is not None}
        rows = Prompt.objects.filter(id__in=ids).values_list("id", "pool__name", "group__split")
        named = {prompt_id: f"prompt {prompt_id} of “{pool}” in {split}" for prompt_id, pool, split in rows}
        for case in batch:
            prompt = named.get(case.prompt_id, str(case.prompt_id))
            against = f", against {named.get(case.twin_id, str(case.twin_id))}" if case.twin_id is not None else ""
            self.stdout.write(f"{prompt}{against}: {case.reason.label}")

    def _count(self, found: list[Case]) -> None:
        for reason in QuarantineReason:
            number = sum(case.reason == reason for case in found)
            self.stdout.write(f"{number}: {reason.label}")
