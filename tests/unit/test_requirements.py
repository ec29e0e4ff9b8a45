"""What a machine cannot do is left out, and in CI fails; the parts are told at the end."""

import os
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Final

import pytest

from tests.support.capabilities import CAPABILITIES, Capability, Lack, Machine
from tests.support.daemon import REPOSITORY
from tests.support.parts import ORDER, Part
from tests.support.parts import table as parts_table
from tests.support.probes import UnableError
from tests.support.requirements import table

#: A run with a capability that is there, one that is not, and one that rests on that.
_CONFTEST: Final = """
import pytest
from tests.support.capabilities import Capability, Machine, needing
from tests.support.probes import UnableError
from tests.support.requirements import Requirements

def unable():
    print("tried")
    raise UnableError("the reason")

@pytest.hookimpl(trylast=True)
def pytest_configure(config):
    config.pluginmanager.unregister(name="requirements")
    capabilities = (
        Capability("here", lambda: None, "nothing"),
        Capability("away", unable, "the remedy"),
        Capability("above", lambda: None, "another", ("away",)),
    )
    config.pluginmanager.register(Requirements(Machine({each.name: each for each in capabilities})))

@pytest.fixture
@needing("above")
def made():
    raise AssertionError("made all the same")
"""
_TESTS: Final = """
import pytest

@pytest.mark.needs("here")
def test_here():
    pass

@pytest.mark.needs("away", "here")
def test_away():
    raise AssertionError("run all the same")

def test_above(made):
    raise AssertionError("run all the same")
"""


def _run(directory: Path, tests: str = _TESTS, **environment: str) -> subprocess.CompletedProcess[str]:
    (directory / "conftest.py").write_text(_CONFTEST)
    (directory / "test_one.py").write_text(tests)
    plugins = ("-p", "no:cacheprovider", "-p", "tests.support.requirements", "-p", "tests.support.parts")
    return subprocess.run(
        [sys.executable, "-m", "pytest", "--strict-markers", "-s", *plugins, "."],
        cwd=directory,
        env={**os.environ, "CI": "", "PYTHONPATH": str(REPOSITORY), **environment},
        check=False,
        capture_output=True,
        text=True,
    )


def test_left_out(tmp_path: Path) -> None:
    """What cannot run is left out, also where only what it rests on is missing; the run is a success."""
    done = _run(tmp_path)
    assert 0 == done.returncode, done.stdout
    assert "1 passed, 2 skipped" in done.stdout
    assert "2 tests did not run here" in done.stdout
    assert "    2  away  the reason  the remedy\n" in done.stdout
    assert 1 == done.stdout.count("tried")


def test_failed_in_ci(tmp_path: Path) -> None:
    """In CI each of them is a failure that says what is missing."""
    done = _run(tmp_path, CI="true")
    assert 1 == done.returncode
    assert "1 passed, 2 errors" in done.stdout
    assert "this machine lacks away: the reason (the remedy)\n" in done.stdout


def test_unknown_name(tmp_path: Path) -> None:
    """A need that is in no table is an error before anything runs."""
    done = _run(tmp_path, _TESTS.replace('"away"', '"awry"'))
    assert pytest.ExitCode.USAGE_ERROR == done.returncode
    assert "no such capability: awry" in done.stderr


def test_lacks_what_it_rests_on() -> None:
    """What is missing at the bottom is named, once, and nothing above it is tried."""

    def unable() -> None:
        raise UnableError("no")

    def never() -> None:
        raise AssertionError

    capabilities = (
        Capability("a", unable, "do"),
        Capability("b", never, "", ("a",)),
        Capability("c", never, "", ("b", "a")),
    )
    machine = Machine({each.name: each for each in capabilities})
    assert [Lack("a", "no", "do")] == machine.lacks(["b", "c", "a"])


def test_capabilities_rest_on_others() -> None:
    """All names are known, and none rests on itself."""

    def below(name: str, path: tuple[str, ...]) -> None:
        assert name not in path
        for other in CAPABILITIES[name].rests_on:
            below(other, (*path, name))

    for name, capability in CAPABILITIES.items():
        below(name, ())
        assert "\n" not in capability.remedy


def test_tables() -> None:
    """Columns are as wide as what is in them, and the order is that of the run."""
    lacks = Counter({Lack("fuse", "no device", "modprobe"): 12, Lack("root", "user 7", "sudo"): 300})
    assert [
        "tests  need  but        to make them run",
        "  300  root  user 7     sudo",
        "   12  fuse  no device  modprobe",
    ] == table(lacks)
    parts = {"guests": Part(1, 2, 3, 4.04), "unit": Part(passed=1500, seconds=20)}
    assert [
        "part          passed  failed  left out   seconds",
        "unit            1500       0         0      20.0",
        "guests             1       2         3       4.0",
    ] == parts_table(parts)


def test_every_part_has_a_place() -> None:
    """Folders with tests are in the order in which they run."""
    folders = {path.parent.name for path in (REPOSITORY / "tests").glob("*/test_*.py")}
    assert folders == {*ORDER}
