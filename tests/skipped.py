"""A pytest plugin, `-p tests.skipped`: prints the ids of the skipped tests, for a machine that has more programs."""

import pytest

MARK = "skipped here: "
_skipped: list[str] = []


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    if report.skipped:
        _skipped.append(report.nodeid)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    for name in _skipped:
        terminalreporter.write_line(f"{MARK}{name}")
