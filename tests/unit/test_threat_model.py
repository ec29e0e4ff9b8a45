"""docs/threat-model.md names tests; each of them is there."""

import ast
import re
from pathlib import Path
from typing import Final

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
