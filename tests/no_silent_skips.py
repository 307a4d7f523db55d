"""A pytest plugin: a skipped test fails the run, unless all it lacks is the material beside the repository, or vLLM."""

import pytest

# vLLM pins a torch of its own: where it is, it is beside our environment.
ALLOWED = ("needs ../shared", "needs vLLM")
_skipped: list[str] = []


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    _note(report)


def pytest_collectreport(report: pytest.CollectReport) -> None:
    _note(report)


def _note(report: pytest.TestReport | pytest.CollectReport) -> None:
    allowed = any(reason in str(report.longrepr) for reason in ALLOWED)
    if report.skipped and not hasattr(report, "wasxfail") and not allowed:
        _skipped.append(report.nodeid)


def pytest_sessionfinish(session: pytest.Session) -> None:
    if _skipped and session.exitstatus in (pytest.ExitCode.OK, pytest.ExitCode.NO_TESTS_COLLECTED):
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    for nodeid in _skipped:
        terminalreporter.write_line(f"FAILED {nodeid} - was skipped, and nothing is skipped in silence", red=True)
