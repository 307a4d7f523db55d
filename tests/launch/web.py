"""The web as bin/start runs it, for tests that speak to it over the network."""

import http.client
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from annotate.launch import embedded_postgres
from annotate.launch.bootstrap import ROOT
from annotate.launch.start import services
from annotate.launch.surroundings import make_folders, read_or_make_secrets
from tests.conftest import free_port
from tests.databases import migrated_cluster
from tests.launch.processes import wait_until


@dataclass
class Site:
    port: int
    url: str
    temporary: Path
    pid: int
    log: Path
    sessions: dict[str, str] = field(default_factory=dict)

    def ask(self, path: str, *, seconds: float = 60, **headers: str) -> tuple[int, dict[str, str], str, float]:
        """Status, headers, body, and how long it took."""
        began = time.monotonic()
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=seconds)
        try:
            connection.request("GET", path, headers={"Cookie": "sessionid=of-nobody", **headers})
            response = connection.getresponse()
            body = response.read().decode()
            return response.status, dict(response.headers), body, time.monotonic() - began
        finally:
            connection.close()


@contextmanager
def running(tmp_path_factory: pytest.TempPathFactory, *options: str, **settings: object) -> Iterator[Site]:
    """gunicorn over a PostgreSQL of its own; `options` are added to gunicorn's, `settings` to the environment."""
    var = tmp_path_factory.mktemp("web")
    make_folders(var)
    migrated_cluster(var)
    url, port = embedded_postgres.ensure_running(var, durable=False), free_port()
    environment = {**os.environ, **read_or_make_secrets(var), "VAR_DIR": str(var), "DATABASE_URL": url, "DEBUG": "0"}
    temporary = tmp_path_factory.mktemp("temporary")
    environment |= {"PYTHONPATH": str(ROOT), "TMPDIR": str(temporary)}
    environment |= {name: str(value) for name, value in settings.items()}
    try:
        subprocess.run(
            [sys.executable, "-m", "annotate.launch.prepare"], cwd=ROOT, env=environment, check=True, timeout=300
        )
        (web, *_others) = services(host="127.0.0.1", port=port, sampling=False)
        with (var / "web.log").open("w") as log:
            server = subprocess.Popen([*web.command, *options], cwd=ROOT, env=environment, stdout=log, stderr=log)
        found = Site(port, url, temporary, server.pid, var / "web.log", sessions_of_people(environment))

        def is_up() -> bool:
            assert server.poll() is None, (var / "web.log").read_text()
            try:
                return found.ask("/")[0] == 302
            except OSError:
                return False

        try:
            wait_until(is_up, seconds=120)
            yield found
        finally:
            server.terminate()
            server.wait(60)
    finally:
        embedded_postgres.stop(var)


PEOPLE = """
from importlib import import_module
from django.conf import settings
from django.contrib.auth import BACKEND_SESSION_KEY, HASH_SESSION_KEY, SESSION_KEY
from tests import factories as make
make.pool()
from django.core.files.base import ContentFile
from django.core.files.storage import storages
from django.utils import timezone
from annotate.work import filling, leases
from annotate.work.models import Draft
from exports.models import Export, ExportState
storages["exports"].save("1/rows.jsonl", ContentFile(b"0123456789abcde\\n" * 2**20))
files = {"files": [{"name": "rows.jsonl"}], "card": {"name": "README.md"}}
Export.objects.create(state=ExportState.DONE, folder="1", created_at=make.NOW, manifest=files)
for role in ("labeler", "manager"):
    user = make.user(role)
    session = import_module(settings.SESSION_ENGINE).SessionStore()
    session[SESSION_KEY], session[HASH_SESSION_KEY] = str(user.pk), user.get_session_auth_hash()
    session[BACKEND_SESSION_KEY] = settings.AUTHENTICATION_BACKENDS[0]
    session.save()
    print(role, session.session_key)
    if role == "labeler":
        campaign = make.campaign()
        make.acknowledge(user, campaign)
        make.prompt(campaign.pool)
        filling.add_tasks(campaign=campaign, prompts=campaign.pool.prompts.all(), now=timezone.now())
        held = leases.claim(campaign_id=campaign.id, labeler=user, now=timezone.now())
        long = {"text": "&" * 600_000}
        Draft.objects.create(task=held.task, labeler=user, body=long, saved_at=timezone.now())
"""


def sessions_of_people(environment: dict[str, str]) -> dict[str, str]:
    """Somebody of each role, logged in; pool 1; export 1, with a file of 16 MB; and for the labeler task 1.

    The page of task 1 has 3 MB, because of a long draft.
    """
    said = subprocess.run(
        [sys.executable, "manage.py", "shell", "--no-imports", "-c", PEOPLE],
        cwd=ROOT,
        env=environment,
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    ).stdout
    return dict(line.split() for line in said.splitlines())
