"""One parent for the processes of a machine: starts them, starts again what dies, and leaves nothing behind.

Even a supervisor that is killed leaves no orphan: on Linux the kernel ends its children, elsewhere each child has a
guard that watches for a new parent.
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

LONGEST_PAUSE = 30.0
# A child that lived this long starts anew at once when it dies; one that did not waits twice as long each time.
SETTLED_SECONDS = 20.0
LARGEST_LOG = 10 * 1024 * 1024
LEAST_FREE_BYTES = 1024 * 1024
TROUBLE = re.compile(rb"\b(ERROR|CRITICAL|FATAL)\b")
LINES_AT_ONCE = 5
PR_SET_PDEATHSIG = 1
LIBC = ctypes.CDLL(None, use_errno=True) if sys.platform == "linux" else None


@dataclass(frozen=True)
class Service:
    """One process to keep running. `foundation`: the others stand on it, so it is stopped after them."""

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
    """Not thread-safe: children belong to the thread that starts them, and Linux ends them with that thread."""

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
        """How often this service has ended by itself."""
        return self._children[name].deaths

    def look(self) -> None:
        """One round: show what went wrong, start again what has died and waited its pause."""
        for child in self._children.values():
            self._show_trouble(child)
            if child.due_at is None:
                if child.process.poll() is not None:
                    self._bury(child)
            elif time.monotonic() >= child.due_at:
                child.process = _spawn(child.service, child.environment, child.log)
                child.started_at, child.due_at = time.monotonic(), None

    def stop(self) -> None:
        """TERM to all, and KILL to what does not go; foundations when nothing stands on them any more."""
        for foundation in (False, True):
            leaving = [child for child in self._children.values() if child.service.foundation is foundation]
            for child in leaving:
                if child.process.poll() is None:
                    child.process.terminate()
            told_at = time.monotonic()
            for child in leaving:
                try:
                    child.process.wait(max(0.0, told_at + child.service.seconds_to_stop - time.monotonic()))
                except (subprocess.TimeoutExpired, KeyboardInterrupt):
                    self._say(
                        f"{child.service.name} does not stop within {child.service.seconds_to_stop:g} s and is killed"
                    )
                _kill_group(child.process)
        self._children.clear()

    def _bury(self, child: _Child) -> None:
        _kill_group(child.process)
        child.deaths += 1
        lived = time.monotonic() - child.started_at
        child.pause = 0.5 if lived > SETTLED_SECONDS else min(LONGEST_PAUSE, max(0.5, child.pause * 2))
        child.due_at = time.monotonic() + child.pause
        how = _in_words(child.process.returncode)
        self._say(f"{child.service.name} {how} and starts again in {child.pause:g} s; {child.log} says more")
        if shutil.disk_usage(self._logs).free < LEAST_FREE_BYTES:
            self._say(f"The disk that holds {self._logs} is full: free some space")

    def _show_trouble(self, child: _Child) -> None:
        with child.log.open("rb") as log:
            log.seek(child.read_to)
            said = log.read()
        whole = said.rfind(b"\n") + 1
        child.read_to += whole
        if child.read_to > LARGEST_LOG:
            shorten(child.log)
            child.read_to = 0
        lines = [line for line in said[:whole].splitlines() if TROUBLE.search(line)]
        for line in lines[:LINES_AT_ONCE]:
            self._say(f"{child.service.name}: {line.decode(errors='replace')}")
        if len(lines) > LINES_AT_ONCE:
            self._say(f"{child.service.name}: and {len(lines) - LINES_AT_ONCE} more; {child.log} has them all")


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
            start_new_session=True,  # a Ctrl-C at the terminal is for us; we tell them in order
            preexec_fn=end_with_parent(service.orphaned_by),
        )


def shorten(log: Path) -> None:
    """Move a log that has grown large aside, while others append to it; one older log is kept."""
    if log.exists() and log.stat().st_size > LARGEST_LOG:
        older = log.with_suffix(".log.1")
        older.unlink(missing_ok=True)
        private.append_to(older).close()
        shutil.copyfile(log, older)
        os.truncate(log, 0)


def end_with_parent(number: signal.Signals) -> Callable[[], None] | None:
    """For Popen's preexec_fn: the kernel sends this signal when the parent is gone. None where no kernel does that."""
    if LIBC is None:
        return None
    libc, parent = LIBC, os.getpid()

    def ask_kernel() -> None:
        libc.prctl(PR_SET_PDEATHSIG, int(number), 0, 0, 0)
        if os.getppid() != parent:  # it died before we asked
            os._exit(1)

    return ask_kernel


def _kill_group(process: "subprocess.Popen[bytes]") -> None:
    """Ends the child and what it left in its session, such as the workers of a killed gunicorn."""
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except (ProcessLookupError, PermissionError):  # PermissionError: macOS, where only zombies are left
        pass
    process.wait()


def _in_words(code: int) -> str:
    return f"was ended by {signal.Signals(-code).name}" if code < 0 else f"ended with status {code}"


def guard(parent: int, number: int, command: list[str]) -> int:
    """Run the command; when our parent is another one than at the start, send it the signal."""
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
