"""The rule of the test command that nothing is skipped in silence, on pytest itself."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


def run(folder: Path, source: str) -> "subprocess.CompletedProcess[str]":
    (folder / "test_sample.py").write_text(source)
    (folder / "pytest.ini").write_text("[pytest]\n")
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "-p",
        "tests.no_silent_skips",
        "-p",
        "no:django",
        "--rootdir",
        folder,
    ]
    return subprocess.run([*command, folder], capture_output=True, text=True, check=False, cwd=ROOT)


@pytest.mark.parametrize(
    "source",
    [
        "import pytest\n@pytest.mark.skip(reason='no browser here')\ndef test_a(): pass\ndef test_b(): pass\n",
        "import pytest\npytest.skip('no broker here', allow_module_level=True)\n",
    ],
)
def test_a_skip_fails_the_run_and_is_named(tmp_path: Path, source: str) -> None:
    done = run(tmp_path, source)
    assert done.returncode == 1
    assert "was skipped, and nothing is skipped in silence" in done.stdout


@pytest.mark.parametrize("reason", ["needs ../shared", "needs vLLM, and there is none"])
def test_only_what_cannot_be_installed_may_be_absent(tmp_path: Path, reason: str) -> None:
    source = f"import pytest\n@pytest.mark.skipif(True, reason={reason!r})\ndef test_a(): pass\n"
    assert run(tmp_path, source).returncode == 0
