"""Guests run in the background, each once, and are ended with the run."""

import os
import stat
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

import pytest

from tests.support.guest import Guest
from tests.support.guests import Guests

#: In place of a testbed: this machine.
_TESTBED: Final = """#!/bin/sh
echo booted >>"$(dirname "$0")/boots"
while [ "$1" != -- ]; do shift; done
shift
exec "$@"
"""


@pytest.fixture
def guests() -> Iterator[Guests]:
    """Have guests that are ended with the test."""
    guests = Guests()
    yield guests
    guests.stop()


@pytest.fixture
def make_guest(tmp_path: Path) -> Callable[..., Guest]:
    """Make guests that run a program."""
    testbed = tmp_path / "testbed"
    testbed.write_text(_TESTBED)
    testbed.chmod(testbed.stat().st_mode | stat.S_IXUSR)

    def make(name: str, program: str, *arguments: str) -> Guest:
        path = tmp_path / f"{name}_guest.py"
        path.write_text(program)
        return Guest(path, arguments, (str(testbed),))

    return make


def test_booted_once(guests: Guests, make_guest: Callable[..., Guest], tmp_path: Path) -> None:
    """What a program printed is there for everybody who asks, after one boot."""
    guest = make_guest("echo", "import sys; print(sys.argv[1])", "seen")
    guests.start([guest, guest])
    assert ["seen\n", "seen\n"] == [guests.output(guest) for _ in range(2)]
    assert "booted\n" == (tmp_path / "boots").read_text()
    assert "echo seen" == guest.name


def test_failure(guests: Guests, make_guest: Callable[..., Guest]) -> None:
    """Whoever asks for a guest that failed is told its errors; the next one is booted all the same."""
    bad, good = make_guest("bad", "raise SystemExit('broken')"), make_guest("good", "print('well')")
    guests.start([bad, good])
    with pytest.raises(AssertionError, match="broken"):
        guests.output(bad)
    assert "well\n" == guests.output(good)


def test_ended_with_the_run(make_guest: Callable[..., Guest], tmp_path: Path) -> None:
    """One that still runs is ended, one that has not been booted never is."""
    pipe = tmp_path / "started"
    os.mkfifo(pipe)
    program = f"open({str(pipe)!r}, 'w').write('started'); import time; time.sleep(600)"
    guests = Guests()
    guests.start([make_guest("long", program), make_guest("next", "")])
    assert "started" == pipe.read_text()
    guests.stop()
    assert "booted\n" == (tmp_path / "boots").read_text()
