from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.utils import timezone

from annotate.accounts import tokens
from annotate.accounts.models import User


class Command(BaseCommand):
    help = "Create an API token for a manager and print it. It cannot be printed again."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("login", metavar="LOGIN", help="the user name of a manager")
        choice = parser.add_mutually_exclusive_group()
        choice.add_argument("--replace", action="store_true", help="delete the manager's other tokens")
        choice.add_argument("--revoke", action="store_true", help="delete this person's tokens and create none")

    def handle(self, *args: object, **options: Any) -> None:
        user = User.objects.filter(username=options["login"]).first()
        if user is None:
            raise CommandError(f"There is no user {options['login']!r}. Check the spelling.")
        if options["revoke"]:
            ended = tokens.end(user=user, by=None, now=timezone.now())
            self.stdout.write(f"Deleted {ended} tokens of {user.username}.")
            return
        try:
            key = tokens.create(user=user, by=None, now=timezone.now(), replace=options["replace"])
        except tokens.NoToken as refused:
            raise CommandError(str(refused)) from refused
        self.stdout.write(key)
