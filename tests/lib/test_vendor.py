"""The libraries in the browser are the ones that were reviewed: the committed files against their manifest."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


def check(folder: Path) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, str(ROOT / "bin" / "vendor"), "--check", "--folder", str(folder)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    return shutil.copytree(ROOT / "static" / "vendor", tmp_path / "vendor")


def test_the_committed_files_are_those_of_the_manifest() -> None:
    done = check(ROOT / "static" / "vendor")
    assert (done.returncode, done.stdout) == (0, "")


def test_a_changed_file_is_found(copy: Path) -> None:
    with (copy / "htmx.min.js").open("a") as file:
        file.write("//")
    done = check(copy)
    assert done.returncode == 1
    assert "htmx.min.js is not the file of htmx.org" in done.stdout


def test_a_missing_and_an_unlisted_file_are_found(copy: Path) -> None:
    (copy / "pico.LICENSE.txt").rename(copy / "other.js")
    done = check(copy)
    assert done.returncode == 1
    assert "pico.LICENSE.txt is missing" in done.stdout
    assert "other.js is in no library" in done.stdout


def test_a_manifest_of_other_versions_is_found(copy: Path) -> None:
    manifest = copy / "manifest.json"
    manifest.write_text(manifest.read_text().replace('"2.1.1"', '"1.0.0"'))
    assert "does not list the libraries" in check(copy).stdout
