"""Real Celery workers in processes of their own, on the test's database and a broker of the test's."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from celery import Celery
from django.conf import settings

from tests.databases import database_url

COMMAND = ("-m", "celery", "-A", "annotate.celery", "worker", "-P", "solo", "--loglevel=INFO")
PATIENCE = 300


class Workers:
    """`broker`: an address as in CELERY_BROKER_URL; messages pass through the folder if none is given."""

    def __init__(self, folder: Path, *, queue: str = "sampling", broker: str = "filesystem://") -> None:
        self.folder, self.queue, self.broker = folder, queue, broker
        for name in ("broker", "broker-control"):
            (folder / name).mkdir()
        self.processes: list[subprocess.Popen[bytes]] = []

    def send(self, task: str, *ids: int) -> None:
        app = Celery("test", broker=self.broker, set_as_current=False)
        app.conf.update(task_routes=settings.CELERY_TASK_ROUTES, task_default_queue=settings.CELERY_TASK_DEFAULT_QUEUE)
        if self.broker == "filesystem://":
            box, control = str(self.folder / "broker"), str(self.folder / "broker-control")
            app.conf.broker_transport_options = {
                "data_folder_in": box,
                "data_folder_out": box,
                "control_folder": control,
            }
        app.send_task(task, args=ids)

    def start(self) -> "subprocess.Popen[bytes]":
        number = len(self.processes)
        environment = os.environ | {
            "DATABASE_URL": database_url(),
            "VAR_DIR": str(self.folder),
            "CELERY_BROKER_URL": self.broker,
            "DEBUG": "1",
            "OMP_NUM_THREADS": "1",
        }
        with (self.folder / f"worker{number}.log").open("wb") as log:
            process = subprocess.Popen(
                [sys.executable, *COMMAND, "-Q", self.queue, "-n", f"worker{number}@test"],
                cwd=settings.BASE_DIR,
                env=environment,
                stdout=log,
                stderr=subprocess.STDOUT,
            )
        self.processes.append(process)
        return process

    def wait_until(self, happened: Callable[[], object]) -> None:
        deadline = time.monotonic() + PATIENCE
        while not happened():
            assert time.monotonic() < deadline, self.logs()
            time.sleep(0.05)

    def logs(self) -> str:
        return "\n".join(log.read_text() for log in sorted(self.folder.glob("*.log")))

    def stop(self) -> None:
        for process in self.processes:
            if process.poll() is None:
                process.send_signal(signal.SIGKILL)
            process.wait(10)
