"""Start processes, restart those that die, and stop them all.

A killed supervisor leaves no orphans: on Linux the kernel ends its children, elsewhere a guard watches each.
"""

import ctypes
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

from annotate.lib import private

MAX_PAUSE = 30.0
# The pause doubles for each death within this time of the start.
SETTLED_SECONDS = 20.0
MAX_LOG_BYTES = 10 * 1024 * 1024
MIN_FREE_BYTES = 1024 * 1024
TROUBLE = re.compile(rb"\b(ERROR|CRITICAL|FATAL)\b")
MAX_LINES_SHOWN = 5
PR_SET_PDEATHSIG = 1
LIBC = ctypes.CDLL(None, use_errno=True) if sys.platform == "linux" else None


@dataclass(frozen=True)
class Service:
    """`foundation`: the others depend on it, so it stops after them."""

    name: str
    command: tuple[str, ...]
    foundation: bool = False
    seconds_to_stop: float = 10.0
    orphaned_by: signal.Signals = signal.SIGKILL


@dataclass
class _Child:
    service: Service
    environment: Mapping[str, str]
    log: Path
    process: "subprocess.Popen[bytes]"
    started_at: float
    read_to: int
    pause: float = 0.0
    due_at: float | None = None
    deaths: int = 0


class Supervisor:
    """Not thread-safe: Linux ends children together with the thread that started them."""

    def __init__(self, logs: Path, say: Callable[[str], None]) -> None:
        private.make_folder(logs)
        self._logs = logs
        self._say = say
        self._children: dict[str, _Child] = {}

    def start(self, service: Service, environment: Mapping[str, str]) -> None:
        log = self._logs / f"{service.name}.log"
        shorten(log)
        read_to = log.stat().st_size if log.exists() else 0
        process = _spawn(service, environment, log)
        self._children[service.name] = _Child(service, environment, log, process, time.monotonic(), read_to)

    def deaths(self, name: str) -> int:
        return self._children[name].deaths

    def look(self) -> None:
        """Show errors, and restart dead processes after their pause."""
        for child in self._children.values():
            self._show_trouble(child)
            if child.due_at is None:
                if child.process.poll() is not None:
                    self._bury(child)
            elif time.monotonic() >= child.due_at:
                child.process = _spawn(child.service, child.environment, child.log)
                child.started_at, child.due_at = time.monotonic(), None

    def stop(self) -> None:
        for foundation in (False, True):
            leaving = [child for child in self._children.values() if child.service.foundation is foundation]
            for child in leaving:
                if child.process.poll() is None:
                    child.process.terminate()
            asked_at = time.monotonic()
            for child in leaving:
                try:
                    child.process.wait(max(0.0, asked_at + child.service.seconds_to_stop - time.monotonic()))
                except (subprocess.TimeoutExpired, KeyboardInterrupt):
                    self._say(
                        f"{child.service.name} did not stop within {child.service.seconds_to_stop:g} s and was killed"
                    )
                _kill_group(child.process)
        self._children.clear()

    def _bury(self, child: _Child) -> None:
        _kill_group(child.process)
        child.deaths += 1
        lived = time.monotonic() - child.started_at
        child.pause = 0.5 if lived > SETTLED_SECONDS else min(MAX_PAUSE, max(0.5, child.pause * 2))
        child.due_at = time.monotonic() + child.pause
        how = _in_words(child.process.returncode)
        self._say(f"{child.service.name} {how} and restarts in {child.pause:g} s; see {child.log}")
        if shutil.disk_usage(self._logs).free < MIN_FREE_BYTES:
            self._say(f"The disk with {self._logs} is full. Free some space.")

    def _show_trouble(self, child: _Child) -> None:
        with child.log.open("rb") as log:
            log.seek(child.read_to)
            new = log.read()
        whole = new.rfind(b"\n") + 1
        child.read_to += whole
        if child.read_to > MAX_LOG_BYTES:
            shorten(child.log)
            child.read_to = 0
        lines = [line for line in new[:whole].splitlines() if TROUBLE.search(line)]
        for line in lines[:MAX_LINES_SHOWN]:
            self._say(f"{child.service.name}: {line.decode(errors='replace')}")
        if len(lines) > MAX_LINES_SHOWN:
            self._say(f"{child.service.name}: {len(lines) - MAX_LINES_SHOWN} more lines in {child.log}")


def _spawn(service: Service, environment: Mapping[str, str], log: Path) -> "subprocess.Popen[bytes]":
    command = service.command
    if LIBC is None:
        command = (sys.executable, "-m", __name__, str(os.getpid()), str(int(service.orphaned_by)), *command)
    with private.append_to(log) as output:
        return subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            env=environment,
            umask=private.UMASK,
            start_new_session=True,  # Ctrl-C must only reach us
            preexec_fn=end_with_parent(service.orphaned_by),
        )


def shorten(log: Path) -> None:
    """Keep one older log. Others append to the log meanwhile."""
    if log.exists() and log.stat().st_size > MAX_LOG_BYTES:
        older = log.with_suffix(".log.1")
        older.unlink(missing_ok=True)
        private.append_to(older).close()
        shutil.copyfile(log, older)
        os.truncate(log, 0)


def end_with_parent(number: signal.Signals) -> Callable[[], None] | None:
    """A preexec_fn for Linux."""
    if LIBC is None:
        return None
    libc, parent = LIBC, os.getpid()

    def ask_kernel() -> None:
        libc.prctl(PR_SET_PDEATHSIG, int(number), 0, 0, 0)
        if os.getppid() != parent:
            os._exit(1)

    return ask_kernel


def _kill_group(process: "subprocess.Popen[bytes]") -> None:
    """Also kill the rest of its session, such as the workers of a killed gunicorn."""
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except (ProcessLookupError, PermissionError):  # only zombies are left, on macOS
        pass
    process.wait()


def _in_words(code: int) -> str:
    return f"was ended by {signal.Signals(-code).name}" if code < 0 else f"ended with status {code}"


def guard(parent: int, number: int, command: list[str]) -> int:
    child = subprocess.Popen(command)

    def forward(received: int, _frame: FrameType | None) -> None:
        child.send_signal(received)

    signal.signal(signal.SIGTERM, forward)
    while child.poll() is None:
        if os.getppid() != parent:
            child.send_signal(number)
        time.sleep(0.5)
    return abs(int(child.returncode))


if __name__ == "__main__":
    sys.exit(guard(int(sys.argv[1]), int(sys.argv[2]), sys.argv[3:]))
