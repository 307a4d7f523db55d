"""Create the virtual environment. Runs outside of it, with the standard library only."""

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
DISK_FULL = "the disk is full. Free some space and run the command again."


class Refused(Exception):
    """The message says why the command cannot continue and what to do."""


def say(text: str) -> None:
    print(text, flush=True)


@contextmanager
def in_one_sentence(command: str) -> Iterator[None]:
    """Report expected errors without a traceback."""
    try:
        yield
    except Refused as refusal:
        sys.exit(f"bin/{command}: {refusal}")
    except OSError as error:
        if error.errno == errno.ENOSPC:
            sys.exit(f"bin/{command}: {DISK_FULL}")
        if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
            sys.exit(f"bin/{command}: this user may not write {error.filename}. Change its owner or mode.")
        raise
    except KeyboardInterrupt:
        sys.exit(130)


def start_arguments(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="bin/start", description="Start the platform on this machine.")
    parser.add_argument("--port", type=int, default=8000, help="the port of the pages (default: 8000)")
    parser.add_argument(
        "--host",
        default="127.0.0.1",
        help="the address to listen on (default: 127.0.0.1, this machine only). Set ALLOWED_HOSTS to the site's name",
    )
    parser.add_argument("--web-only", action="store_true", help="start without torch and sampling")
    parser.add_argument("--no-demo", action="store_true", help="do not load the demonstration data and its logins")
    parser.add_argument(
        "--end-demo",
        action="store_true",
        help="deactivate the demonstration's logins of an earlier start",
    )
    options = parser.parse_args(arguments)
    options.no_demo = options.no_demo or options.end_demo
    return options


def is_for_this_machine(host: str) -> bool:
    try:
        addresses = socket.getaddrinfo(host or None, None, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except (OSError, UnicodeError):
        return False
    return all(ipaddress.ip_address(str(address[0]).partition("%")[0]).is_loopback for *_, address in addresses)


def refuse_reachable_demo(options: argparse.Namespace) -> None:
    """Refuse to serve the demonstration's logins to other machines, because a terminal shows their passwords."""
    if not options.no_demo and not is_for_this_machine(options.host):
        raise Refused(
            "other machines must not reach the demonstration's logins. Add --no-demo, or omit --host to listen on this "
            "machine only."
        )


def read_variables(file: Path) -> dict[str, str]:
    if not file.exists():
        return {}
    lines = [line.strip() for line in file.read_text().splitlines()]
    pairs = [line.partition("=") for line in lines if line and not line.startswith("#")]
    return {name.strip(): value.strip().strip("\"'") for name, _, value in pairs}


def var_folder(environment: Mapping[str, str]) -> Path:
    return Path(environment.get("VAR_DIR") or ROOT / "var").resolve()


@contextmanager
def only_one(folder: Path, who: str) -> Iterator[None]:
    """Refuse a second run on this folder. `who` describes the first."""
    folder.mkdir(mode=0o755, parents=True, exist_ok=True)
    with os.fdopen(os.open(folder / "running", os.O_RDWR | os.O_APPEND | os.O_CREAT, 0o600), "a+") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            lock.seek(0)
            raise Refused(f"{lock.read().strip()} already runs from {folder}. Use it, or stop it first.") from None
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
        raise Refused(f"port {port} is reserved for root. Choose one above 1023 with --port.") from None
    except (OSError, OverflowError) as error:
        if isinstance(error, OSError) and error.errno == errno.EADDRINUSE:
            raise Refused(f"another program uses port {port}. Stop it, or choose another port with --port.") from None
        raise Refused(
            f"{host}:{port} is not an address of this machine. Choose others with --host and --port."
        ) from None


def step(what: str, command: Sequence[str | Path], *, environment: Mapping[str, str] | None = None) -> None:
    """Run a step of the set-up. Raises Refused with the last line of its errors."""
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
        raise Refused(f"{what} failed: {last or 'no reason was given'}")


def may_install_packages() -> bool:
    return os.geteuid() == 0 and shutil.which("apt-get") is not None


def install_packages(*packages: str) -> None:
    """Install Debian packages. RUNLEVEL prevents the start of their servers."""
    quiet = os.environ | {"DEBIAN_FRONTEND": "noninteractive", "RUNLEVEL": "1"}
    say(f"Installing {' and '.join(packages)} from the system's packages")
    step("apt-get update", ["apt-get", "update", "-qq"], environment=quiet)
    step(
        "apt-get install",
        ["apt-get", "install", "-qq", "-y", "--no-install-recommends", *packages],
        environment=quiet,
    )


def ensure_environment(files: Sequence[str]) -> None:
    required = {name: hashlib.sha256((REQUIREMENTS / name).read_bytes()).hexdigest() for name in files}
    VENV.mkdir(exist_ok=True)
    with (VENV / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # another command may be installing
        installed = json.loads(STAMP.read_text()) if STAMP.exists() else {}
        if not _runs() or any(installed.get(name) != digest for name, digest in required.items()):
            _install(required)


def _install(required: Mapping[str, str]) -> None:
    if not _runs("-m", "pip", "--version"):
        say("Creating the virtual environment .venv")
        _create_environment()
    size = "with torch, up to 3 GB" if "worker.txt" in required else "about 200 MB"
    say(f"Installing the pinned packages of {', '.join(required)} ({size})")
    STAMP.unlink(missing_ok=True)
    chosen = [argument for name in required for argument in ("-r", str(REQUIREMENTS / name))]
    step("pip", [PYTHON, "-m", "pip", "install", "--disable-pip-version-check", "--no-input", *chosen])
    STAMP.write_text(json.dumps(required))


def _create_environment() -> None:
    if VENV.exists() and PYTHON.exists() and not _runs():
        raise Refused(f"{VENV} has no working Python 3.11. Remove this folder and run the command again.")
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
        raise Refused(
            "this Python 3.11 has no venv. Install it (Debian: apt install python3.11-venv) and run the command again."
        )
    raise Refused(f"the virtual environment could not be created: {(made.stderr or made.stdout).strip()}")


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
