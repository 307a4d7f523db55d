from argparse import ArgumentParser

from annotate.pools.importers import prompts
from annotate.pools.importers.command import ImportFile
from annotate.pools.models import Category, ImportKind, Kind, Source


class Command(ImportFile):
    help = "Import prompts from a JSONL or CSV file and print the reason for each refused line."
    kind = ImportKind.PROMPTS
    take = staticmethod(prompts.take)
    unused = staticmethod(prompts.unused)
    columns = ("kind", "source", "category", "language", "licence")

    def add_arguments(self, parser: ArgumentParser) -> None:
        super().add_arguments(parser)
        values = parser.add_argument_group("defaults for fields that a line lacks")
        values.add_argument("--kind", choices=Kind.values)
        values.add_argument("--source", choices=Source.values)
        values.add_argument("--category", choices=Category.values)
        values.add_argument("--language", help="a BCP 47 tag such as en or pt-BR")
        values.add_argument("--licence")
