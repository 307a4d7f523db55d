from django.core.management.base import BaseCommand

from exports.formats.reference import reference


class Command(BaseCommand):
    help = "Print the columns of the training files, as Markdown. docs/training-files.md has the same text."

    def handle(self, *args: object, **options: object) -> None:
        self.stdout.write(reference(), ending="")
