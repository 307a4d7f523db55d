from argparse import ArgumentParser

from django.core.management.base import BaseCommand
from django.utils import timezone

from annotate.accounts import actions
from annotate.accounts.demo import DEMO_PASSWORDS
from annotate.accounts.models import User
from annotate.lib import env


class Command(BaseCommand):
    help = "List or deactivate the active logins of the demonstration that have their generated passwords."

    def add_arguments(self, parser: ArgumentParser) -> None:
        choice = parser.add_mutually_exclusive_group()
        choice.add_argument("--deactivate", action="store_true", help="deactivate them and keep their work")
        choice.add_argument(
            "--recognize",
            action="store_true",
            help="mark logins of an earlier version that still have the passwords in DEMO_..._PASSWORD",
        )

    def handle(self, *args: object, **options: object) -> None:
        if options["recognize"]:
            _recognize()
        logins = User.objects.filter(is_demo=True, is_active=True).order_by("username")
        for user in logins:
            self.stdout.write(user.username)
            if options["deactivate"]:
                actions.close(user=user, by=None, now=timezone.now())


def _recognize() -> None:
    """The other labelers have the password of labeler."""
    passwords = {login: env.text(name, "") for login, name in DEMO_PASSWORDS.items()}
    for user in User.objects.filter(username__in=[*passwords, "labeler2", "labeler-held-out"], is_demo=False):
        password = passwords.get(user.username) or passwords["labeler"]
        if password and user.check_password(password):
            User.objects.filter(id=user.id).update(is_demo=True)
