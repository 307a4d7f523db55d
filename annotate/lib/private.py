"""Files that only our account may read. Standard library only."""

import os
import stat
from pathlib import Path
from typing import BinaryIO

FILE = 0o600
FOLDER = 0o700
UMASK = 0o077


def make_folder(folder: Path) -> None:
    folder.mkdir(mode=FOLDER, parents=True, exist_ok=True)
    _set_mode(folder, FOLDER)


def make_missing(folder: Path) -> None:
    missing = [each for each in (folder, *folder.parents) if not each.exists()]
    for each in reversed(missing):
        each.mkdir(mode=FOLDER, exist_ok=True)


def opener(path: str, flags: int) -> int:
    return os.open(path, flags, FILE)


def append_to(file: Path) -> BinaryIO:
    opened = os.fdopen(os.open(file, os.O_WRONLY | os.O_APPEND | os.O_CREAT, FILE), "ab")
    _set_mode(file, FILE)
    return opened


def close_to_others(folder: Path) -> None:
    """Earlier versions left them readable."""
    if not folder.is_dir():
        return
    _set_mode(folder, FOLDER)
    for parent, folders, files in os.walk(folder):
        for name in folders:
            _set_mode(Path(parent, name), FOLDER)
        for name in files:
            _set_mode(Path(parent, name), FILE)


def _set_mode(path: Path, mode: int) -> None:
    try:
        status = path.lstat()
        if stat.S_ISLNK(status.st_mode) or stat.S_IMODE(status.st_mode) == mode:
            return
        path.chmod(mode)
    except FileNotFoundError:
        # another process has deleted it
        pass
