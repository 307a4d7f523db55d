"""bin/start on this machine: up, down, killed, and refused with one sentence."""

import http.client
import os
import re
import signal
import socket
import stat
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from annotate.launch import surroundings
from annotate.launch.bootstrap import (
    DISK_FULL,
    PYTHON,
    ROOT,
    Refused,
    in_one_sentence,
    is_for_this_machine,
    only_one,
    read_variables,
    step,
)
from annotate.launch.start import services
from tests.conftest import free_port
from tests.databases import migrated_cluster
from tests.launch.processes import of_folder, wait_until


def command(var: Path, *arguments: str, umask: int = -1, **variables: str) -> "subprocess.Popen[str]":
    """bin/start as a person runs it: nothing of the test's own database and keys is set."""
    ours = {"DATABASE_URL", "SECRET_KEY", "SPLIT_KEY", "DEBUG", "CELERY_BROKER_URL", "DJANGO_SETTINGS_MODULE"}
    environment = {name: value for name, value in os.environ.items() if name not in ours}
    environment |= {"VAR_DIR": str(var), **variables}
    return subprocess.Popen(
        [ROOT / "bin/start", *arguments],
        env=environment,
        cwd="/",
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        preexec_fn=listen_to_ctrl_c,
        umask=umask,
    )


def listen_to_ctrl_c() -> None:
    """A shell that runs us in the background makes us deaf to it, and so would be what we start."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def read_until(words: str, process: "subprocess.Popen[str]") -> str:
    assert process.stdout is not None
    said = ""
    for line in process.stdout:
        said += line
        if words in line:
            return said
    raise AssertionError(said)


def status(port: int) -> int:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    connection.request("GET", "/account/login/")
    return connection.getresponse().status


@pytest.fixture
def taken() -> Iterator[int]:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        yield listener.getsockname()[1]


def test_it_comes_up_goes_down_and_comes_back_with_its_data(tmp_path: Path) -> None:
    port = free_port()
    process = command(tmp_path, "--web-only", "--no-demo", "--port", str(port))
    said = read_until("Ctrl-C stops everything", process)
    assert f"The platform is up at http://localhost:{port}" in said
    assert status(port) == 200
    second = command(tmp_path, "--web-only", "--no-demo", "--port", str(free_port()))
    assert "already runs from" in second.communicate(timeout=30)[0]
    assert second.returncode == 1
    process.send_signal(signal.SIGINT)
    rest, _ = process.communicate(timeout=100)
    assert rest.endswith("Stopped. The data is kept.\n")
    assert process.returncode == 0
    assert of_folder(tmp_path) == []

    process = command(tmp_path, "--web-only", "--no-demo", "--port", str(port))
    said = read_until("Ctrl-C stops everything", process)
    assert "No migrations to apply" in said
    assert len([found for found in of_folder(tmp_path) if "gunicorn" in found.cmdline()]) == 3
    process.kill()
    process.wait()
    wait_until(lambda: of_folder(tmp_path) == [], seconds=20)
    assert "database system is shut down" in (tmp_path / "log/postgres.log").read_text().splitlines()[-1]


@pytest.mark.parametrize("umask", [0o022, 0o000])
def test_logs_exports_and_messages_are_for_this_account_alone(tmp_path: Path, umask: int) -> None:
    var = tmp_path / "var"
    # As an earlier version left them.
    for name in ("log/web.log", "exports/1/sft-train.jsonl", "files/import.csv", "broker/message"):
        (var / name).parent.mkdir(parents=True, mode=0o755)
        (var / name).write_text("a text\n")
        (var / name).chmod(0o644)
    if umask:
        # The other case also creates the database.
        migrated_cluster(var)
    process = command(var, "--web-only", "--no-demo", "--port", str(free_port()), umask=umask)
    read_until("Ctrl-C stops everything", process)
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=100)
    private = [var / "secrets.env", var / "postgres/password"]
    for name in ("log", "exports", "files", "broker", "broker-control"):
        private += [var / name, *(var / name).rglob("*")]
    assert {path.name for path in private} >= {"web.log", "worker.log", "beat.log", "postgres.log", "sft-train.jsonl"}
    wrong = {
        str(path): oct(path.stat().st_mode)
        for path in private
        if stat.S_IMODE(path.stat().st_mode) != (0o700 if path.is_dir() else 0o600)
    }
    assert wrong == {}
    # A proxy may serve the static files, also the compressed ones, as another account.
    served = [path for path in (var / "static").rglob("*.gz") if stat.S_IMODE(path.stat().st_mode) != 0o644]
    assert served == []
    # Nobody else may put a file in the way either.
    assert [str(path) for path in (var, *var.iterdir()) if path.stat().st_mode & 0o022] == []


def test_a_taken_port_is_told(tmp_path: Path, taken: int) -> None:
    process = command(tmp_path, "--port", str(taken))
    said, _ = process.communicate(timeout=30)
    assert said == f"bin/start: another program uses port {taken}. Stop it, or choose another port with --port.\n"
    assert process.returncode == 1


def test_a_database_that_does_not_answer_is_told(tmp_path: Path) -> None:
    url = f"postgresql://annotate@127.0.0.1:{free_port()}/annotate"
    process = command(tmp_path, "--web-only", "--port", str(free_port()), DATABASE_URL=url)
    said, _ = process.communicate(timeout=30)
    assert "bin/start: the database refuses the connection (connection to server" in said
    assert process.returncode == 1
    assert not (tmp_path / "postgres").exists()


def test_a_machine_without_python_is_told(tmp_path: Path) -> None:
    # Only what the script itself calls, and an account that may not install anything.
    for name in ("sh", "dirname"):
        (tmp_path / name).symlink_to(f"/bin/{name}" if name == "sh" else "/usr/bin/dirname")
    (tmp_path / "id").write_text("#!/bin/sh\necho 1000\n")
    (tmp_path / "id").chmod(0o755)
    script = (ROOT / "bin/launch").read_text().replace("/usr/bin/python3.11", "")
    (tmp_path / "launch").write_text(script)
    done = subprocess.run(
        ["/bin/sh", tmp_path / "launch", "start"],
        env={"PATH": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert done.stderr.startswith("bin/start: Python 3.11 was not found. Install it")
    assert done.stderr.count("\n") == 1


def test_a_full_disk_is_told_whichever_step_fills_it() -> None:
    with pytest.raises(Refused, match=DISK_FULL):
        step("pip", ["sh", "-c", "echo 'OSError: [Errno 28] No space left on device' >&2; echo bye >&2; exit 1"])
    with pytest.raises(SystemExit, match="bin/start: the disk is full"), in_one_sentence("start"):
        raise OSError(28, "No space left on device")


def test_a_failed_step_gives_its_reason() -> None:
    with pytest.raises(Refused, match="pip failed: no network"):
        step("pip", ["sh", "-c", "echo no network >&2; exit 1"])


def test_a_folder_is_held_for_one_run_and_freed_after_it(tmp_path: Path) -> None:
    again = pytest.raises(Refused, match="the first already runs from")
    with only_one(tmp_path, "the first"), again, only_one(tmp_path, "the second"):
        pass
    with only_one(tmp_path, "the third"):
        pass


def test_secrets_are_made_once_for_this_user_alone(tmp_path: Path) -> None:
    made = surroundings.read_or_make_secrets(tmp_path)
    assert surroundings.read_or_make_secrets(tmp_path) == made == read_variables(tmp_path / "secrets.env")
    assert stat.S_IMODE((tmp_path / "secrets.env").stat().st_mode) == 0o600
    assert set(made) == set(surroundings.KEYS)
    assert len(set(made.values())) == len(made)
    (tmp_path / "secrets.env").write_text("SPLIT_KEY=kept\n")
    assert surroundings.read_or_make_secrets(tmp_path)["SPLIT_KEY"] == "kept"


def test_passwords_of_the_demonstration_that_earlier_versions_kept_are_removed(tmp_path: Path) -> None:
    file = tmp_path / "secrets.env"
    file.write_text("SECRET_KEY=kept\nDEMO_MANAGER_PASSWORD=seen\nSPLIT_KEY=kept too\n")
    surroundings.forget_demo_passwords(tmp_path)
    assert file.read_text() == "SECRET_KEY=kept\nSPLIT_KEY=kept too\n"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600


@pytest.mark.parametrize(
    ("host", "private"),
    [
        ("127.0.0.1", True),
        ("127.1.2.3", True),
        ("::1", True),
        ("localhost", True),
        ("0.0.0.0", False),
        ("::", False),
        ("", False),
        ("192.0.2.1", False),
        ("no such host.invalid", False),
    ],
)
def test_an_address_of_this_machine_is_known_as_one(host: str, private: bool) -> None:
    assert is_for_this_machine(host) is private


def test_the_demonstration_is_not_shown_to_other_machines(tmp_path: Path) -> None:
    process = command(tmp_path, "--host", "0.0.0.0", "--port", str(free_port()))
    said, _ = process.communicate(timeout=30)
    assert said == (
        "bin/start: other machines must not reach the demonstration's logins. Add --no-demo, or omit --host to "
        "listen on this machine only.\n"
    )
    assert process.returncode == 1


def stop(process: "subprocess.Popen[str]") -> str:
    process.send_signal(signal.SIGINT)
    return process.communicate(timeout=100)[0]


def test_passwords_of_the_demonstration_are_printed_once_and_its_logins_kept_from_other_machines(
    tmp_path: Path,
) -> None:
    migrated_cluster(tmp_path)
    port = str(free_port())
    process = command(tmp_path, "--web-only", "--port", port)
    said = read_until("Ctrl-C stops everything", process)
    stop(process)
    passwords = dict(re.findall(r"^  (labeler|reviewer|manager) +([a-z2-9]{12})$", said, flags=re.MULTILINE))
    assert set(passwords) == {"labeler", "reviewer", "manager"}
    kept = [path for path in tmp_path.rglob("*") if path.is_file() and "postgres/data" not in str(path)]
    for path in kept:
        assert not [word for word in passwords.values() if word.encode() in path.read_bytes()], path
    # Not even without the demonstration: its logins are still there.
    process = command(tmp_path, "--web-only", "--host", "0.0.0.0", "--no-demo", "--port", port)
    said, _ = process.communicate(timeout=100)
    assert process.returncode == 1
    everybody = "labeler, labeler-held-out, labeler2, manager, reviewer"
    assert f"other machines must not reach the active logins {everybody} of the demonstration" in said
    process = command(tmp_path, "--web-only", "--host", "0.0.0.0", "--end-demo", "--port", port)
    said = read_until("Ctrl-C stops everything", process)
    stop(process)
    assert "createsuperuser" in said
    # As on another machine with the same database: its logins keep their passwords, so none is promised.
    (tmp_path / "demonstration-loaded").unlink()
    process = command(tmp_path, "--web-only", "--port", port)
    said = read_until("Ctrl-C stops everything", process)
    stop(process)
    assert "Their passwords were shown at the first start." in said
    assert not [word for word in passwords.values() if word in said]


def test_manage_py_finds_what_bin_start_made_and_prefers_what_is_set(tmp_path: Path) -> None:
    made = surroundings.read_or_make_secrets(tmp_path)
    (tmp_path / "postgres").mkdir()
    (tmp_path / "postgres/password").write_text("word\n")
    found = surroundings.complete({"VAR_DIR": str(tmp_path), "SPLIT_KEY": "set"})
    assert found["SECRET_KEY"] == made["SECRET_KEY"]
    assert found["SPLIT_KEY"] == "set"
    assert found["DATABASE_URL"].startswith("postgresql://annotate:word@")
    assert surroundings.complete({"VAR_DIR": str(tmp_path), "DATABASE_URL": "mine"})["DATABASE_URL"] == "mine"


def test_variables_are_read_as_a_shell_would(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("# a comment\n\nA=1\nB = two words \nC='quoted'\nD=x=y\n")
    assert read_variables(tmp_path / ".env") == {"A": "1", "B": "two words", "C": "quoted", "D": "x=y"}
    assert read_variables(tmp_path / "absent") == {}


def test_a_labeling_server_samples_nothing() -> None:
    everything = {service.name for service in services(host="127.0.0.1", port=8000, sampling=True)}
    assert everything == {"web", "worker", "beat", "sampling"}
    without = {service.name for service in services(host="127.0.0.1", port=8000, sampling=False)}
    assert without == {"web", "worker", "beat"}


def test_manage_py_tells_that_the_platform_is_down(tmp_path: Path) -> None:
    environment = os.environ | {"DATABASE_URL": f"postgresql://annotate@127.0.0.1:{free_port()}/annotate"}
    done = subprocess.run(
        [PYTHON, ROOT / "manage.py", "showmigrations"], env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    assert done.stderr.startswith("manage.py: the database refuses the connection (connection to server")
    assert done.stderr.count("\n") == 1
