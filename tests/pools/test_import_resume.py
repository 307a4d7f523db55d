"""Imports that are interrupted, raced for or killed go on at exactly the next line."""

import json
import os
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from threading import Barrier
from urllib.parse import quote

import pytest
from django.conf import settings
from django.db import OperationalError, connection
from django.utils import timezone

from annotate.pools import actions, queries
from annotate.pools.importers import jobs, prompts
from annotate.pools.models import ImportJob, ImportKind, ImportLine, ImportState, Prompt
from tests import factories as make

NOW = make.NOW
LATER = NOW + jobs.LEASE + timedelta(seconds=1)


class Killed(BaseException):
    """Nothing in the program catches it, as nothing catches a SIGKILL."""


@pytest.fixture(autouse=True)
def short_batches(monkeypatch):
    monkeypatch.setattr(jobs, "BATCH_LINES", 3)


def store(lines=10):
    data = "".join(json.dumps({"prompt": f"Prompt {n}"}) + "\n\n" for n in range(lines))
    return jobs.store(
        pool=make.pool(),
        kind=ImportKind.PROMPTS,
        file_name="prompts.jsonl",
        data=data.encode(),
        defaults={},
        by=None,
        now=timezone.now(),
    )


def run(job, *, now, take=prompts.take):
    jobs.run(job_id=job.id, take=take, clock=lambda: now)
    job.refresh_from_db()


def dying(batch_number, *, after_storing):
    """A taker whose process is killed in its n-th batch, before or after it stored the batch."""
    batches = iter(range(1, 1000))

    def take(job, batch, now):
        if next(batches) < batch_number:
            return prompts.take(job, batch, now)
        if after_storing:
            prompts.take(job, batch, now)
        raise Killed

    return take


def assert_complete(job, lines=10):
    assert (job.state, job.taken, job.refused) == (ImportState.DONE, lines, 0)
    assert [line.number for line in queries.import_lines(job)] == [2 * n + 1 for n in range(lines)]
    assert Prompt.objects.count() == lines
    assert ImportLine.objects.values("prompt").distinct().count() == lines


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("after_storing", [False, True])
@pytest.mark.parametrize("batch", [1, 2, 4])
def test_a_killed_worker_leaves_whole_batches_and_the_next_goes_on(batch, after_storing):
    job = store()
    with pytest.raises(Killed):
        run(job, now=NOW, take=dying(batch, after_storing=after_storing))
    job.refresh_from_db()
    assert (job.state, job.taken) == (ImportState.RUNNING, 3 * (batch - 1))
    assert Prompt.objects.count() == 3 * (batch - 1)
    run(job, now=LATER)
    assert_complete(job)


@pytest.mark.django_db(transaction=True)
def test_nobody_takes_a_job_whose_worker_is_alive():
    job = store()
    with pytest.raises(Killed):
        run(job, now=NOW, take=dying(2, after_storing=False))
    run(job, now=NOW + jobs.LEASE - timedelta(seconds=1))
    assert (job.state, job.taken) == (ImportState.RUNNING, 3)


@pytest.mark.django_db(transaction=True)
def test_every_batch_renews_the_lease():
    job = store()
    times = iter(NOW + n * timedelta(minutes=1) for n in range(100))
    with pytest.raises(Killed):
        jobs.run(job_id=job.id, take=dying(3, after_storing=False), clock=lambda: next(times))
    job.refresh_from_db()
    assert job.leased_until == NOW + timedelta(minutes=2) + jobs.LEASE


@pytest.mark.django_db(transaction=True)
def test_a_worker_that_slept_through_its_lease_stores_nothing_more():
    job = store()
    claimed = jobs.claim(job_id=job.id, now=NOW)
    slow = jobs.import_batches(claimed, take=prompts.take, clock=lambda: NOW)
    next(slow)
    run(job, now=LATER)
    assert_complete(job)
    assert list(slow) == []
    job.refresh_from_db()
    assert_complete(job)


@pytest.mark.django_db(transaction=True)
def test_while_the_database_is_away_a_job_does_not_fail():
    job = store()

    def take(job, batch, now):
        raise OperationalError("server closed the connection unexpectedly")

    with pytest.raises(OperationalError):
        run(job, now=NOW, take=take)
    run(job, now=LATER)
    assert_complete(job)


@pytest.mark.django_db(transaction=True)
def test_a_finished_job_does_nothing_again():
    job = store()
    run(job, now=NOW)
    run(job, now=LATER)
    assert_complete(job)
    assert job.finished_at == NOW


@pytest.mark.django_db(transaction=True)
def test_workers_woken_together_import_every_line_once():
    job, together = store(30), Barrier(4)

    def worker(_number):
        try:
            together.wait()
            jobs.run(job_id=job.id, take=prompts.take, clock=timezone.now)
        finally:
            connection.close()

    with ThreadPoolExecutor(4) as workers:
        list(workers.map(worker, range(4)))
    job.refresh_from_db()
    assert_complete(job, 30)


@pytest.mark.django_db(transaction=True)
def test_two_files_with_the_same_prompts_at_once_take_each_prompt_once():
    first = store(30)
    second = store(30)
    ImportJob.objects.filter(id=second.id).update(pool=first.pool)
    together = Barrier(2)

    def worker(job):
        try:
            together.wait()
            jobs.run(job_id=job.id, take=prompts.take, clock=timezone.now)
        finally:
            connection.close()

    with ThreadPoolExecutor(2) as workers:
        list(workers.map(worker, [first, second]))
    done = ImportJob.objects.all()
    assert {job.state for job in done} == {ImportState.DONE}
    assert sum(job.taken for job in done) == sum(job.refused for job in done) == 30
    assert Prompt.objects.count() == 30


def database_url():
    """Of the test database, for another process. The host may be the folder of a socket."""
    parts = {name: quote(str(value), safe="") for name, value in connection.settings_dict.items() if value}
    password = f":{parts['PASSWORD']}" if "PASSWORD" in parts else ""
    port = f":{parts['PORT']}" if "PORT" in parts else ""
    return f"postgresql://{parts['USER']}{password}@{parts['HOST']}{port}/{parts['NAME']}"


@pytest.mark.django_db(transaction=True)
def test_kill_9_in_the_middle_of_a_large_file_loses_and_doubles_nothing(tmp_path, monkeypatch):
    monkeypatch.undo()
    path = tmp_path / "prompts.jsonl"
    lines = 4000
    path.write_text("".join(json.dumps({"prompt": f"Prompt {n}"}) + "\n" for n in range(lines)))
    process = subprocess.Popen(
        [sys.executable, "manage.py", "import_prompts", "big", str(path), "--create"],
        cwd=settings.BASE_DIR,
        env=os.environ | {"DATABASE_URL": database_url()},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    deadline = time.monotonic() + 60
    while not ImportJob.objects.filter(lines_done__gt=0).exists():
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    job = ImportJob.objects.get()
    assert job.state == ImportState.RUNNING, "it was killed too late"
    assert Prompt.objects.count() == job.lines_done < lines
    run(job, now=timezone.now() + jobs.LEASE + timedelta(seconds=1))
    assert (job.state, job.taken, job.refused) == (ImportState.DONE, lines, 0)
    assert Prompt.objects.count() == ImportLine.objects.count() == lines
    assert actions.sweep_imports(now=timezone.now()) == 0
