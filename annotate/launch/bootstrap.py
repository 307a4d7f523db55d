"""What the two commands do before there is a virtual environment, and how they speak to the person at the terminal.

Run as a file by whatever Python 3.11 was found: standard library only, and nothing of the project is imported.
"""

import argparse
import errno
import fcntl
import hashlib
import ipaddress
import json
import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
VENV = ROOT / ".venv"
PYTHON = VENV / "bin" / "python"
STAMP = VENV / "installed.json"
REQUIREMENTS = ROOT / "requirements"
MODULES = {"start": "annotate.launch.start", "test": "annotate.launch.check"}
DISK_FULL = "the disk is full: free some space and run the command again."


class Refused(Exception):
    """The command cannot go on; the message is one sentence that says why and what to do."""


def say(text: str) -> None:
    """Progress, as it happens, also where the output is a pipe."""
    print(text, flush=True)


@contextmanager
def in_one_sentence(command: str) -> Iterator[None]:
    """Turn what can be expected to go wrong into a sentence and an exit status."""
    try:
        yield
    except Refused as refusal:
        sys.exit(f"bin/{command}: {refusal}")
    except OSError as error:
        if error.errno == errno.ENOSPC:
            sys.exit(f"bin/{command}: {DISK_FULL}")
        if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
            sys.exit(f"bin/{command}: {error.filename} may not be written by this user: change its owner or mode.")
        raise
    except KeyboardInterrupt:
        sys.exit(130)


def start_arguments(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="bin/start", description="Bring up the platform on this machine.")
    parser.add_argument("--port", type=int, default=8000, help="where the pages are served (default: 8000)")
    parser.add_argument(
        "--host",
        default="127.0.0.1",
        help="the address to listen on (default: 127.0.0.1, this machine only); name the site's own in ALLOWED_HOSTS",
    )
    parser.add_argument("--web-only", action="store_true", help="no torch and no sampling: a labeling server")
    parser.add_argument("--no-demo", action="store_true", help="without the demonstration data and its logins")
    parser.add_argument(
        "--end-demo", action="store_true", help="deactivate the demonstration's logins of an earlier start; for --host"
    )
    options = parser.parse_args(arguments)
    options.no_demo = options.no_demo or options.end_demo
    return options


def is_for_this_machine(host: str) -> bool:
    """Whether only programs of this machine reach the address."""
    try:
        found = socket.getaddrinfo(host or None, None, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except (OSError, UnicodeError):
        return False
    return all(ipaddress.ip_address(str(address[0]).partition("%")[0]).is_loopback for *_, address in found)


def refuse_reachable_demo(options: argparse.Namespace) -> None:
    """The passwords of the demonstration's logins are on a terminal: they must not open the site to a network."""
    if not options.no_demo and not is_for_this_machine(options.host):
        raise Refused(
            "other machines must not reach the demonstration's logins: add --no-demo, or leave --host out to listen on "
            "this machine only."
        )


def read_variables(file: Path) -> dict[str, str]:
    """The NAME=value lines of a file such as .env; {} if it is not there."""
    if not file.exists():
        return {}
    lines = [line.strip() for line in file.read_text().splitlines()]
    pairs = [line.partition("=") for line in lines if line and not line.startswith("#")]
    return {name.strip(): value.strip().strip("\"'") for name, _, value in pairs}


def var_folder(environment: Mapping[str, str]) -> Path:
    return Path(environment.get("VAR_DIR") or ROOT / "var").resolve()


@contextmanager
def only_one(folder: Path, who: str) -> Iterator[None]:
    """Hold this folder for one run of a command; a second is told about the first."""
    folder.mkdir(mode=0o755, parents=True, exist_ok=True)
    with os.fdopen(os.open(folder / "running", os.O_RDWR | os.O_APPEND | os.O_CREAT, 0o600), "a+") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            lock.seek(0)
            raise Refused(
                f"{lock.read().strip()} already runs from {folder}: use that one, or stop it first."
            ) from None
        lock.truncate(0)
        lock.write(who)
        lock.flush()
        yield


def require_free_port(host: str, port: int) -> None:
    try:
        family, kind, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        with socket.socket(family, kind) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(address)
    except PermissionError:
        raise Refused(f"port {port} is reserved for root: choose one above 1023 with --port.") from None
    except (OSError, OverflowError) as error:
        if isinstance(error, OSError) and error.errno == errno.EADDRINUSE:
            raise Refused(
                f"port {port} is taken by another program: stop that one, or choose another with --port."
            ) from None
        raise Refused(f"{host}:{port} is no address of this machine: choose others with --host and --port.") from None


def step(what: str, command: Sequence[str | Path], *, environment: Mapping[str, str] | None = None) -> None:
    """Run one step of the set-up with its progress in sight; if it fails, show its complaints and say what to do."""
    process = subprocess.Popen(command, cwd=ROOT, env=environment, stderr=subprocess.PIPE, text=True, errors="replace")
    try:
        _, complaints = process.communicate()
    except BaseException:
        process.terminate()
        process.wait()
        raise
    if process.returncode and "No space left on device" in complaints:
        raise Refused(DISK_FULL)
    if process.returncode == 0:
        sys.stderr.write(complaints)
    else:
        before, _, last = complaints.strip().rpartition("\n")
        sys.stderr.write(before + "\n" if before else "")
        raise Refused(f"{what} failed, and this was the reason: {last or 'none was given'}")


def may_install_packages() -> bool:
    return os.geteuid() == 0 and shutil.which("apt-get") is not None


def install_packages(*packages: str) -> None:
    """From the system's repositories. RUNLEVEL keeps their servers from being started."""
    quiet = os.environ | {"DEBIAN_FRONTEND": "noninteractive", "RUNLEVEL": "1"}
    say(f"Installing {' and '.join(packages)} from the system's packages")
    step("apt-get update", ["apt-get", "update", "-qq"], environment=quiet)
    step(
        "apt-get install",
        ["apt-get", "install", "-qq", "-y", "--no-install-recommends", *packages],
        environment=quiet,
    )


def ensure_environment(files: Sequence[str]) -> None:
    """The virtual environment, with these requirement files installed as they are now."""
    wanted = {name: hashlib.sha256((REQUIREMENTS / name).read_bytes()).hexdigest() for name in files}
    VENV.mkdir(exist_ok=True)
    with (VENV / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # another start or test may be installing
        installed = json.loads(STAMP.read_text()) if STAMP.exists() else {}
        if not _runs() or any(installed.get(name) != digest for name, digest in wanted.items()):
            _install(wanted)


def _install(wanted: Mapping[str, str]) -> None:
    if not _runs("-m", "pip", "--version"):
        say("Creating the virtual environment .venv")
        _create_environment()
    size = "torch is among them: up to 3 GB" if "worker.txt" in wanted else "about 200 MB"
    say(f"Installing the pinned packages of {', '.join(wanted)} ({size})")
    STAMP.unlink(missing_ok=True)
    chosen = [argument for name in wanted for argument in ("-r", str(REQUIREMENTS / name))]
    step("pip", [PYTHON, "-m", "pip", "install", "--disable-pip-version-check", "--no-input", *chosen])
    STAMP.write_text(json.dumps(wanted))


def _create_environment() -> None:
    if VENV.exists() and PYTHON.exists() and not _runs():
        raise Refused(f"{VENV} is not a Python 3.11 that runs: remove that folder and run the command again.")
    command = [sys.executable, "-m", "venv", str(VENV)]
    made = subprocess.run(command, capture_output=True, text=True, check=False)
    if made.returncode and "ensurepip" in made.stdout and may_install_packages():
        install_packages("python3.11-venv")
        made = subprocess.run(command, capture_output=True, text=True, check=False)
    if made.returncode == 0:
        return
    if "No space left" in made.stdout + made.stderr:
        raise Refused(DISK_FULL)
    if "ensurepip" in made.stdout:
        raise Refused("this Python 3.11 has no venv: install it (Debian: apt install python3.11-venv) and try again.")
    raise Refused(f"the virtual environment could not be made: {(made.stderr or made.stdout).strip()}")


def _runs(*arguments: str) -> bool:
    check = arguments or ("-c", "import sys; sys.exit(sys.version_info[:2] != (3, 11))")
    try:
        return subprocess.run([PYTHON, *check], capture_output=True, check=False).returncode == 0
    except (FileNotFoundError, PermissionError):
        return False


def main(command: str, arguments: Sequence[str]) -> None:
    with in_one_sentence(command):
        os.chdir(ROOT)
        files = ["web.txt", "worker.txt", "dev.txt"]
        if command == "start":
            os.environ.update(read_variables(ROOT / ".env") | os.environ)
            options = start_arguments(arguments)
            files = ["web.txt"] if options.web_only else ["web.txt", "worker.txt"]
            with only_one(var_folder(os.environ), "bin/start"):
                refuse_reachable_demo(options)
                require_free_port(options.host, options.port)
        ensure_environment(files)
        os.execv(PYTHON, [str(PYTHON), "-m", MODULES[command], *arguments])


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2:])
