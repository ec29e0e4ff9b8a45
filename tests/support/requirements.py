"""pytest plugin: a test that needs what this machine cannot do is left out, and in CI fails.

What is needed is told by ``pytest.mark.needs("NAME", …)``, by ``@needing("NAME", …)`` of a test's fixtures
(tests.support.capabilities), and by its guests (tests.support.guests). A test that is left out is reported as
skipped; a table at the end says why.
"""

import os
from collections import Counter
from typing import Final

import pytest

from tests.support.capabilities import CAPABILITIES, Lack, Machine, needed_by

#: In a report's properties, which a test that runs in another process has too.
_PROPERTY: Final = "lack"


def needs(item: pytest.Item) -> list[str]:
    """Name what a test needs of the machine, its fixtures' needs first."""
    found: list[str] = []
    if isinstance(item, pytest.Function):
        for definitions in item._fixtureinfo.name2fixturedefs.values():
            # The last one overrides the others.
            found += needed_by(definitions[-1].func)
    found += (guest.need for marker in item.iter_markers("guest") for guest in marker.args)
    return found + [name for marker in item.iter_markers("needs") for name in marker.args]


def in_ci() -> bool:
    """Tell whether everything has to run."""
    return os.environ.get("CI", "").lower() not in {"", "0", "false", "no"}


class Requirements:
    """Leaves tests out, and tells at the end which and why."""

    def __init__(self, machine: Machine) -> None:
        """Ask `machine` for what it can do."""
        self._machine = machine
        self._tests: Counter[Lack] = Counter()
        self._left_out = 0

    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        """Refuse names that nobody knows."""
        unknown = sorted({name for item in items for name in needs(item)} - self._machine.names)
        if unknown:
            message = f"no such capability: {', '.join(unknown)} (tests/support/capabilities.py)"
            raise pytest.UsageError(message)

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_setup(self, item: pytest.Item) -> None:
        """Let no fixture be made that cannot be."""
        lacks = self._machine.lacks(needs(item))
        if not lacks:
            return
        reason = "; ".join(f"{lack.name}: {lack.reason} ({lack.remedy})" for lack in lacks)
        if in_ci():
            pytest.fail(f"this machine lacks {reason}", pytrace=False)
        item.user_properties.extend((_PROPERTY, [lack.name, lack.reason, lack.remedy]) for lack in lacks)
        pytest.skip(reason)

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Count what was left out."""
        if report.when == "setup" and report.skipped:
            lacks = [
                Lack(*value)
                for name, value in report.user_properties
                if name == _PROPERTY and isinstance(value, list)
            ]
            self._tests.update(lacks)
            self._left_out += bool(lacks)

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        """Print what was left out, why, and what would make it run."""
        if self._left_out:
            terminalreporter.section(f"{self._left_out} tests did not run here")
            for line in table(self._tests):
                terminalreporter.line(line)


def table(tests: Counter[Lack]) -> list[str]:
    """Spell the table of what this machine lacks; a test that lacks two things is counted with both."""
    heads = ("tests", "need", "but", "to make them run")
    rows = [(str(count), lack.name, lack.reason, lack.remedy) for lack, count in tests.most_common()]
    widths = [max(map(len, column)) for column in zip(heads, *rows, strict=True)]
    return [
        "  ".join(
            cell.rjust(width) if not number else cell.ljust(width) for number, (cell, width) in cells
        ).rstrip()
        for cells in (enumerate(zip(row, widths, strict=True)) for row in (heads, *rows))
    ]


def pytest_configure(config: pytest.Config) -> None:
    """Register the marker and what looks at it."""
    config.addinivalue_line("markers", "needs(*names): what a test needs of the machine")
    config.pluginmanager.register(Requirements(Machine(CAPABILITIES)), "requirements")
