"""The whole platform as bin/start brings it up, seen from outside: its address, its logins, its processes."""

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil
import psycopg2

from annotate.launch import embedded_postgres
from annotate.launch.bootstrap import ROOT
from annotate.launch.surroundings import make_demo_passwords
from tests.conftest import free_port
from tests.databases import migrated_cluster

# Set for the tests in this process; the platform under test makes its own.
OURS = ("DATABASE_URL", "SECRET_KEY", "SPLIT_KEY", "VAR_DIR", "DJANGO_SETTINGS_MODULE", "CELERY_BROKER_URL", "DEBUG")


@dataclass
class Platform:
    var: Path
    port: int
    process: "subprocess.Popen[str]"
    secrets: dict[str, str] = field(default_factory=dict)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def password(self, login: str) -> str:
        return self.secrets[f"DEMO_{login.upper()}_PASSWORD"]

    def rows(self, sql: str, *values: Any) -> list[tuple[Any, ...]]:
        """What the database holds, past all of our code."""
        connection = psycopg2.connect(embedded_postgres.address(self.var))
        try:
            with connection.cursor() as cursor:
                cursor.execute(sql, values)
                return cursor.fetchall()
        finally:
            connection.close()

    def value(self, sql: str, *values: Any) -> Any:
        return self.rows(sql, *values)[0][0]

    def manage(self, *command: str) -> str:
        """manage.py as a person at this machine would call it."""
        done = subprocess.run(
            [sys.executable, "manage.py", *command],
            cwd=ROOT,
            env=clean_environment() | {"VAR_DIR": str(self.var)},
            capture_output=True,
            text=True,
            timeout=180,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def processes(self, pattern: str) -> list[psutil.Process]:
        """Our processes whose command line matches."""
        found = []
        for process in psutil.process_iter():
            try:
                if process.environ().get("VAR_DIR") == str(self.var) and re.search(
                    pattern, " ".join(process.cmdline())
                ):
                    found.append(process)
            except psutil.Error:
                continue
        return found

    def kill(self, pattern: str) -> int:
        """kill -9, without warning. Returns how many processes."""
        victims = self.processes(pattern)
        for victim in victims:
            try:
                victim.send_signal(signal.SIGKILL)
            except psutil.NoSuchProcess:
                continue
        return len(victims)

    def log(self, name: str) -> str:
        path = self.var / "log" / f"{name}.log"
        return path.read_text(errors="replace") if path.exists() else ""


def clean_environment() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if name not in OURS}


def eventually(fact: Callable[[], Any], *, seconds: float = 60) -> Any:
    """Wait until the fact is truthy, and return it."""
    deadline = time.monotonic() + seconds
    while not (found := fact()):
        assert time.monotonic() < deadline, f"still not so after {seconds} s"
        time.sleep(0.1)
    return found


@contextmanager
def running(var: Path) -> Iterator[Platform]:
    """Bring the platform up on a free port with its own embedded PostgreSQL, and down again."""
    migrated_cluster(var)
    port = free_port()
    output = (var / "start.log").open("a+")
    passwords = make_demo_passwords()
    process = subprocess.Popen(
        [sys.executable, "-m", "annotate.launch.start", "--port", str(port)],
        cwd=ROOT,
        env=clean_environment() | passwords | {"VAR_DIR": str(var)},
        stdout=output,
        stderr=subprocess.STDOUT,
        text=True,
    )
    platform = Platform(var, port, process)

    def is_up() -> bool:
        said = (var / "start.log").read_text()
        assert process.poll() is None, said
        return "Ctrl-C stops everything" in said

    try:
        eventually(is_up, seconds=180)
        platform.secrets = passwords
        yield platform
    finally:
        process.terminate()
        try:
            process.wait(90)
        finally:
            process.kill()
            output.close()
