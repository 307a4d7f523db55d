from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.utils import timezone

from annotate.accounts.models import Role
from annotate.lib import env
from annotate.studio.demo.load import NoPrompts, load

PASSWORDS = {
    Role.LABELER: "DEMO_LABELER_PASSWORD",
    Role.REVIEWER: "DEMO_REVIEWER_PASSWORD",
    Role.MANAGER: "DEMO_MANAGER_PASSWORD",
}


class Command(BaseCommand):
    help = "Load the demonstration: people, guidelines, prompts, a small policy, open campaigns. Existing rows stay."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--logins", type=Path, metavar="FILE", help="write the created logins into FILE")

    def handle(self, **options: Any) -> None:
        passwords = {role: env.text(name, "") for role, name in PASSWORDS.items()}
        missing = [name for role, name in PASSWORDS.items() if not passwords[role]]
        if missing:
            raise CommandError(f"Set {', '.join(missing)}: the passwords that the demonstration's people log in with.")
        try:
            created = load(passwords=passwords, now=timezone.now())
        except NoPrompts as problem:
            raise CommandError(str(problem)) from problem
        if options["logins"]:
            Path(options["logins"]).write_text("\n".join(created))
