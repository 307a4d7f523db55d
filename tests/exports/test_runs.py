"""Exports that a worker writes: under a lease, once, and again where a worker died."""

import hashlib
import os
import stat
import threading
from contextlib import closing
from datetime import timedelta

import pytest
from django.core.files.base import ContentFile
from django.core.files.storage import storages
from django.db import connection

from annotate.accounts.models import Role
from annotate.celery import app
from annotate.demonstrations import actions as demonstrations
from annotate.lib.jobs import LeaseLost
from annotate.pools.models import Source, Split
from annotate.work.filling import add_tasks
from annotate.work.refusals import UndoOver
from annotate.work.states import State
from exports import actions, leases, tasks
from exports.manifest import file_names
from exports.models import Export, ExportState
from tests import factories as make
from tests.exports import answers
from tests.studio.conftest import answered

NOW = make.NOW
LATER = NOW + 2 * leases.LEASE

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def storage(settings, tmp_path):
    settings.STORAGES = settings.STORAGES | {
        "exports": {
            "BACKEND": "django.core.files.storage.FileSystemStorage",
            "OPTIONS": settings.STORAGES["exports"]["OPTIONS"] | {"location": tmp_path / "storage"},
        }
    }
    return storages["exports"]


@pytest.fixture
def row(transactional_db, day, storage):
    """A waiting export of three demonstrations."""
    for number in range(3):
        answers.demonstration(day.demonstrations, day.prompt(f"Prompt {number}."), day.labeler)
    manager = make.user(Role.MANAGER)
    return actions.request_export(campaigns=day.campaigns, by=manager, now=NOW)


def run(row, *, now=NOW):
    return leases.run(export_id=row.id, clock=lambda: now)


def test_a_run_stores_every_file_of_the_manifest(row, storage):
    assert run(row)
    row.refresh_from_db()
    assert (row.state, row.rows_done, row.rows_total, row.finished_at) == (ExportState.DONE, 3, 3, NOW)
    assert row.leased_until is None
    stored = storage.listdir(row.folder)[1]
    assert sorted(stored) == sorted(file_names(row.manifest)) == ["README.md", "manifest.json", "sft_train.jsonl"]
    (file,) = row.manifest["files"]
    with storage.open(f"{row.folder}/sft_train.jsonl") as content:
        assert hashlib.sha256(content.read()).hexdigest() == file["sha256"]


def test_a_second_run_does_nothing(row, storage):
    run(row)
    row.refresh_from_db()
    folder = row.folder
    assert not run(row)
    row.refresh_from_db()
    assert row.folder == folder


def test_of_two_takes_at_once_one_gets_it(row):
    assert leases.take(export_id=row.id, now=NOW)
    assert leases.take(export_id=row.id, now=NOW) is None


def test_the_sweep_takes_up_what_nobody_announced_and_what_a_dead_worker_left(row, storage):
    dead = leases.take(export_id=row.id, now=NOW)
    storage.save(f"{dead.folder}/sft_train.jsonl", ContentFile(b"half a line"))
    assert leases.sweep(clock=lambda: NOW) == 0
    assert leases.sweep(clock=lambda: LATER) == 1
    row.refresh_from_db()
    assert row.state == ExportState.DONE
    assert row.folder != dead.folder
    # What the dead worker left is gone.
    assert storage.listdir(str(row.id))[0] == [row.folder.split("/")[1]]


def test_a_worker_that_lost_its_lease_stops_and_takes_its_files_along(row, storage, monkeypatch):
    write = actions.write

    def slowly(**options):
        written = write(**options)
        # Meanwhile its lease ended and somebody else began.
        assert leases.take(export_id=row.id, now=LATER)
        return written

    monkeypatch.setattr(leases, "write", slowly)
    run(row)
    row.refresh_from_db()
    assert (row.state, row.manifest) == (ExportState.RUNNING, None)
    assert not storage.exists(str(row.id)) or storage.listdir(str(row.id))[0] == []


def test_the_lease_is_renewed_while_lines_are_written(row, monkeypatch):
    export = leases.take(export_id=row.id, now=NOW)
    with leases.second_connection() as second:
        renewal = leases.Renewal(second, export, 3, clock=lambda: NOW + timedelta(minutes=1))
        with actions.snapshot():
            # Seen by others at once, although rows are being read in a transaction.
            renewal(2)
        row.refresh_from_db()
        assert (row.rows_done, row.rows_total) == (2, 3)
        assert row.leased_until == NOW + timedelta(minutes=1) + leases.LEASE
        renewal(3)
        row.refresh_from_db()
        assert row.rows_done == 2, "once a second is enough"
        leases.take(export_id=row.id, now=LATER)
        with pytest.raises(LeaseLost):
            renewal.now()


def test_a_leak_ends_it_with_the_reason(row, day, storage):
    for split in Split:
        prompt = make.prompt(make.pool(), "The same.", in_group=make.group(split=split), source=Source.CUSTOMER)
        answers.demonstration(day.demonstrations, prompt, day.labeler)
    run(row)
    row.refresh_from_db()
    assert row.state == ExportState.FAILED
    assert "1 prompt texts are in both" in row.error
    assert row.finished_at == NOW
    assert not storage.exists(row.folder)


def test_a_full_disk_ends_it_with_the_reason(row, storage, monkeypatch):
    def full(*args, **options):
        raise OSError("No space left on device")

    monkeypatch.setattr(type(storage), "save", full)
    run(row)
    row.refresh_from_db()
    assert (row.state, row.error) == (ExportState.FAILED, "No space left on device")


def test_a_mistake_of_ours_is_not_tried_for_ever(row, monkeypatch):
    def broken(**options):
        raise ZeroDivisionError

    monkeypatch.setattr(leases, "write", broken)
    with pytest.raises(ZeroDivisionError):
        run(row)
    row.refresh_from_db()
    assert row.state == ExportState.FAILED
    assert "log" in row.error
    assert leases.sweep(clock=lambda: LATER) == 0


def test_rows_are_read_from_one_moment(day, row, monkeypatch):
    """An answer that is accepted while the export runs is in the next one."""
    from exports.rows import ppo

    def later_answer(prompts):
        with closing(connection.copy()) as other, other.cursor() as cursor:
            cursor.execute("UPDATE demonstrations_demonstration SET text = 'changed meanwhile'")
        yield from ()

    monkeypatch.setattr(ppo, "rows", later_answer)
    before = [row["manifest"] for row in Export.objects.values("manifest")]
    assert before == [None]
    run(row)
    row.refresh_from_db()
    first = row.manifest["files"][0]["sha256"]
    monkeypatch.undo()
    again = actions.request_export(campaigns=day.campaigns, by=row.created_by, now=NOW)
    run(again)
    again.refresh_from_db()
    assert again.manifest["files"][0]["sha256"] != first


def test_the_tasks_that_messages_and_beat_name_exist(row, storage, settings):
    assert app.tasks["exports.run_export"] == tasks.run_export
    assert settings.CELERY_BEAT_SCHEDULE["resume exports"]["task"] == tasks.sweep.name
    tasks.run_export(row.id)
    row.refresh_from_db()
    assert row.state == ExportState.DONE
    tasks.sweep()


def test_an_answer_that_is_being_read_is_not_undone(day, tmp_path):
    day.prompt("One.")
    add_tasks(campaign=day.demonstrations, prompts=day.pool.prompts.order_by("id"), now=NOW)
    answer = answered(day.demonstrations, day.labeler)
    refused = []

    def undo():
        try:
            demonstrations.undo(assignment_id=answer.id, labeler=day.labeler, now=NOW)
        except UndoOver as over:
            refused.append(over)
        finally:
            connection.close()

    def on_progress(done):
        # Somewhere in the middle of the export, on a connection of its own.
        if not refused:
            labeler = threading.Thread(target=undo)
            labeler.start()
            labeler.join()

    actions.write(campaigns=day.campaigns, out=tmp_path / "out", now=NOW, on_progress=on_progress)
    assert refused
    answer.refresh_from_db()
    assert answer.state == State.ACCEPTED


@pytest.mark.parametrize("umask", [0o022, 0o000])
def test_the_files_are_for_the_platforms_account_alone(storage, tmp_path, umask):
    before = os.umask(umask)
    try:
        storage.save("7/sft_train.jsonl", ContentFile(b"{}"))
    finally:
        os.umask(before)
    modes = [stat.S_IMODE((tmp_path / name).stat().st_mode) for name in ("storage", "storage/7")]
    assert modes == [0o700, 0o700]
    assert stat.S_IMODE((tmp_path / "storage/7/sft_train.jsonl").stat().st_mode) == 0o600
