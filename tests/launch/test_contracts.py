"""The walls between the rooms: each contract is broken on purpose in a copy, and the checker must see it."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from annotate.launch.check import LINT_IMPORTS

ROOT = Path(__file__).resolve().parents[2]
DOWNWARD = "Imports only point down, and rooms side by side do not know each other"
NO_TORCH = "The web and the exports never load torch, nor call a policy's server"
NO_ANSWERS = "The worker never touches an answer"
NO_DJANGO = "The sampling engine knows neither Django nor the rooms"


@pytest.fixture(scope="module")
def copy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The packages and the contracts, without what is not source."""
    folder = tmp_path_factory.mktemp("copy")
    for package in ("annotate", "exports", "models_worker"):
        shutil.copytree(ROOT / package, folder / package, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", folder)
    return folder


def check(folder: Path) -> "subprocess.CompletedProcess[str]":
    # One cache of the copy's import graph serves all its checks: only the seeded file is read anew.
    environment = os.environ | {"PYTHONPATH": "", "COLUMNS": "200"}
    return subprocess.run(
        [sys.executable, "-c", LINT_IMPORTS], cwd=folder, capture_output=True, text=True, check=False, env=environment
    )


def test_the_rooms_keep_their_walls(copy: Path) -> None:
    done = check(copy)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "4 kept, 0 broken" in done.stdout


@pytest.mark.parametrize(
    ("room", "line", "contract"),
    [
        pytest.param("annotate/work", "import annotate.rankings", DOWNWARD, id="a lower room reaches up"),
        pytest.param("annotate/lib", "import annotate.accounts", DOWNWARD, id="lib reaches up"),
        pytest.param("annotate/rankings", "import annotate.instructions", DOWNWARD, id="a bench imports a bench"),
        pytest.param("annotate/studio", "import annotate.desk", DOWNWARD, id="a front imports a front"),
        pytest.param("annotate/desk", "import exports", DOWNWARD, id="a front imports the exports"),
        pytest.param("exports", "import models_worker", DOWNWARD, id="the exports import the worker"),
        pytest.param("annotate/desk", "import torch", NO_TORCH, id="the web imports torch"),
        pytest.param("exports", "import transformers", NO_TORCH, id="the exports import transformers"),
        pytest.param("annotate/samples", "import httpx2", NO_TORCH, id="the web calls a policy's server"),
        pytest.param("models_worker", "import annotate.rankings.models", NO_ANSWERS, id="the worker reads answers"),
        pytest.param(
            "models_worker", "import annotate.workflows.table", NO_ANSWERS, id="the worker reads answers indirectly"
        ),
        pytest.param("models_worker/engine", "import django", NO_DJANGO, id="the engine imports Django"),
        pytest.param("models_worker/engine", "import annotate.lib.text", NO_DJANGO, id="the engine imports a room"),
    ],
)
def test_a_seeded_violation_is_found(copy: Path, room: str, line: str, contract: str) -> None:
    seed = copy / room / "seeded.py"
    seed.write_text(f"{line}\n")
    try:
        done = check(copy)
    finally:
        seed.unlink()
    assert done.returncode == 1
    assert f"{contract} BROKEN" in done.stdout


def test_a_path_to_torch_through_the_worker_is_found(copy: Path) -> None:
    (copy / "models_worker/seeded.py").write_text("import torch\n")
    (copy / "annotate/seeded.py").write_text("import models_worker.seeded\n")
    try:
        done = check(copy)
    finally:
        (copy / "models_worker/seeded.py").unlink()
        (copy / "annotate/seeded.py").unlink()
    assert f"{NO_TORCH} BROKEN" in done.stdout


def test_the_pages_load_no_torch() -> None:
    program = (
        "import sys, django; django.setup(); import annotate.urls;"
        "print([name for name in ('torch', 'transformers', 'models_worker.engine') if name in sys.modules])"
    )
    environment = os.environ | {"DJANGO_SETTINGS_MODULE": "annotate.settings"}
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True, env=environment
    )
    assert done.stdout.strip() == "[]"
