"""Render chat templates within limits of time, memory and length.

A template is a program from a checkpoint. Python cannot interrupt it, least of all inside one operation such as
"a" * 10**10. So another process renders it, and is killed at its limit or when the run is cancelled.
"""

import atexit
import json
import os
import select
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from pathlib import Path
from threading import Lock
from typing import IO, Any, Literal, cast

from models_worker.engine.types import never

# Limits for one prompt. Usual templates take milliseconds and write little more than the messages.
SECONDS = 10.0
MEMORY = 512 * 1024 * 1024
FREE_CHARACTERS, CHARACTERS_PER_CHARACTER = 1_000_000, 8
# Seconds between checks for cancellation.
LOOK = 0.1
SECONDS_TO_START = 120.0

# "transformers": with the extensions of transformers. "server": plain Jinja, needs no transformers.
Style = Literal["transformers", "server"]

# A line of template_process.py, as JSON values.
Answer = dict[str, Any]

# The environment of the process. Templates must not see the worker's passwords.
VARIABLES = ("PATH", "HOME", "LANG", "TZ", "TMPDIR", "VIRTUAL_ENV")
PREFIXES = ("LC_", "LD_", "DYLD_", "PYTHON")


class Refused(Exception):
    """The template raised. syntax: it is not valid Jinja."""

    def __init__(self, words: str, *, syntax: bool) -> None:
        super().__init__(words)
        self.syntax = syntax


class OverLimit(Exception):
    """The template exceeded a limit. `str()` completes the sentence "The template ..."."""


class Interrupted(Exception):
    """The run was cancelled, or the worker is stopping."""


class _Ended(Exception):
    """The process ended without an answer."""


@dataclass
class Allowance:
    """Seconds left for all renderings of one prompt."""

    seconds: float

    @classmethod
    def of_a_prompt(cls) -> "Allowance":
        return cls(SECONDS)


_cancelled: ContextVar[Callable[[], bool]] = ContextVar("cancelled", default=never)


@contextmanager
def interruptible(cancelled: Callable[[], bool]) -> Iterator[None]:
    """Inside, renderings of this thread raise Interrupted soon after `cancelled()`."""
    token = _cancelled.set(cancelled)
    try:
        yield
    finally:
        _cancelled.reset(token)


def go_on() -> None:
    """Raises Interrupted if the run is cancelled."""
    if _cancelled.get()():
        raise Interrupted


def render(
    source: str,
    messages: Sequence[Mapping[str, str]],
    *,
    style: Style,
    allowance: Allowance,
    values: Mapping[str, str] | None = None,
    answering: bool = True,
) -> str:
    """Thread-safe; subtracts its time from the allowance. Raises Refused, OverLimit or Interrupted.

    values: further variables of the template. answering: the text ends where the answer begins.
    """
    go_on()
    if allowance.seconds <= 0:
        raise OverLimit(_slow())
    most = FREE_CHARACTERS + CHARACTERS_PER_CHARACTER * sum(len(each["content"]) for each in messages)
    asked = {
        "style": style,
        "source": source,
        "messages": [dict(each) for each in messages],
        "values": dict(values or {}),
        "answering": answering,
        "most": most,
        "seconds": allowance.seconds,
    }
    answer = _process(style).ask(asked, allowance)
    if over := answer.get("over"):
        raise OverLimit(
            f"needs more than {MEMORY // 2**20} MB of memory"
            if over == "memory"
            else f"writes more than {most:,} characters"
        )
    if "refused" in answer:
        raise Refused(answer["refused"], syntax=answer["syntax"])
    return str(answer["text"])


def _slow() -> str:
    return f"takes more than {SECONDS:g} seconds"


class _Process:
    """Starts with the first template, and again after it was killed."""

    def __init__(self, style: Style) -> None:
        self._style = style
        self._lock = Lock()
        self._child: subprocess.Popen[bytes] | None = None
        self._owner = 0
        self._rest = b""

    def ask(self, asked: Mapping[str, object], allowance: Allowance) -> Answer:
        try:
            return self._ask(asked, allowance)
        except _Ended:
            # The kernel may have killed it when memory is short. If the template did, it kills the second one too.
            go_on()
        if allowance.seconds <= 0:
            raise OverLimit(_slow())
        try:
            return self._ask(asked, allowance)
        except _Ended:
            raise OverLimit("ends the process that renders it") from None

    def _ask(self, asked: Mapping[str, object], allowance: Allowance) -> Answer:
        while not self._lock.acquire(timeout=LOOK):
            go_on()
        try:
            try:
                child = self._running()
                began = time.monotonic()
                try:
                    answer = self._exchange(child, json.dumps(asked).encode() + b"\n", began + allowance.seconds)
                finally:
                    allowance.seconds -= time.monotonic() - began
            except BaseException:
                # The next prompt must not receive the rest of this answer.
                self.stop()
                raise
            if "over" in answer:
                self.stop()  # and with it the memory
            return answer
        finally:
            self._lock.release()

    def _running(self) -> "subprocess.Popen[bytes]":
        if self._child and self._owner == os.getpid() and self._child.poll() is None:
            return self._child
        self._child, self._owner, self._rest = _started(self._style), os.getpid(), b""
        try:
            if self._line(self._child, time.monotonic() + SECONDS_TO_START) != b"ready":
                raise OSError("The process that renders chat templates does not start; the worker's log says why.")
        except TimeoutError:
            raise OSError(f"The process that renders chat templates takes more than {SECONDS_TO_START:g} s.") from None
        return self._child

    def _exchange(self, child: "subprocess.Popen[bytes]", line: bytes, deadline: float) -> Answer:
        to_child = cast(IO[bytes], child.stdin)
        try:
            to_child.write(line)
            to_child.flush()
            said = self._line(child, deadline)
        except TimeoutError:
            raise OverLimit(_slow()) from None
        except BrokenPipeError:
            said = b""
        if not said:
            raise _Ended
        answer: Answer = json.loads(said)
        return answer

    def _line(self, child: "subprocess.Popen[bytes]", deadline: float) -> bytes:
        """Empty if the process has ended. Raises TimeoutError or Interrupted."""
        from_child = cast(IO[bytes], child.stdout)
        said = [self._rest]
        while b"\n" not in said[-1]:
            left = deadline - time.monotonic()
            if left <= 0:
                raise TimeoutError
            if not select.select([from_child], [], [], min(left, LOOK))[0]:
                go_on()
            elif read := os.read(from_child.fileno(), 1 << 20):
                said.append(read)
            else:
                return b""
        line, _newline, self._rest = b"".join(said).partition(b"\n")
        return line

    def stop(self) -> None:
        child, self._child = self._child, None
        if child and self._owner == os.getpid():
            child.kill()
            child.wait()
            for pipe in (child.stdin, child.stdout):
                try:
                    if pipe:
                        pipe.close()
                except BrokenPipeError:
                    pass


def _started(style: Style) -> "subprocess.Popen[bytes]":
    kept = {name: value for name, value in os.environ.items() if name in VARIABLES or name.startswith(PREFIXES)}
    script = Path(__file__).with_name("template_process.py")
    # -P: modules beside the script must not hide those of Python.
    return subprocess.Popen(
        [sys.executable, "-P", str(script), style, str(MEMORY)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env=kept | {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "TRANSFORMERS_VERBOSITY": "error"},
    )


_processes: dict[Style, _Process] = {"transformers": _Process("transformers"), "server": _Process("server")}


def _process(style: Style) -> _Process:
    return _processes[style]


@atexit.register
def stop() -> None:
    """They start again when needed."""
    for process in _processes.values():
        process.stop()
