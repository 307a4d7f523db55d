"""Messages are sent after the commit, and a broker that is down is no reason to refuse anything."""

import time

import pytest
from celery import Celery
from django.db import transaction

from annotate.lib.wake import wake
from tests.conftest import free_port


@pytest.fixture
def on_broker(monkeypatch):
    def use(url, **options):
        app = Celery("test", broker=url, set_as_current=False)
        app.conf.broker_transport_options = options
        monkeypatch.setattr("annotate.lib.wake.app", app)
        return app

    return use


def taken(app):
    with app.connection_for_write() as connection:
        return app.amqp.queues["celery"](connection.default_channel).get(no_ack=True)


@pytest.mark.django_db(transaction=True)
def test_a_message_is_sent_when_its_rows_can_be_seen(on_broker, tmp_path):
    box = str(tmp_path)
    app = on_broker("filesystem://", data_folder_in=box, data_folder_out=box, control_folder=str(tmp_path / "control"))
    with transaction.atomic():
        wake("work.sweep", 1, 2)
        assert taken(app) is None
    message = taken(app)
    assert (message.headers["task"], message.payload[0]) == ("work.sweep", [1, 2])
    with transaction.atomic():
        wake("work.sweep", 3)
        transaction.set_rollback(True)
    assert taken(app) is None


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("scheme", ["redis", "amqp", "filesystem"])
def test_a_broker_that_is_down_is_noted_and_soon_given_up(on_broker, scheme, caplog, tmp_path):
    if scheme == "filesystem":
        missing = str(tmp_path / "missing")
        on_broker("filesystem://", data_folder_in=missing, data_folder_out=missing, control_folder=missing)
    else:
        on_broker(f"{scheme}://127.0.0.1:{free_port()}/0", connect_retries_timeout=1)
    began = time.monotonic()
    wake("models_worker.sample_run", 7)
    assert time.monotonic() - began < 4
    assert "models_worker.sample_run(7,) was not sent, but a sweep will find it" in caplog.text
