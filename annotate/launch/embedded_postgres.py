"""The embedded PostgreSQL server under var/, for when DATABASE_URL names no other.

The wheel's Python is never imported: as root it creates an account and opens the folders above the data. The server has
no TCP port and no superuser login; one role with a generated password uses a private socket.
"""

import fcntl
import os
import secrets
import shlex
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from types import FrameType
from urllib.parse import quote

import psycopg2

from annotate.launch.postgres_binaries import Account, Binaries, NoPostgres, account_for, installed
from annotate.launch.supervisor import shorten
from annotate.lib import private

NAME = "annotate"  # role and database
SECONDS_TO_START = 60
SECONDS_TO_RECOVER = 10
# A fast stop writes a checkpoint. On a slow disk that takes minutes after the first start, which creates 500 files. An
# immediate stop loses nothing either: the next start reads the log of changes.
SECONDS_TO_STOP = {"fast": 35, "immediate": 15}
# The kernel limits the path of a socket to about 104 bytes, and the server appends 14.
MAX_SOCKET_FOLDER_BYTES = 88
# The last processes of a killed server delay the start of a new one.
STILL_LEAVING = ("pre-existing shared memory block", "is another postmaster", "lock file")
DISK_FULL = "No space left on device"
# Errors quote people's texts, so they only go to the client. A terse log omits the running statement after a crash. As
# command-line options these override old data folders.
SILENT = {
    "logging_collector": "off",
    "log_min_messages": "log",
    "log_min_error_statement": "panic",
    "log_error_verbosity": "terse",
    "log_statement": "none",
    "log_duration": "off",
    "log_min_duration_statement": "-1",
    "log_min_duration_sample": "-1",
    "log_transaction_sample_rate": "0",
    "log_parameter_max_length": "0",
    "log_parameter_max_length_on_error": "0",
    "log_lock_waits": "off",
    "log_temp_files": "-1",
    "log_executor_stats": "off",
    "log_parser_stats": "off",
    "log_planner_stats": "off",
    "log_statement_stats": "off",
    "debug_print_parse": "off",
    "debug_print_rewritten": "off",
    "debug_print_plan": "off",
}
SETTINGS = """
# Written when this folder was created.
listen_addresses = ''
max_connections = 100
cluster_name = 'annotate'
"""
ACCESS = f"# TYPE DATABASE USER METHOD\nlocal all {NAME} scram-sha-256\n"


@dataclass(frozen=True)
class Cluster:
    var: Path

    @property
    def home(self) -> Path:
        return self.var / "postgres"

    @property
    def data(self) -> Path:
        return self.home / "data"

    @property
    def password_file(self) -> Path:
        return self.home / "password"

    @property
    def log(self) -> Path:
        return self.var / "log" / "postgres.log"

    @property
    def socket_folder(self) -> Path:
        beside = self.home / "socket"
        if len(os.fsencode(beside)) <= MAX_SOCKET_FOLDER_BYTES:
            return beside
        return Path("/tmp") / f"{NAME}-{os.geteuid()}-{sha256(os.fsencode(beside)).hexdigest()[:12]}"  # noqa: S108

    @property
    def url(self) -> str:
        password = self.password_file.read_text().strip()
        return f"postgresql://{NAME}:{password}@{quote(str(self.socket_folder), safe='')}/{NAME}"

    @property
    def owner(self) -> int | None:
        return self.data.stat().st_uid if self.data.exists() else None

    @contextmanager
    def locked(self) -> Iterator[None]:
        self.home.mkdir(parents=True, exist_ok=True)
        if os.geteuid() == 0:
            # The server's account must pass through.
            self.home.chmod(0o711)
        private.make_folder(self.log.parent)
        with (self.home / "lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield


def address(var: Path) -> str | None:
    """Return the DATABASE_URL of the server under `var`, None if it was never created."""
    cluster = Cluster(var.resolve())
    return cluster.url if cluster.password_file.exists() else None


def ensure_running(var: Path, *, durable: bool = True) -> str:
    """Returns DATABASE_URL once the server answers. Raises NoPostgres.

    Without `durable`, for tests, a power cut may lose committed rows.
    """
    cluster = Cluster(var.resolve())
    with cluster.locked():
        binaries, account = _means(cluster)
        if not cluster.data.exists():
            _create(cluster, binaries, account)
        if not cluster.password_file.exists():
            raise NoPostgres(
                f"{cluster.password_file} is missing. Restore it, or move {cluster.home} away to start afresh."
            )
        if not _answers(cluster.url):
            account.own(cluster.socket_folder)
            _start(cluster, binaries, account, durable=durable)
        return cluster.url


def stop(var: Path) -> None:
    cluster = Cluster(var.resolve())
    if not cluster.data.exists():
        return
    with cluster.locked():
        if _postmaster(cluster):
            binaries, account = _means(cluster)
            _wait_for_recovery(cluster, binaries, account)
            stop_server = (binaries["pg_ctl"], "stop", "-D", str(cluster.data), "-w")
            for mode, seconds in SECONDS_TO_STOP.items():
                if account.run(*stop_server, "-m", mode, "-t", str(seconds)).returncode == 0:
                    break
        if cluster.socket_folder.parent != cluster.home and cluster.socket_folder.exists():
            shutil.rmtree(cluster.socket_folder)


def _wait_for_recovery(cluster: Cluster, binaries: Binaries, account: Account) -> None:
    """PostgreSQL 18 never ends if a fast stop arrives while it recovers from the crash of a process."""
    answers = (binaries["pg_isready"], "-q", "-h", str(cluster.socket_folder), "-d", NAME)
    deadline = time.monotonic() + SECONDS_TO_RECOVER
    while account.run(*answers).returncode and time.monotonic() < deadline:
        time.sleep(0.1)


def _means(cluster: Cluster) -> tuple[Binaries, Account]:
    choices = installed()
    if not choices:
        raise NoPostgres("No PostgreSQL programs were found. Install the pinned requirements, or set DATABASE_URL.")
    account = account_for(choices[0], cluster.home, owner=cluster.owner)
    if not cluster.data.exists():
        return choices[0], account
    major = (cluster.data / "PG_VERSION").read_text().strip()
    for binaries in choices:
        if str(binaries.major) == major:
            return binaries, account
    raise NoPostgres(
        f"{cluster.data} was written by PostgreSQL {major}, but this machine has {choices[0].major}. Dump it with "
        f"PostgreSQL {major} and restore the dump, or move {cluster.home} away to start with an empty database."
    )


def _create(cluster: Cluster, binaries: Binaries, account: Account) -> None:
    """A kill leaves no half, because the complete folder is moved at the end."""
    fresh = cluster.home / "data.new"
    shutil.rmtree(fresh, ignore_errors=True)
    account.own(fresh)
    # Upper and lower case are the same on every machine. Before 17 only the system's library has a UTF-8 locale.
    locale = (
        ("--locale-provider=builtin", "--builtin-locale=C.UTF-8") if binaries.major >= 17 else ("--locale=C.UTF-8",)
    )
    made = account.run(
        *(binaries["initdb"], "-D", str(fresh), "-U", "postgres", "-E", "UTF8", *locale),
        *("--auth-local=reject", "--auth-host=reject"),
    )
    if made.returncode:
        raise _refusal(made.stderr)
    with (fresh / "postgresql.conf").open("a") as settings:
        settings.write(SETTINGS)
    (fresh / "pg_hba.conf").write_text(ACCESS)
    password = secrets.token_urlsafe(24)
    # Single-user mode needs no login, so the superuser has no password.
    made = account.run(
        *(binaries["postgres"], "--single", "-D", str(fresh), "-c", "exit_on_error=on", "postgres"),
        stdin=f"CREATE ROLE {NAME} LOGIN CREATEDB PASSWORD '{password}'\nCREATE DATABASE {NAME} OWNER {NAME}\n",
    )
    if made.returncode:
        raise _refusal(made.stderr)
    cluster.password_file.unlink(missing_ok=True)
    with os.fdopen(os.open(cluster.password_file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(password + "\n")
    fresh.rename(cluster.data)


def _memory() -> int:
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (OSError, ValueError):
        return 0


def _shared_buffers(memory: int) -> int:
    """Return megabytes. With 128, PostgreSQL's default, a campaign of a million tasks does not fit, and claims must
    write pages to disk.
    """
    return max(128, min(512, memory // 16 // 2**20))


def _start(cluster: Cluster, binaries: Binaries, account: Account, *, durable: bool) -> None:
    options = f"-k {shlex.quote(str(cluster.socket_folder))}"
    options += "".join(f" -c {name}={value}" for name, value in SILENT.items())
    if durable:
        options += f" -c shared_buffers={_shared_buffers(_memory())}MB"
    else:
        options += " -c fsync=off -c synchronous_commit=off -c full_page_writes=off"
    began = time.monotonic()
    while True:
        log_start = cluster.log.stat().st_size if cluster.log.exists() else 0
        if not _postmaster(cluster):
            _forget_reused_pid(cluster)
            account.start(
                *(
                    binaries["pg_ctl"],
                    "start",
                    "-D",
                    str(cluster.data),
                    "-o",
                    options,
                    "-w",
                    "-t",
                    str(SECONDS_TO_START),
                ),
                log=cluster.log,
            )
        if _answers(cluster.url):
            return
        with cluster.log.open("rb") as log:
            log.seek(log_start)
            output = log.read().decode(errors="replace")
        waiting = _postmaster(cluster) or any(words in output for words in STILL_LEAVING)
        if not waiting or time.monotonic() - began > SECONDS_TO_START:
            raise _refusal(output)
        time.sleep(0.2)


def _answers(url: str) -> bool:
    """Can a client connect? A process, a pid file and a socket do not prove it."""
    try:
        psycopg2.connect(url, connect_timeout=5).close()
    except psycopg2.OperationalError as error:
        if "password authentication failed" in str(error):
            raise NoPostgres(
                "The embedded PostgreSQL refuses the password in var/postgres/password. Restore the original file."
            ) from None
        return False
    return True


def _postmaster(cluster: Cluster) -> int | None:
    """Return the running server's pid. A recorded pid may belong to another program by now."""
    pid = _recorded_pid(cluster)
    return pid if pid and f" {cluster.data} " in _command_line(pid) + " " else None


def _recorded_pid(cluster: Cluster) -> int | None:
    try:
        return int((cluster.data / "postmaster.pid").read_text().split("\n", 1)[0])
    except (FileNotFoundError, ValueError):
        return None


def _command_line(pid: int) -> str:
    if Path("/proc/self/cmdline").exists():
        try:
            return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except (FileNotFoundError, ProcessLookupError):
            return ""
    shown = subprocess.run(["ps", "-o", "command=", "-p", str(pid)], capture_output=True, text=True, check=False)
    return shown.stdout.strip()


def _forget_reused_pid(cluster: Cluster) -> None:
    """PostgreSQL would refuse to start if another program uses the pid."""
    pid = _recorded_pid(cluster)
    if pid and _exists(pid):
        (cluster.data / "postmaster.pid").unlink()
        for left in cluster.socket_folder.glob(".s.PGSQL.*"):
            left.unlink()


def _exists(pid: int) -> bool:
    # Zombies count.
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _refusal(output: str) -> NoPostgres:
    if DISK_FULL in output:
        return NoPostgres("The disk is full, so PostgreSQL cannot start. Free some space and start again.")
    complaints = [line for line in output.splitlines() if "FATAL" in line or "error" in line.lower()]
    last = complaints[-1].strip() if complaints else "it gave no reason"
    return NoPostgres(f"The embedded PostgreSQL does not start ({last}). See var/log/postgres.log.")


def keep(var: Path, *, durable: bool) -> None:

    def leave(_number: int, _frame: FrameType | None) -> None:
        raise SystemExit

    signal.signal(signal.SIGTERM, leave)
    parent = os.getppid()
    cluster = Cluster(var.resolve())
    try:
        while os.getppid() == parent:
            if not _postmaster(cluster):
                ensure_running(var, durable=durable)
            shorten(cluster.log)
            time.sleep(0.5)
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        stop(var)


if __name__ == "__main__":
    keep(Path(sys.argv[1]), durable="--not-durable" not in sys.argv[2:])
