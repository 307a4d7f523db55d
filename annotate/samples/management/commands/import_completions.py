from argparse import ArgumentParser

from annotate.pools.importers.command import ImportFile
from annotate.pools.models import ImportKind
from annotate.samples import importers


class Command(ImportFile):
    help = "Import completions of a pool's prompts from a JSONL or CSV file. Prints what was refused, and why."
    kind = ImportKind.COMPLETIONS
    take = staticmethod(importers.take)
    unused = staticmethod(importers.unused)
    columns = ("model",)

    def add_arguments(self, parser: ArgumentParser) -> None:
        super().add_arguments(parser)
        parser.add_argument("--model", help="who wrote them, where a line does not say")
