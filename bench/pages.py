"""What a claim and its task page cost, and what two optimisations save: folded templates and prepared session queries.

    python bench/pages.py [--rounds 40]

Writes into the database of DATABASE_URL, in a transaction that it rolls back. Runs the variants alternately in one
process: as shipped, with Django's cached loader in place of annotate/lib/templates.py, and with the ORM in place of the
statements of annotate/accounts/sessions.py. Prints the median CPU time of each variant in ms, one JSON line at the end.
"""

import argparse
import json
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
os.environ.setdefault("DJANGO_SETTINGS_MODULE", "annotate.settings")

import django
from django.conf import settings

settings.STATIC_ROOT = tempfile.mkdtemp()
settings.ALLOWED_HOSTS = ["testserver"]
django.setup()

from allauth.account.auth_backends import AuthenticationBackend  # noqa: E402
from django.contrib.sessions.backends import db  # noqa: E402
from django.core.management import call_command  # noqa: E402
from django.db import transaction  # noqa: E402
from django.template import engines  # noqa: E402
from django.template.loaders import cached  # noqa: E402
from django.test import Client  # noqa: E402
from django.urls import reverse  # noqa: E402

from annotate.accounts import sessions  # noqa: E402
from annotate.lib.templates import Loader  # noqa: E402
from annotate.workflows.table import workflow_of  # noqa: E402
from tests import factories as make  # noqa: E402

SOURCES = ["django.template.loaders.filesystem.Loader", "django.template.loaders.app_directories.Loader"]
VARIANTS = ("as shipped", "plain templates", "plain sessions")
PROMPTS = 400
CALLS = 8  # of a variant in a row


class Variants:
    def __init__(self) -> None:
        self.engine = engines["django"].engine
        self.loaders = {True: Loader(self.engine, SOURCES), False: cached.Loader(self.engine, SOURCES)}
        self.shipped = (sessions.SessionStore._get_session_from_db, sessions.Backend.get_user)

    def use(self, variant: str) -> None:
        self.engine.template_loaders = [self.loaders[variant != "plain templates"]]
        plain = (db.SessionStore._get_session_from_db, AuthenticationBackend.get_user)
        methods: Any = plain if variant == "plain sessions" else self.shipped
        sessions.SessionStore._get_session_from_db, sessions.Backend.get_user = methods


def pages() -> dict[str, Callable[[], None]]:
    """A labeler's requests: the task page alone, and a claim with its task page and a release."""
    pool = make.pool()
    for _ in range(PROMPTS):
        make.prompt(pool)
    campaign = make.campaign(over=pool)
    while workflow_of(campaign).fill(campaign=campaign, now=make.NOW):
        pass
    labeler = make.user()
    make.acknowledge(labeler, campaign)
    client = Client()
    client.force_login(labeler)

    def claim() -> str:
        page: str = client.post(reverse("desk:next", args=[campaign.id]))["location"]
        return page

    def load(page: str) -> None:
        response = client.get(page)
        if response.status_code != 200:
            sys.exit(f"{page} answered {response.status_code}.")

    held = claim()

    def claimed() -> None:
        page = claim()
        load(page)
        client.post(reverse("desk:release", args=[int(page.rstrip("/").rsplit("/", 1)[1])]))

    return {"task page": lambda: load(held), "claim and task page": claimed}


def measure(call: Callable[[], None], variants: Variants, rounds: int) -> dict[str, float]:
    """Median CPU milliseconds of a call, for each variant."""
    took: dict[str, list[float]] = {variant: [] for variant in VARIANTS}
    for number in range(-1, rounds):
        turn = number % len(VARIANTS)
        for variant in VARIANTS[turn:] + VARIANTS[:turn]:
            variants.use(variant)
            for _ in range(CALLS):
                begun = time.process_time()
                call()
                if number >= 0:  # the first round loads templates and prepares statements
                    took[variant].append((time.process_time() - begun) * 1000)
    return {variant: round(statistics.median(times), 2) for variant, times in took.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=40)
    asked = parser.parse_args()
    call_command("collectstatic", interactive=False, verbosity=0)
    variants, figures = Variants(), {}
    with transaction.atomic():
        for name, call in pages().items():
            figures[name] = measure(call, variants, asked.rounds)
            print(f"{name}: {figures[name]}")
        transaction.set_rollback(True)
    print(json.dumps(figures))


if __name__ == "__main__":
    main()
