"""The one parent: it starts again what dies and leaves nothing behind, even when it is killed itself."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from annotate.launch import supervisor as module
from annotate.launch.supervisor import Service, Supervisor
from tests.launch.processes import alive, wait_until

FOREVER = ("sleep", "600")


@pytest.fixture
def said() -> list[str]:
    return []


@pytest.fixture
def supervisor(tmp_path: Path, said: list[str]) -> Iterator[Supervisor]:
    started = Supervisor(tmp_path, said.append)
    yield started
    started.stop()


def children() -> list[int]:
    return [child.pid for child in psutil.Process().children() if alive(child.pid)]


def shell(name: str, script: str, **fields: object) -> Service:
    return Service(name, ("sh", "-c", script), **fields)  # type: ignore[arg-type]


def start(supervisor: Supervisor, service: Service) -> int:
    before = children()
    supervisor.start(service, os.environ)
    (pid,) = set(children()) - set(before)
    return pid


def test_a_killed_child_is_started_again(supervisor: Supervisor, said: list[str]) -> None:
    pid = start(supervisor, Service("web", FOREVER))
    others = set(children()) - {pid}
    os.kill(pid, signal.SIGKILL)

    def looked() -> set[int]:
        supervisor.look()
        return set(children()) - others - {pid}

    wait_until(looked)
    assert supervisor.deaths("web") == 1
    assert said[0].startswith("web was ended by SIGKILL and restarts in 0.5 s")


def test_a_child_that_dies_at_once_waits_longer_each_time(supervisor: Supervisor, said: list[str]) -> None:
    supervisor.start(shell("web", "exit 3"), os.environ)

    def looked() -> bool:
        supervisor.look()
        return supervisor.deaths("web") == 3

    wait_until(looked)
    assert [line.partition(";")[0] for line in said] == [
        "web ended with status 3 and restarts in 0.5 s",
        "web ended with status 3 and restarts in 1 s",
        "web ended with status 3 and restarts in 2 s",
    ]


def test_what_a_dead_child_left_running_is_ended_before_the_next(supervisor: Supervisor, tmp_path: Path) -> None:
    pid = start(supervisor, shell("web", f"sleep 600 & echo $! > {tmp_path}/grandchild; wait"))
    wait_until(lambda: (tmp_path / "grandchild").exists() and (tmp_path / "grandchild").read_text())
    os.kill(pid, signal.SIGKILL)
    wait_until(lambda: supervisor.look() or supervisor.deaths("web"))
    wait_until(lambda: not alive(int((tmp_path / "grandchild").read_text())))


def test_stop_ends_all_and_the_foundation_last(supervisor: Supervisor, tmp_path: Path) -> None:
    script = (
        f"trap 'sleep 0.1; echo %s >> {tmp_path}/order; exit' TERM; echo > {tmp_path}/%s; while :; do sleep 0.05; done"
    )
    pids = [
        start(supervisor, shell("database", script % ("database", "database"), foundation=True)),
        start(supervisor, shell("web", script % ("web", "web"))),
    ]
    wait_until(lambda: (tmp_path / "database").exists() and (tmp_path / "web").exists())
    supervisor.stop()
    assert not any(map(alive, pids))
    assert (tmp_path / "order").read_text().split() == ["web", "database"]


def test_a_child_that_will_not_go_is_killed(supervisor: Supervisor, said: list[str], tmp_path: Path) -> None:
    script = f"trap '' TERM; echo > {tmp_path}/ready; while :; do sleep 0.05; done"
    pid = start(supervisor, shell("web", script, seconds_to_stop=0.3))
    wait_until((tmp_path / "ready").exists)
    supervisor.stop()
    assert not alive(pid)
    assert said == ["web did not stop within 0.3 s and was killed"]


def test_errors_in_a_log_are_shown_and_the_rest_is_not(supervisor: Supervisor, said: list[str]) -> None:
    supervisor.start(shell("web", "echo INFO fine; echo 12:00 ERROR no such row; sleep 600"), os.environ)

    def looked() -> list[str]:
        supervisor.look()
        return said

    wait_until(looked)
    assert said == ["web: 12:00 ERROR no such row"]


def test_a_log_that_grows_is_moved_aside(
    supervisor: Supervisor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MAX_LOG_BYTES", 1000)
    supervisor.start(shell("web", "seq 500; sleep 600"), os.environ)
    wait_until(lambda: supervisor.look() or (tmp_path / "web.log.1").exists())
    assert (tmp_path / "web.log").stat().st_size == 0
    assert (tmp_path / "web.log.1").read_text().endswith("500\n")


SUPERVISE = """
import os, sys, time
from pathlib import Path
from annotate.launch.supervisor import Service, Supervisor
supervisor = Supervisor(Path(sys.argv[1]), print)
supervisor.start(Service("web", ("sh", "-c", "echo $$ > " + sys.argv[1] + "/pid; exec sleep 600")), os.environ)
while True:
    supervisor.look()
    time.sleep(0.1)
"""


def test_a_killed_supervisor_leaves_no_orphan(tmp_path: Path) -> None:
    parent = subprocess.Popen([sys.executable, "-c", SUPERVISE, str(tmp_path)])
    wait_until(lambda: (tmp_path / "pid").exists() and (tmp_path / "pid").read_text())
    child = int((tmp_path / "pid").read_text())
    assert alive(child)
    parent.kill()
    parent.wait()
    wait_until(lambda: not alive(child))


GUARDED = """
import os, subprocess, sys, time
guard = [sys.executable, "-m", "annotate.launch.supervisor", str(os.getpid()), "9"]
subprocess.Popen([*guard, "sh", "-c", "echo $$ > " + sys.argv[1] + "/pid; exec sleep 600"])
time.sleep(600)
"""


def test_where_the_kernel_does_not_help_a_guard_ends_the_orphan(tmp_path: Path) -> None:
    parent = subprocess.Popen([sys.executable, "-c", GUARDED, str(tmp_path)])
    wait_until(lambda: (tmp_path / "pid").exists() and (tmp_path / "pid").read_text())
    child = int((tmp_path / "pid").read_text())
    time.sleep(0.2)
    assert alive(child)
    parent.kill()
    parent.wait()
    wait_until(lambda: not alive(child))


def test_a_death_on_a_full_disk_is_explained(
    supervisor: Supervisor, said: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MIN_FREE_BYTES", 2**62)
    supervisor.start(shell("web", "exit 1"), os.environ)
    wait_until(lambda: supervisor.look() or supervisor.deaths("web"))
    assert said[-1].endswith("is full. Free some space.")
