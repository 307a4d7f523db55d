"""The server under var/: one, whoever starts it, and refused with a sentence where it cannot be had."""

import os
import shutil
import signal
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import psycopg2
import pytest

from annotate.launch import embedded_postgres
from annotate.launch.embedded_postgres import Cluster, ensure_running, stop
from annotate.launch.postgres_binaries import WHEEL, Binaries, NoPostgres
from tests.launch.processes import alive, of_folder, wait_until


@pytest.fixture(scope="module")
def var(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """One server for the tests of this file, each of which finds it up or down. As root the folder above is closed."""
    folder = tmp_path_factory.mktemp("var")
    yield folder
    stop(folder)
    assert of_folder(folder) == []


def pid_of(var: Path) -> int:
    return int((var / "postgres/data/postmaster.pid").read_text().split()[0])


def ask(url: str, question: str) -> tuple[object, ...]:
    connection = psycopg2.connect(url)
    with connection, connection.cursor() as cursor:
        cursor.execute(question)
        row = cursor.fetchone()
    connection.close()
    assert row is not None
    return row


def test_the_first_call_makes_a_server_and_the_next_adopts_it(var: Path) -> None:
    url = ensure_running(var)
    first = pid_of(var)
    assert ensure_running(var) == url
    assert pid_of(var) == first


def test_nobody_else_gets_in(var: Path) -> None:
    url = ensure_running(var)
    assert ask(url, "SHOW listen_addresses") == ("",)
    assert ask(url, "SELECT rolsuper, rolcreatedb FROM pg_roles WHERE rolname = current_user") == (False, True)
    assert stat.S_IMODE((var / "postgres/password").stat().st_mode) == 0o600
    assert stat.S_IMODE(Cluster(var).socket_folder.stat().st_mode) == 0o700
    password = (var / "postgres/password").read_text().strip()
    with pytest.raises(psycopg2.OperationalError, match="password authentication failed"):
        psycopg2.connect(url.replace(password, "guessed"))
    with pytest.raises(psycopg2.OperationalError, match=r"no pg_hba\.conf entry"):
        psycopg2.connect(url.replace("//annotate:", "//postgres:"))


def test_letters_beyond_ascii_have_two_cases(var: Path) -> None:
    assert ask(ensure_running(var), "SELECT upper('é'), lower('Ж')") == ("É", "ж")


def test_four_starts_after_a_kill_bring_up_one_server_with_the_data(var: Path) -> None:
    url = ensure_running(var)
    ask(url, "CREATE TABLE kept AS SELECT 7 AS number; SELECT 1")
    os.kill(pid_of(var), signal.SIGKILL)
    program = f"from annotate.launch.embedded_postgres import *; print(ensure_running(Path({str(var)!r})))"
    starters = [subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True) for _ in range(4)]
    assert [starter.communicate(timeout=60)[0].strip() for starter in starters] == [url] * 4
    servers = [process for process in of_folder(var) if "-D" in process.cmdline()]
    assert [process.pid for process in servers] == [pid_of(var)]
    assert ask(url, "SELECT number FROM kept") == (7,)


def test_a_pid_that_now_belongs_to_another_program_keeps_nobody_out(var: Path) -> None:
    url = ensure_running(var)
    old = pid_of(var)
    os.kill(old, signal.SIGKILL)
    wait_until(lambda: not alive(old))
    record = var / "postgres/data/postmaster.pid"
    record.write_text(record.read_text().replace(str(old), str(os.getpid()), 1))
    assert ensure_running(var) == url
    assert pid_of(var) not in (old, os.getpid())


def test_stop_is_clean_and_may_be_repeated(var: Path) -> None:
    ensure_running(var)
    pid = pid_of(var)
    stop(var)
    stop(var)
    assert not alive(pid)
    assert "database system is shut down" in (var / "log/postgres.log").read_text()


def test_a_stop_during_the_recovery_from_a_crash_ends(tmp_path: Path) -> None:
    connection = psycopg2.connect(ensure_running(tmp_path))
    os.kill(connection.info.backend_pid, signal.SIGKILL)
    wait_until(lambda: "database system was interrupted" in (tmp_path / "log/postgres.log").read_text())
    stop(tmp_path)
    log = (tmp_path / "log/postgres.log").read_text()
    assert "received fast shutdown request" in log
    assert "immediate shutdown" not in log
    assert log.rstrip().endswith("database system is shut down")


def checkpointers(server: int) -> list[psutil.Process]:
    found = []
    for child in psutil.Process(server).children():
        try:
            found += [child] if any("checkpointer" in word for word in child.cmdline()) else []
        except psutil.Error:  # a connection's process has ended
            continue
    return found


def test_a_server_that_cannot_write_its_checkpoint_is_ended_and_keeps_what_was_committed(
    var: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ask(ensure_running(var), "CREATE TABLE finished (number int); INSERT INTO finished VALUES (7) RETURNING number")
    server = pid_of(var)
    wait_until(lambda: checkpointers(server))
    checkpointers(server)[0].suspend()
    monkeypatch.setitem(embedded_postgres.SECONDS_TO_STOP, "fast", 1)
    stop(var)
    wait_until(lambda: not alive(server))
    assert ask(ensure_running(var), "SELECT number FROM finished") == (7,)


CANARY = "Dear diary, my canary sings"
FAILING = [
    "INSERT INTO texts (body) VALUES (%(text)s)",  # is there already: the detail quotes the key
    "INSERT INTO texts (body, size) VALUES (%(text)s, -1)",  # the detail quotes the row
    "INSERT INTO texts (body, size) VALUES ('other', %(text)s)",  # the message quotes the word
    "SELECT %(text)s::json",
    "SELECT %(text)s::timestamptz",
    "SELECT nothing FROM texts WHERE body = %(text)s",
    "SELECT body FROM texts WHERE body = %(text)s syntax error",
    "SELECT to_tsquery(%(text)s || ' & ( ')",
    "DO $$ BEGIN RAISE WARNING 'Dear diary, my canary sings'; RAISE 'Dear diary, my canary sings'; END $$",
]


def test_no_text_of_a_person_reaches_the_log_also_with_a_folder_of_an_earlier_version(tmp_path: Path) -> None:
    ensure_running(tmp_path)
    stop(tmp_path)
    with (tmp_path / "postgres/data/postgresql.conf").open("a") as settings:
        settings.write("log_statement = 'all'\nlog_min_duration_statement = 0\nlog_error_verbosity = verbose\n")
    url = ensure_running(tmp_path)
    connection = psycopg2.connect(url)
    connection.autocommit = True
    with connection.cursor() as cursor:
        cursor.execute("CREATE TABLE texts (body text UNIQUE, size int CHECK (size > 0))")
        cursor.execute("INSERT INTO texts VALUES (%s, 1)", [CANARY])
        for statement in FAILING:
            with pytest.raises(psycopg2.Error):
                cursor.execute(statement, {"text": CANARY})
        cursor.execute("PREPARE later AS INSERT INTO texts VALUES ($1, $2)")
        with pytest.raises(psycopg2.Error):
            cursor.execute("EXECUTE later (%s, 1)", [CANARY])
        cursor.execute("SELECT pg_backend_pid()")
        (backend,) = cursor.fetchone() or (0,)
        # A crash names the statement that was running.
        killer = subprocess.Popen(["sh", "-c", f"sleep 1; kill -9 {backend}"])
        with pytest.raises(psycopg2.Error):
            cursor.execute("SELECT pg_sleep(30), %s", [CANARY])
    killer.wait()
    wait_until(lambda: "was terminated by signal 9" in (tmp_path / "log/postgres.log").read_text())
    stop(tmp_path)
    log = tmp_path / "log/postgres.log"
    assert "canary" not in log.read_text()
    assert "database system is shut down" in log.read_text()
    assert stat.S_IMODE(log.stat().st_mode) == 0o600
    assert stat.S_IMODE(log.parent.stat().st_mode) == 0o700


def test_a_half_made_folder_of_a_killed_first_start_is_made_anew(tmp_path: Path) -> None:
    (tmp_path / "postgres/data.new").mkdir(parents=True)
    (tmp_path / "postgres/data.new/PG_VERSION").write_text("18\n")
    assert ask(ensure_running(tmp_path), "SELECT 1") == (1,)
    stop(tmp_path)


def test_a_long_path_gets_a_short_socket_that_is_removed_again(tmp_path: Path) -> None:
    var = tmp_path / ("deep" * 30)
    ensure_running(var)
    folder = Cluster(var).socket_folder
    assert folder.exists()
    assert not folder.is_relative_to(var)
    stop(var)
    assert not folder.exists()


def test_below_a_folder_that_is_closed_to_others_it_runs_all_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Programs and data in root's own home: nothing there is opened, and what the server may is to pass."""
    newest = embedded_postgres.installed()[0]
    package = newest.folder.parents[1]
    shutil.copytree(newest.folder.parent, tmp_path / package.name / newest.folder.parent.name, symlinks=True)
    shutil.copytree(package.with_name(f"{WHEEL}.libs"), tmp_path / f"{WHEEL}.libs")
    programs = Binaries(tmp_path / newest.folder.relative_to(package.parent), newest.major)
    monkeypatch.setattr(embedded_postgres, "installed", lambda: [programs])
    tmp_path.chmod(0o700)
    assert ask(ensure_running(tmp_path / "var"), "SELECT 1") == (1,)
    assert psutil.Process(pid_of(tmp_path / "var")).uids().effective != 0
    stop(tmp_path / "var")
    assert stat.S_IMODE(tmp_path.stat().st_mode) == 0o700


def test_data_of_another_major_version_is_refused_and_left_alone(tmp_path: Path) -> None:
    data = tmp_path / "postgres/data"
    data.mkdir(parents=True)
    (data / "PG_VERSION").write_text("9\n")
    with pytest.raises(NoPostgres, match=r"written by PostgreSQL 9, but this machine has \d+\. Dump it"):
        ensure_running(tmp_path)
    assert [file.name for file in data.iterdir()] == ["PG_VERSION"]


def test_a_lost_password_is_told(tmp_path: Path) -> None:
    (tmp_path / "postgres/data").mkdir(parents=True)
    (tmp_path / "postgres/data/PG_VERSION").write_text(f"{embedded_postgres.installed()[0].major}\n")
    with pytest.raises(NoPostgres, match="password is missing"):
        ensure_running(tmp_path)


def test_a_full_disk_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tmp_path.chmod(0o755)
    for program in ("postgres", "initdb"):
        (tmp_path / program).write_text(
            '#!/bin/sh\n[ "$1" = --show ] && exit\necho "initdb: error: No space left on device" >&2\nexit 1\n'
        )
        (tmp_path / program).chmod(0o755)
    monkeypatch.setattr(embedded_postgres, "installed", lambda: [Binaries(tmp_path, 18)])
    with pytest.raises(NoPostgres, match="The disk is full"):
        ensure_running(tmp_path / "var")
    assert not (tmp_path / "var/postgres/data").exists()


def test_a_machine_without_postgresql_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(embedded_postgres, "installed", list)
    with pytest.raises(NoPostgres, match="set DATABASE_URL"):
        ensure_running(tmp_path)


@pytest.mark.parametrize(("gigabytes", "megabytes"), [(0, 128), (1, 128), (4, 256), (64, 512)])
def test_a_larger_machine_gives_it_more_memory(gigabytes: int, megabytes: int) -> None:
    assert embedded_postgres._shared_buffers(gigabytes * 2**30) == megabytes
