"""The tasks, in real Celery workers that are killed, stopped and doubled in the middle of a run."""

import signal
import subprocess
import sys
from datetime import timedelta

import pytest
from celery import Celery
from django.conf import settings
from django.utils import timezone

from annotate.celery import app
from annotate.samples import requests, runs
from annotate.samples import tasks as sample_tasks
from annotate.samples.models import Completion, SampleRequest
from annotate.samples.states import RequestState, RunState
from models_worker import runner, tasks
from tests import factories as make
from tests.models_worker.runs import check_completions, check_whole, pool_of, start, texts
from tests.models_worker.tiny import save_tiny
from tests.models_worker.workers import Workers

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    return save_tiny(tmp_path_factory.mktemp("tiny"))


@pytest.fixture
def workers(tmp_path):
    started = Workers(tmp_path)
    yield started
    started.stop()


def written(run):
    return Completion.objects.filter(run=run).count()


def ended(run):
    return not type(run).objects.filter(id=run.id, state=RunState.RUNNING).exists()


def test_a_worker_killed_in_the_middle_of_a_run_loses_and_doubles_nothing(tiny, workers):
    pool, policy = pool_of(64), make.policy(location=str(tiny))
    run = start(tiny, pool=pool, policy=policy, max_new_tokens=60)
    first = workers.start()
    workers.send("models_worker.sample_run", run.id)
    workers.wait_until(lambda: written(run) >= 70)
    first.send_signal(signal.SIGKILL)
    first.wait(10)
    stored = written(run)
    assert stored < 256
    assert run.requests.filter(state=RequestState.LEASED).exists()

    # Its leases would end by themselves within a minute; and the message may come again while they last.
    second = workers.start()
    workers.send("models_worker.sample_run", run.id)
    assert requests.free_expired(now=timezone.now() + timedelta(minutes=2)) > 0
    workers.send("models_worker.sample_run", run.id)
    workers.wait_until(lambda: ended(run))
    check_whole(run)

    # Redelivered once more, and after that a run that nothing disturbs: the same seeds, the same texts.
    workers.send("models_worker.sample_run", run.id)
    again = start(tiny, pool=pool, policy=policy, max_new_tokens=60)
    workers.send("models_worker.sample_run", again.id)
    workers.wait_until(lambda: ended(again))
    check_whole(run)
    check_whole(again)
    assert texts(again) == texts(run)
    assert second.poll() is None


def test_two_workers_share_a_run_until_one_is_stopped_and_then_the_run_is_cancelled(tiny, workers):
    run = start(tiny, 600, max_new_tokens=150)
    first, second = workers.start(), workers.start()
    for _ in range(2):
        workers.send("models_worker.sample_run", run.id)
    done = run.requests.filter(state=RequestState.DONE)
    workers.wait_until(lambda: done.values("worker").distinct().count() == 2)

    first.send_signal(signal.SIGTERM)
    assert first.wait(20) == 0
    assert f"run {run.id} are given back" in workers.logs()
    assert not ended(run)
    # What it held went straight to the other: nobody waits for a lease to end, and no attempt is counted.
    assert not run.requests.filter(state=RequestState.LEASED, worker__contains=f":{first.pid}:").exists()
    assert not run.requests.filter(attempts__gt=1).exists()

    finished = done.count()
    workers.wait_until(lambda: done.count() > finished)
    runs.cancel(run=run, now=timezone.now())
    workers.wait_until(lambda: "succeeded" in (workers.folder / "worker1.log").read_text())
    assert second.poll() is None
    check_completions(run)
    assert written(run) >= 4 * done.count()
    assert set(run.requests.values_list("state", flat=True)) == {RequestState.DONE, RequestState.CANCELLED}


def test_importing_the_tasks_leaves_torch_and_the_http_client_unloaded():
    code = (
        "import django; django.setup(); import models_worker.tasks, sys;"
        "assert not {'torch', 'transformers', 'httpx2'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], cwd=settings.BASE_DIR, check=True)


def test_the_sweep_goes_where_it_need_not_wait_behind_sampling():
    names = (tasks.sweep.name, tasks.sample_run.name, tasks.probe_server.name)
    queues = {name: app.amqp.router.route({}, name)["queue"].name for name in names}
    assert queues == {
        "models_worker.sweep": "default",
        "models_worker.sample_run": "sampling",
        "models_worker.probe_server": "sampling",
    }


@pytest.fixture(params=["memory", "filesystem", pytest.param("redis", marks=pytest.mark.broker)])
def broker(request, tmp_path, monkeypatch):
    """An application on a broker of its own, in place of the platform's."""
    url, options = f"{request.param}://", {}
    if request.param == "redis":
        url = request.getfixturevalue("redis_url")
    if request.param == "filesystem":
        options = {"data_folder_in": tmp_path, "data_folder_out": tmp_path, "control_folder": tmp_path / "control"}
    broker = Celery("test", broker=url, set_as_current=False)
    broker.conf.update(
        broker_transport_options={name: str(value) for name, value in options.items()},
        task_routes=settings.CELERY_TASK_ROUTES,
    )
    monkeypatch.setattr("annotate.lib.wake.app", broker)
    monkeypatch.setattr(runner, "app", broker)
    yield broker
    with broker.connection_for_write() as connection:
        broker.amqp.queues["sampling"](connection.default_channel).purge()


def waiting_messages(broker):
    with broker.connection_for_write() as connection:
        return broker.amqp.queues["sampling"](connection.default_channel).queue_declare(passive=True).message_count


def test_sweeps_leave_one_message_at_most_however_long_nobody_takes_it(tiny, broker):
    first, _second = start(tiny, 1), start(tiny, 1)
    with broker.connection_for_write() as connection:
        broker.amqp.router.route({}, sample_tasks.SAMPLE)["queue"](connection.default_channel).purge()
    for _ in range(3):
        tasks.sweep()
        assert waiting_messages(broker) == 1
    with broker.connection_for_write() as connection:
        message = broker.amqp.queues["sampling"](connection.default_channel).get(no_ack=True)
    assert message.payload[0] == [first.id]
    tasks.sweep()
    assert waiting_messages(broker) == 1


def test_a_sweep_of_nothing_sends_nothing(broker):
    SampleRequest.objects.update(state=RequestState.CANCELLED)
    tasks.sweep()
    assert not runner._announced()
