"""A real Redis and real workers: whatever the broker forgets and whoever is killed, the rows say what is left to do."""

import json
import signal
from collections.abc import Iterator

import pytest
import redis
from django.conf import settings
from django.utils import timezone

from annotate.pools.importers import jobs
from annotate.pools.models import ImportJob, ImportKind, ImportLine, ImportState, Prompt
from tests import factories as make
from tests.models_worker.workers import Workers

pytestmark = [pytest.mark.broker, pytest.mark.django_db(transaction=True)]
LINES = 6000


@pytest.fixture
def server(redis_url) -> redis.Redis:
    server = redis.Redis.from_url(redis_url)
    server.flushall()
    return server


@pytest.fixture
def workers(tmp_path, server, redis_url) -> Iterator[Workers]:
    started = Workers(tmp_path, queue=settings.CELERY_TASK_DEFAULT_QUEUE, broker=redis_url)
    yield started
    started.stop()


@pytest.fixture
def job() -> ImportJob:
    """A file that waits; nobody has been told."""
    data = "".join(json.dumps({"prompt": f"Prompt {number}"}) + "\n" for number in range(LINES))
    return jobs.store(
        pool=make.pool(),
        kind=ImportKind.PROMPTS,
        file_name="prompts.jsonl",
        data=data.encode(),
        defaults={},
        by=None,
        now=timezone.now(),
    )


def lines_done(job: ImportJob) -> int:
    job.refresh_from_db()
    return job.lines_done


def ended(job: ImportJob) -> bool:
    job.refresh_from_db()
    return job.finished_at is not None


def its_lease_ends(job: ImportJob) -> None:
    assert ImportJob.objects.filter(id=job.id, state=ImportState.RUNNING).update(leased_until=timezone.now())


def check_whole(job: ImportJob) -> None:
    """Each line exactly once."""
    job.refresh_from_db()
    assert (job.state, job.lines_done, job.taken, job.refused) == (ImportState.DONE, LINES, LINES, 0)
    assert list(ImportLine.objects.order_by("number").values_list("number", flat=True)) == list(range(1, LINES + 1))
    assert Prompt.objects.count() == ImportLine.objects.values("prompt").distinct().count() == LINES


def test_an_import_runs_to_its_end_and_a_repeated_message_does_nothing(workers, job):
    workers.start()
    workers.send(jobs.TASKS[ImportKind.PROMPTS], job.id)
    workers.wait_until(lambda: ended(job))
    check_whole(job)
    workers.send(jobs.TASKS[ImportKind.PROMPTS], job.id)
    workers.wait_until(lambda: workers.logs().count("succeeded") == 2)
    check_whole(job)


@pytest.mark.parametrize("forgetful", [False, True], ids=["redis keeps its messages", "redis loses its messages"])
def test_a_worker_killed_in_the_middle_of_an_import_loses_and_doubles_nothing(workers, server, job, forgetful):
    first = workers.start()
    workers.send(jobs.TASKS[ImportKind.PROMPTS], job.id)
    workers.wait_until(lambda: lines_done(job) >= 3 * jobs.BATCH_LINES)
    first.send_signal(signal.SIGKILL)
    first.wait(10)
    assert lines_done(job) == ImportLine.objects.count() < LINES, "it was killed too late"
    assert server.hlen("unacked") == 1
    if forgetful:
        server.flushall()

    workers.start()
    its_lease_ends(job)
    workers.send("pools.sweep")
    workers.wait_until(lambda: ended(job))
    check_whole(job)


def test_an_import_that_nobody_announced_is_found_by_the_sweep(workers, server, job):
    workers.send(jobs.TASKS[ImportKind.PROMPTS], job.id)
    assert server.llen(settings.CELERY_TASK_DEFAULT_QUEUE) == 1
    server.flushall()
    workers.start()
    workers.wait_until(lambda: "ready." in workers.logs())
    assert (lines_done(job), job.state) == (0, ImportState.WAITING)

    workers.send("pools.sweep")
    workers.wait_until(lambda: ended(job))
    check_whole(job)


def test_a_sweep_that_comes_twice_makes_no_work_twice(workers, job):
    """Beat goes on announcing what waits, however long the first announcement takes."""
    for _ in range(3):
        workers.send("pools.sweep")
    workers.start()
    workers.start()
    workers.wait_until(lambda: ended(job))
    # Each sweep has announced the job, and every announcement has been answered.
    workers.wait_until(lambda: workers.logs().count("succeeded") >= 4)
    check_whole(job)
