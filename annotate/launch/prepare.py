"""Prepare the database and static files in one process, which loads Django once."""

import argparse
import os
import sys
from collections.abc import Sequence
from io import StringIO

import django
from django.core.management import CommandError, call_command

from annotate.accounts.demo import DEMO_PASSWORDS
from annotate.launch.bootstrap import say


def main(arguments: Sequence[str]) -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--demo", metavar="FILE", help="load the demonstration, and list the logins it created in FILE")
    parser.add_argument("--end-demo", action="store_true", help="deactivate the demonstration's logins")
    parser.add_argument("--reachable", action="store_true", help="refuse active logins of the demonstration")
    options = parser.parse_args(arguments)
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "annotate.settings")
    django.setup()
    say("Migrating the database")
    call_command("migrate", interactive=False, verbosity=1)
    call_command("createcachetable", verbosity=0)
    _check_demo(options)
    say("Collecting the static files")
    # A proxy may serve static files as another account. Compressed ones follow the umask.
    umask = os.umask(0o022)
    call_command("collectstatic", interactive=False, verbosity=0)
    os.umask(umask)
    if options.demo:
        say("Loading the demonstration data")
        try:
            call_command("load_demo", logins=options.demo)
        except CommandError as refusal:
            sys.exit(str(refusal))


def _check_demo(options: argparse.Namespace) -> None:
    if any(os.environ.get(name) for name in DEMO_PASSWORDS.values()):
        # Earlier versions stored the passwords and did not mark the logins.
        call_command("demo_logins", recognize=True, stdout=StringIO())
    if options.end_demo:
        call_command("demo_logins", deactivate=True)
    output = StringIO()
    call_command("demo_logins", stdout=output)
    if options.reachable and (logins := ", ".join(output.getvalue().split())):
        sys.exit(
            f"other machines must not reach the active logins {logins} of the demonstration. Deactivate them with "
            "--end-demo, or omit --host to listen on this machine only."
        )


if __name__ == "__main__":
    main(sys.argv[1:])
