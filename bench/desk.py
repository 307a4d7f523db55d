"""The running platform and the people who work on it, for the measuring programs of this folder.

bin/start runs the platform: gunicorn, the worker, beat and an embedded PostgreSQL with durable defaults. A labeler here
sends the same requests as a browser with the desk's pages: the same forms, keys, cookies and persistent connections.
Everything that needs Django is in bench/engine.py.
"""

import asyncio
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlencode
from uuid import uuid4

import psutil
import psycopg2

from annotate.launch import embedded_postgres, surroundings

ROOT = Path(__file__).resolve().parent.parent
# Variables that this terminal may have set for another platform.
OURS = ("DATABASE_URL", "SECRET_KEY", "SPLIT_KEY", "VAR_DIR", "DJANGO_SETTINGS_MODULE", "CELERY_BROKER_URL", "DEBUG")
SECONDS_TO_START = 180
# gunicorn closes a connection after 2 seconds without a request.
KEPT = 1.0
LONGEST_REQUEST = 60


class Broken(Exception):
    """A wrong answer of the platform, or none."""


class Refused(Exception):
    """The desk refused the request, for example because the lease is lost."""


@dataclass
class Platform:
    var: Path
    port: int
    process: "subprocess.Popen[bytes] | None" = None
    environment: dict[str, str] = field(default_factory=dict)

    @property
    def database_url(self) -> str:
        return embedded_postgres.address(self.var) or sys.exit(f"No database under {self.var}.")

    def rows(self, sql: str, values: Any = None) -> list[tuple[Any, ...]]:
        connection = psycopg2.connect(self.database_url)
        # VACUUM stands outside of a transaction.
        connection.autocommit = True
        try:
            with connection.cursor() as cursor:
                cursor.execute(sql, values)
                return list(cursor.fetchall()) if cursor.description else []
        finally:
            connection.close()

    def value(self, sql: str, values: Any = None) -> Any:
        return self.rows(sql, values)[0][0]

    def surroundings(self) -> dict[str, str]:
        """The environment of the platform's processes."""
        return surroundings.complete(clean_environment() | self.environment | {"VAR_DIR": str(self.var)})

    def processes(self, pattern: str) -> list[psutil.Process]:
        """The platform's processes whose command line matches, without the database's."""
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

    def database_processes(self) -> list[psutil.Process]:
        """The server and its child processes, found by parent because PostgreSQL overwrites its environment."""
        try:
            pid = int((self.var / "postgres" / "data" / "postmaster.pid").read_text().split("\n", 1)[0])
            server = psutil.Process(pid)
            return [server, *server.children()]
        except (OSError, ValueError, psutil.Error):
            return []

    def cpu(self) -> dict[str, float]:
        """Seconds of processor time so far, by part."""
        parts = {"web": self.processes("gunicorn"), "worker": self.processes("celery")}
        parts["database"] = self.database_processes()
        return {name: sum(map(_cpu_of, processes)) for name, processes in parts.items()}


def _cpu_of(process: psutil.Process) -> float:
    try:
        times = process.cpu_times()
        # A connection that was closed has left its time with the server.
        return float(times.user + times.system + times.children_user + times.children_system)
    except psutil.Error:
        return 0.0


def clean_environment() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if name not in OURS}


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def platform(**environment: str) -> Iterator[Platform]:
    """bin/start's platform in a temporary folder, without sampling and demonstration data."""
    folder = Path(tempfile.mkdtemp(prefix="annotate-bench-"))
    try:
        # Run by root, the database runs as another account and has to pass.
        folder.chmod(0o711)
        with _running(folder / "var", environment) as up:
            yield up
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def _running(var: Path, environment: dict[str, str]) -> Iterator[Platform]:
    var.mkdir()
    port, said = free_port(), var / "start.log"
    with said.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "annotate.launch.start", "--web-only", "--no-demo", "--port", str(port)],
            cwd=ROOT,
            env=clean_environment() | environment | {"VAR_DIR": str(var)},
            stdout=output,
            stderr=subprocess.STDOUT,
        )
    try:
        deadline = time.monotonic() + SECONDS_TO_START
        while "Ctrl-C stops everything" not in said.read_text():
            if process.poll() is not None or time.monotonic() > deadline:
                sys.exit(f"The platform does not come up:\n{said.read_text()}")
            time.sleep(0.1)
        yield Platform(var, port, process, environment)
    finally:
        process.terminate()
        try:
            process.wait(90)
        finally:
            process.kill()


class Engine:
    """bench/engine.py in another process: one command per line, one answer per line."""

    def __init__(self, platform: Platform) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "bench.engine"],
            cwd=ROOT,
            env=platform.surroundings() | {"LOG_LEVEL": "ERROR"},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def tell(self, command: str, **values: Any) -> None:
        assert self._process.stdin
        self._process.stdin.write(json.dumps({"do": command, **values}) + "\n")
        self._process.stdin.flush()

    def answer(self) -> Any:
        assert self._process.stdout
        line = self._process.stdout.readline()
        if not line:
            raise Broken("bench/engine.py ended; what it said stands above.")
        return json.loads(line)

    def ask(self, command: str, **values: Any) -> Any:
        self.tell(command, **values)
        return self.answer()

    def cpu(self) -> float:
        return _cpu_of(psutil.Process(self._process.pid))

    def close(self) -> None:
        assert self._process.stdin
        self._process.stdin.close()
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()


@contextmanager
def engine(platform: Platform) -> Iterator[Engine]:
    up = Engine(platform)
    try:
        yield up
    finally:
        up.close()


@dataclass(frozen=True)
class Account:
    """A person with a session, who has acknowledged the guideline."""

    id: int
    session: str


def make_people(inside: Engine, number: int) -> list[Account]:
    return [Account(person, session) for person, session in inside.ask("people", number=number)]


@dataclass(frozen=True)
class Page:
    status: int
    path: str
    body: bytes

    @property
    def ahead_path(self) -> str | None:
        """The address at which the page's script prefetches the next task."""
        found = re.search(rb'data-ahead-url="([^"]+)"', self.body)
        return found[1].decode() if found else None

    @property
    def task(self) -> int | None:
        """The id of the assignment whose form this page has, or None."""
        found = re.search(rb'action="/desk/tasks/(\d+)/submit/"', self.body)
        return int(found[1]) if found else None

    def field(self, name: bytes) -> str:
        found = re.search(rb'name="%s" value="([^"]+)"' % name, self.body)
        if not found:
            raise Broken(f"{self.path} has no field {name.decode()}")
        return found[1].decode()


class Browser:
    """One person's cookies and one persistent connection."""

    def __init__(self, port: int, session: str) -> None:
        self._port = port
        # Django accepts any token of the right length that is in form and cookie.
        self.token = (uuid4().hex + uuid4().hex)[:32]
        self._cookies = {"sessionid": session, "csrftoken": self.token}
        self._wire: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None
        self._used_at = 0.0

    async def get(self, path: str) -> Page:
        return await self._request("GET", path, b"", "")

    async def post(self, path: str, fields: dict[str, str]) -> Page:
        return await self._request("POST", path, urlencode(fields).encode(), "application/x-www-form-urlencoded")

    async def send(self, path: str, body: Any) -> Page:
        """A request as the page's scripts send it."""
        return await self._request("POST", path, json.dumps(body).encode(), "application/json")

    async def _request(self, method: str, path: str, body: bytes, kind: str) -> Page:
        head = (
            f"{method} {path} HTTP/1.1\r\nHost: 127.0.0.1:{self._port}\r\nAccept: text/html\r\n"
            f"Cookie: {'; '.join(f'{name}={value}' for name, value in self._cookies.items())}\r\n"
        )
        if method == "POST":
            head += f"X-CSRFToken: {self.token}\r\nContent-Type: {kind}\r\nContent-Length: {len(body)}\r\n"
        try:
            async with asyncio.timeout(LONGEST_REQUEST):
                reader, writer = await self._connection()
                writer.write(head.encode() + b"\r\n" + body)
                return await self._read(reader)
        except (OSError, asyncio.IncompleteReadError, TimeoutError, ValueError, IndexError) as lost:
            self.close()
            raise Broken(f"{method} {path}: {lost!r}") from lost

    async def _connection(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        if self._wire and (time.monotonic() - self._used_at > KEPT or self._wire[0].at_eof()):
            self.close()
        if not self._wire:
            self._wire = await asyncio.open_connection("127.0.0.1", self._port)
        return self._wire

    async def _read(self, reader: asyncio.StreamReader) -> Page:
        head = await reader.readuntil(b"\r\n\r\n")
        lines = head.decode("latin-1").split("\r\n")
        status, length, location, kept = int(lines[0].split(" ", 2)[1]), 0, "", True
        for line in lines[1:]:
            name, _, value = line.partition(": ")
            match name.lower():
                case "content-length":
                    length = int(value)
                case "location":
                    location = value
                case "connection":
                    kept = value != "close"
                case "set-cookie":
                    self._keep_cookie(value)
        body = await reader.readexactly(length) if length else b""
        self._used_at = time.monotonic()
        if not kept:
            self.close()
        return Page(status, location, body)

    def _keep_cookie(self, value: str) -> None:
        name, _, rest = value.partition("=")
        text = rest.partition(";")[0]
        if text in ("", '""'):
            self._cookies.pop(name, None)
        else:
            self._cookies[name] = text
        if name == "csrftoken":
            self.token = text

    def close(self) -> None:
        if self._wire:
            self._wire[1].close()
            self._wire = None


@dataclass
class Labeler:
    """Takes tasks of one campaign and submits answers, as a person with a browser does."""

    port: int
    account: Account
    campaign: int
    # Texts whose submit the platform has confirmed.
    acknowledged: list[str] = field(default_factory=list)
    page: Page | None = None
    # The prefetched page of the next task, and whether the shown page was prefetched.
    ahead: dict[str, Page] = field(default_factory=dict)
    was_ahead: bool = False

    def __post_init__(self) -> None:
        self.browser = Browser(self.port, self.account.session)

    @property
    def holds(self) -> bool:
        return self.page is not None

    async def ask(self) -> bool:
        """Press Start. Returns whether there is a task; `follow` loads its page."""
        answer = await self.browser.post(
            f"/desk/campaigns/{self.campaign}/next/", {"csrfmiddlewaretoken": self.browser.token}
        )
        return self._led_to_a_task(answer)

    async def follow(self) -> None:
        """Load the page to which the last answer led, unless it was prefetched."""
        self.was_ahead = self._next in self.ahead
        page = self.ahead.pop(self._next, None) or await self.browser.get(self._next)
        if page.status == 200 and page.task:
            self.page = page
        elif page.status >= 400:
            raise Broken(f"{self._next} answered {page.status}")
        # Else the task is not theirs any more, and the page leads elsewhere.

    async def look_ahead(self) -> bool:
        """Prefetch the next task, as the page's script does when somebody types. False if there is none."""
        path = self.page and self.page.ahead_path
        if not path:
            return False
        answer = await self.browser.send(path, {})
        if answer.status != 200:
            raise Broken(f"{path} answered {answer.status}")
        at = json.loads(answer.body)["page"]
        if at is None:
            return False
        page = await self.browser.get(f"{at}?ahead")
        if page.status != 200:
            raise Broken(f"{at} answered {page.status}")
        self.ahead = {at: page}
        return True

    async def claim(self) -> bool:
        if await self.ask():
            await self.follow()
        return self.holds

    def form(self, text: str, *, stop: bool = False) -> "Form":
        """The completed form. Its key makes a second submit harmless."""
        assert self.page
        fields = {
            "csrfmiddlewaretoken": self.page.field(b"csrfmiddlewaretoken"),
            "submit_key": self.page.field(b"submit_key"),
            "text": text,
        }
        return Form(f"/desk/tasks/{self.page.task}/submit/", fields | ({"then": "stop"} if stop else {}))

    async def submit(self, form: "Form") -> bool:
        """Press Submit. Returns whether the answer leads to a next task. Raises Refused or Broken."""
        answer = await self.browser.post(form.path, form.fields)
        if answer.status in (409, 422):
            self.page = None
            raise Refused(f"{form.path} answered {answer.status}")
        more = self._led_to_a_task(answer)
        self.acknowledged.append(form.fields["text"])
        self.page = None
        return more

    async def save_draft(self, text: str) -> None:
        assert self.page
        answer = await self.browser.send(f"/desk/tasks/{self.page.task}/draft/", {"body": {"text": text}})
        if answer.status != 200:
            raise Broken(f"saving a draft answered {answer.status}")

    async def renew(self) -> None:
        assert self.page
        answer = await self.browser.send(f"/desk/tasks/{self.page.task}/renew/", {})
        if answer.status != 200:
            raise Broken(f"a heartbeat answered {answer.status}")

    def _led_to_a_task(self, answer: Page) -> bool:
        if answer.status != 302 or not answer.path.startswith("/desk/"):
            raise Broken(f"answered {answer.status} {answer.path}")
        self._next = answer.path
        return answer.path.startswith("/desk/tasks/")


@dataclass(frozen=True)
class Form:
    path: str
    fields: dict[str, str]


def answer_text() -> str:
    """A unique text, about as long as a short answer."""
    return f"{uuid4()}:" + " because the parts that make it up pull at each other, and so it holds together." * 4


@dataclass(frozen=True)
class Standing:
    """What the tables contain at the end, by plain SQL."""

    acknowledged: int
    found: int
    doubled: int
    over_assigned: int

    @property
    def sound(self) -> bool:
        return self.found == self.acknowledged and not self.doubled and not self.over_assigned


def stand(platform: Platform, campaign: int, labelers: list[Labeler]) -> Standing:
    """Check that every confirmed text is stored once, and that no task or labeler has too many answers."""
    texts = {text: labeler.account.id for labeler in labelers for text in labeler.acknowledged}
    stored = platform.rows(
        "SELECT d.text, a.labeler_id FROM demonstrations_demonstration d JOIN work_assignment a"
        " ON a.id = d.assignment_id WHERE a.campaign_id = %s AND a.state IN ('submitted', 'accepted')",
        (campaign,),
    )
    found = [text for text, writer in stored if texts.get(text) == writer]
    twice = platform.value(
        "SELECT count(*) FROM (SELECT 1 FROM work_assignment WHERE campaign_id = %s AND labeler_id IS NOT NULL"
        " GROUP BY task_id, labeler_id HAVING count(*) > 1) pairs",
        (campaign,),
    )
    over = platform.value(
        "SELECT count(*) FROM (SELECT 1 FROM work_assignment a JOIN work_campaign c ON c.id = a.campaign_id"
        " WHERE a.campaign_id = %s AND a.labeler_id IS NOT NULL AND a.state <> 'cancelled'"
        " GROUP BY a.task_id, c.overlap HAVING count(*) > c.overlap) tasks",
        (campaign,),
    )
    repeated = len(stored) - len({text for text, _ in stored})
    return Standing(
        acknowledged=len(texts), found=len(set(found)), doubled=repeated + int(twice), over_assigned=int(over)
    )


def percentile(seconds: list[float], percent: float) -> float | None:
    """In milliseconds, by the nearest rank; None for no values."""
    if not seconds:
        return None
    ordered = sorted(seconds)
    return round(1000 * ordered[min(len(ordered) - 1, int(len(ordered) * percent / 100))], 1)


def eventually(fact: Callable[[], Any], *, seconds: float, pause: float = 0.1) -> Any:
    """Wait until the fact is truthy and return it; None after the time limit."""
    deadline = time.monotonic() + seconds
    while not (found := fact()) and time.monotonic() < deadline:
        time.sleep(pause)
    return found or None


def kill(process: psutil.Process) -> None:
    """kill -9, without warning."""
    try:
        process.send_signal(signal.SIGKILL)
    except psutil.NoSuchProcess:
        pass
