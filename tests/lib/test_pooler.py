"""Behind a real pgbouncer, which gives each transaction another connection, PREPARED_STATEMENTS=0 is enough."""

import os
import pwd
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from django.core.management import call_command
from django.db import connection
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from annotate.accounts.actions import deactivate
from annotate.accounts.models import Role
from annotate.demonstrations.models import Demonstration
from annotate.lib.streaming import streaming
from annotate.pools.models import Prompt, PromptGroup
from annotate.work.filling import add_tasks
from annotate.work.states import State
from tests import factories as make
from tests.conftest import free_port, wait_for_port
from tests.desk.conftest import Labeler
from tests.exports import answers

ROOT = Path(__file__).parents[2]
# Each transaction gets the connection that has not been used for the longest time: one that lives on in the next
# transaction, such as a cursor or a prepared statement, is never found again.
CONFIGURATION = """
[databases]
* = host={HOST} port={PORT} user={USER} password={PASSWORD}
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = {port}
unix_socket_dir =
auth_type = any
pool_mode = transaction
server_round_robin = 1
default_pool_size = {connections}
"""
CONNECTIONS = 3


@pytest.fixture(scope="module")
def pooler(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    """A pgbouncer in front of the tests' PostgreSQL; its port."""
    program = shutil.which("pgbouncer", path=f"{os.environ['PATH']}:/usr/sbin")
    assert program, "pgbouncer is not installed; bin/test installs it where it may"
    server = {name: connection.settings_dict[name] or "" for name in ("HOST", "PORT", "USER", "PASSWORD")}
    port, folder = free_port(), tmp_path_factory.mktemp("pgbouncer")
    configuration = folder / "pgbouncer.ini"
    text = CONFIGURATION.format(port=port, connections=CONNECTIONS, **server | {"PORT": server["PORT"] or 5432})
    configuration.write_text(text)
    command = [program, str(configuration)]
    if os.geteuid() == 0:
        # It refuses to run as root, and the embedded PostgreSQL's socket is private to an account of its own.
        of_a_socket = server["HOST"].startswith("/")
        command += ["-u", pwd.getpwuid(os.stat(server["HOST"]).st_uid).pw_name if of_a_socket else "nobody"]
    process = subprocess.Popen(command, stdout=(folder / "log").open("wb"), stderr=subprocess.STDOUT)
    try:
        wait_for_port(port, process, folder / "log")
        yield port
    finally:
        process.terminate()
        process.wait(10)


@pytest.fixture
def pooled(pooler: int, transactional_db: None, settings: Any) -> Iterator[None]:
    """This process reaches its database through the pooler, with the documented setting."""
    settings.PREPARED_STATEMENTS = False
    direct = dict(connection.settings_dict)
    connection.close()
    connection.settings_dict.update(HOST="127.0.0.1", PORT=str(pooler), DISABLE_SERVER_SIDE_CURSORS=True)
    # It makes another connection only where all it has are in a transaction.
    crowd = [connection.copy() for _ in range(CONNECTIONS)]
    for each in crowd:
        each.set_autocommit(False)
        each.cursor().execute("SELECT 1")
    for each in crowd:
        # Of a client that leaves in a transaction it would drop the connection.
        each.rollback()
        each.close()
    yield
    connection.close()
    connection.settings_dict.update(direct)


def backend() -> int:
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_backend_pid()")
        return int(cursor.fetchone()[0])


def test_the_pooler_gives_each_transaction_another_connection(pooled):
    assert len({backend() for _ in range(2 * CONNECTIONS)}) == CONNECTIONS


def test_a_labelers_work(pooled):
    pool = make.pool()
    campaign = make.campaign("demonstrations", over=pool, review_percent=0, overlap=1)
    for number in range(3):
        make.prompt(pool, f"Prompt {number}")
    add_tasks(campaign=campaign, prompts=Prompt.objects.all(), now=make.NOW)
    labeler = Labeler(make.user())
    make.acknowledge(labeler.user, campaign)
    for _ in range(3):
        held = labeler.take(campaign)
        assert labeler.get("task", held.id).status_code == 200
        assert labeler.save(held, text="half").status_code == 200
        assert labeler.submit(held, text="Whole.").status_code == 302
        held.refresh_from_db()
        assert held.state == State.ACCEPTED
    assert Demonstration.objects.count() == 3
    assert labeler.post("undo", held.id).status_code == 302
    held.refresh_from_db()
    assert held.state == State.LEASED


def test_what_streams_its_rows(pooled, tmp_path, monkeypatch):
    """Exports, agreement, the audit of the split and the end of somebody's sessions read through cursors."""
    pool, policy = make.pool(), make.policy()
    guideline = make.guideline()
    demonstrations = make.campaign("demonstrations", over=pool, guideline=guideline)
    rankings = make.campaign("rankings", over=pool, guideline=guideline)
    first, second, manager = make.user(), make.user(), make.user(Role.MANAGER)
    for number in range(3):
        prompt = make.prompt(pool, f"Prompt {number}")
        answers.demonstration(demonstrations, prompt, first)
        slate = answers.slate(rankings, prompt, [make.completion(prompt, policy, text) for text in "ABCD"])
        answers.ranking(slate, first, [1, 2, 3, 4])
        answers.ranking(slate, second, [1, 2, 4, 3])
    # The command's clock stands where the answers' did: none of them is submitted after the export began.
    monkeypatch.setattr("exports.management.commands.export.timezone", SimpleNamespace(now=lambda: make.NOW))
    call_command("export", str(demonstrations.id), str(rankings.id), "--out", str(tmp_path / "files"))
    assert sum(1 for file in (tmp_path / "files").glob("sft_*.jsonl") for _line in file.open()) == 3
    call_command("audit_splits")
    client = Client()
    client.force_login(manager)
    page = client.get(reverse("exports:agreement"), {"campaign": rankings.id})
    assert page.status_code == 200
    assert "83.3" in page.content.decode() or "100" in page.content.decode()
    desk = Client()
    desk.force_login(second)
    deactivate(user=second, by=manager, now=timezone.now())
    assert desk.get(reverse("desk:home")).status_code == 302
    assert Prompt.objects.count() == 3


def test_the_setting_covers_prepared_statements_and_cursors():
    code = "from annotate import settings; print(settings.DATABASES['default']['DISABLE_SERVER_SIDE_CURSORS'])"
    for value, disabled in (("0", "True"), ("1", "False")):
        environment = os.environ | {"PREPARED_STATEMENTS": value}
        run = subprocess.run([sys.executable, "-c", code], env=environment, cwd=ROOT, capture_output=True, text=True)
        assert run.stdout.split() == [disabled], run.stderr


def test_rows_are_streamed_in_a_transaction_of_their_own(pooled):
    def cursors() -> int:
        with connection.cursor() as cursor:
            cursor.execute("SELECT count(*) FROM pg_cursors WHERE name LIKE '_django%'")
            return int(cursor.fetchone()[0])

    groups = {make.group().id, make.group().id}
    with streaming():
        rows = PromptGroup.objects.values_list("id", flat=True).iterator(1)
        first = next(rows)
        assert cursors() == 1
        assert {first, *rows} == groups
    rows = PromptGroup.objects.values_list("id", flat=True).iterator(1)
    first = next(rows)
    assert cursors() == 0
    assert {first, *rows} == groups
