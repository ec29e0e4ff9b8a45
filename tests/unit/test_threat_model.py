"""docs/threat-model.md names tests and bounds; each test is there, and each bound is the code's."""

import ast
import re
from pathlib import Path
from typing import Final

import pytest

from pylxcfs.accounting import cpu_ledger_file
from pylxcfs.cgroup import effective
from pylxcfs.containers import askers, resolver
from pylxcfs.content import engine, service
from pylxcfs.fuse import triggers

_TESTS: Final = Path(__file__).resolve().parents[1]
_DOCUMENT: Final = _TESTS.parent / "docs/threat-model.md"
_NAMED: Final = re.compile(r"`(?P<path>[a-z]+/test_\w+\.py)(?:::(?P<test>\w+))?`")


def test_tests_are_there() -> None:
    """A bound that no test holds is called a gap, and none is held by a test that has gone."""
    named = list(_NAMED.finditer(_DOCUMENT.read_text()))
    assert named
    for each in named:
        path = _TESTS / each["path"]
        assert path.is_file(), each["path"]
        if each["test"] is not None:
            tree = ast.walk(ast.parse(path.read_text()))
            names = {node.name for node in tree if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)}
            assert each["test"] in names, each[0]


@pytest.mark.parametrize(
    "row,bound",
    [
        ("containers that are known", f"{resolver.MAX_CONTAINERS:,}"),
        ("processes held open", f"{askers.MAX_HELD:,} of those who ask"),
        ("rendered content", f"{service._MAX_CACHED:,} entries"),
        ("cgroup files held open", f"{engine._MAX_CGROUP_FILES:,}"),
        ("levels above a cgroup", f"{effective.MOST_LEVELS}"),
        ("a trigger of a container", f"{triggers._MAX_PER_CONTAINER} of a container"),
        ("a trigger of a container", f"{triggers._MAX_TRIGGERS:,} of all"),
        ("CPU ledgers", f"{cpu_ledger_file.BUDGET_BYTES >> 20} MiB"),
    ],
)
def test_bounds_are_those_of_the_code(row: str, bound: str) -> None:
    """The page says what the code does."""
    (line,) = re.findall(rf"^\| {re.escape(row)} \|.*$", _DOCUMENT.read_text(), re.MULTILINE)
    assert re.search(rf"(?<![\d,]){re.escape(bound)}(?!\d|,\d)", line)
