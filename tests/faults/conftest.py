"""The table of faults: what was done to a run, what should happen, what did, what was lost."""

from collections.abc import Callable

import pytest

HEADER = ("fault", "expected", "happened", "lost")
Row = Callable[[str, str, str, str], None]


@pytest.fixture
def row(record_property: Callable[[str, object], None]) -> Row:
    """Adds a row to the table that is printed after the tests."""

    def add(fault: str, expected: str, happened: str, lost: str) -> None:
        record_property("fault", (fault, expected, happened, lost))

    return add


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    rows = [
        tuple(value)
        for report in terminalreporter.getreports("passed") + terminalreporter.getreports("failed")
        for name, value in report.user_properties
        if name == "fault" and report.when == "call"
    ]
    if rows:
        terminalreporter.section("faults")
        for entry in (HEADER, ("---",) * 4, *rows):
            terminalreporter.line(f"| {' | '.join(entry)} |")
