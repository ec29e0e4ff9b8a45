"""pytest plugin: the parts of the suite, quick ones first, and how long each took.

A part is a folder below tests/.
"""

from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import pytest

#: In this order they run; what nobody thought of, last.
ORDER: Final = ("unit", "fuzz", "kubernetes", "daemon", "load", "compat", "containers", "guests")
_TESTS: Final = Path(__file__).parents[1]


@dataclass(slots=True)
class Part:
    """What became of a part's tests."""

    passed: int = 0
    failed: int = 0
    left_out: int = 0
    #: Of all its tests and fixtures, one after the other.
    seconds: float = 0.0


def part_of(path: Path) -> str:
    """Name the part that a test file belongs to."""
    return path.relative_to(_TESTS).parts[0] if path.is_relative_to(_TESTS) else str(path)


def place_of(part: str) -> int:
    """Return when a part's turn is."""
    return ORDER.index(part) if part in ORDER else len(ORDER)


class Parts:
    """Adds up, for each part, what the reports of its tests say."""

    def __init__(self) -> None:
        """Know of no part yet."""
        self._parts: defaultdict[str, Part] = defaultdict(Part)

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Count a test."""
        part = self._parts[part_of(_TESTS.parent / report.location[0])]
        part.seconds += report.duration
        part.failed += report.failed
        part.left_out += report.skipped
        part.passed += report.when == "call" and report.passed

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        """Print the parts in the order in which they ran."""
        if self._parts:
            terminalreporter.section("parts")
            for line in table(self._parts):
                terminalreporter.line(line)


def table(parts: dict[str, Part]) -> list[str]:
    """Spell the table of parts."""
    lines = [f"{'part':<12}{'passed':>8}{'failed':>8}{'left out':>10}{'seconds':>10}"]
    for name in sorted(parts, key=place_of):
        part = parts[name]
        lines.append(f"{name:<12}{part.passed:>8}{part.failed:>8}{part.left_out:>10}{part.seconds:>10.1f}")
    return lines


def pytest_configure(config: pytest.Config) -> None:
    """Register the accountant."""
    config.pluginmanager.register(Parts(), "parts")


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Let quick parts run first."""
    items.sort(key=lambda item: place_of(part_of(item.path)))
