from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.utils import timezone

from exports import queries
from exports.actions import FolderInUse, write
from exports.queries import NoSuchCampaign
from exports.splits import Leak


class Command(BaseCommand):
    help = "Write the training files of campaigns, with their manifest, into a folder."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("campaigns", nargs="+", metavar="CAMPAIGN", help="name or id of the campaign")
        parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="a new or empty folder")
        parser.add_argument("--force", action="store_true", help="replace the export that is in the folder")

    def handle(self, *args: object, **options: Any) -> None:
        out: Path = options["out"].absolute()
        try:
            campaigns = queries.named_campaigns(options["campaigns"])
            manifest = write(campaigns=campaigns, out=out, now=timezone.now(), force=options["force"])
        except (NoSuchCampaign, FolderInUse, Leak, OSError) as refused:
            raise CommandError(str(refused)) from refused
        for split, prompts in manifest["prompts"].items():
            counts = ", ".join(f"{column} {number}" for column, number in prompts.items())
            self.stdout.write(f"{split}: {counts} (prompts)")
        for file in manifest["files"]:
            self.stdout.write(f"{out / file['name']}: {file['rows']} rows")
        if not manifest["files"]:
            self.stdout.write(
                "Nothing to export: there are no accepted answers and no customer prompts. The manifest lists what was"
                " left out and why."
            )
        for campaign in campaigns:
            if reason := queries.why_nothing(campaign):
                self.stdout.write(reason)
