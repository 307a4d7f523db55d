"""Watching processes that a test has started, by what their command line or environment says."""

import time
from collections.abc import Callable
from pathlib import Path

import psutil


def wait_until(fact: Callable[[], object], *, seconds: float = 15) -> None:
    deadline = time.monotonic() + seconds
    while not fact():
        assert time.monotonic() < deadline, f"still not so after {seconds} s"
        time.sleep(0.05)


def alive(pid: int) -> bool:
    """Zombies are dead; who should have waited for them is not the question here."""
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def of_folder(var: Path) -> list[psutil.Process]:
    """Every living process that was started for this var folder."""
    found = []
    for process in psutil.process_iter():
        try:
            ours = process.environ().get("VAR_DIR") == str(var) or any(str(var) in word for word in process.cmdline())
        except psutil.Error:
            continue
        if ours and alive(process.pid):
            found.append(process)
    return found
