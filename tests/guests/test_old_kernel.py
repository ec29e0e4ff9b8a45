"""What a server's death costs on a kernel that cannot send requests again (before Linux 6.9)."""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.guests.oldkernel_guest import DEATHS, READERS, REPLACEMENTS
from tests.support.guest import Guest
from tests.support.guests import Guests

_GUEST = Guest(Path(__file__).with_name("oldkernel_guest.py"))
pytestmark = pytest.mark.guest(_GUEST)

Facts = dict[str, Any]


@pytest.fixture(scope="module")
def facts(guests: Guests) -> Facts:
    """Return what was seen there."""
    found: Facts = json.loads(guests.output(_GUEST))
    assert tuple(map(int, found["release"].split(".")[:2])) < (6, 9)
    return found


def test_an_unplanned_death(facts: Facts, capsys: pytest.CaptureFixture[str]) -> None:
    """At most the one read that the server was busy with fails, at once, and nobody is left waiting."""
    deaths = facts["deaths"]
    # EIO: killed while the kernel was handing the request over (fuse_dev_do_read in fs/fuse/dev.c).
    assert set(deaths["errors"]) <= {"ECONNABORTED", "EIO"}, facts["daemon"]["log"]
    lost = sum(deaths["errors"].values())
    assert lost <= DEATHS
    assert deaths["reads"] > DEATHS * READERS
    with capsys.disabled():
        print(  # noqa: T201 - the figure is what an operator wants to know
            f"\nLinux {facts['release']}: {deaths['reads']} reads, {DEATHS} deaths: "
            f"{lost} failed, longest stall {deaths['longest_seconds']:.2f} s"
        )


def test_a_planned_replacement(facts: Facts, capsys: pytest.CaptureFixture[str]) -> None:
    """A hand-over answers everything that was taken, so that nobody sees it."""
    replacements = facts["replacements"]
    assert {} == replacements["errors"]
    with capsys.disabled():
        print(  # noqa: T201 - see above
            f"\nLinux {facts['release']}: {replacements['reads']} reads, {REPLACEMENTS} hand-overs: "
            f"0 failed, longest stall {replacements['longest_seconds']:.2f} s"
        )


def test_it_ends_well(facts: Facts) -> None:
    """Nothing stays mounted."""
    assert (0, False) == (facts["daemon"]["status"], facts["daemon"]["mounted"]), facts["daemon"]["log"]
