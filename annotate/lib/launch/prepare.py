"""Bring database and static files to where this version of the code needs them, in one process: Django loads once."""

import os
import sys

import django
from django.core.management import CommandError, call_command

from annotate.lib.launch.bootstrap import say


def main(*, demo: bool) -> None:
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "annotate.settings")
    django.setup()
    say("Migrating the database")
    call_command("migrate", interactive=False, verbosity=1)
    call_command("createcachetable", verbosity=0)
    say("Collecting the static files")
    call_command("collectstatic", interactive=False, verbosity=0)
    if demo:
        say("Loading the demonstration data")
        try:
            call_command("load_demo")
        except CommandError as refusal:
            sys.exit(str(refusal))


if __name__ == "__main__":
    main(demo="--demo" in sys.argv)
