"""lxcfs and pylxcfs show the same, but for the differences that are intended."""

import json
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

from tests.compat.comparison import compare
from tests.compat.configurations import V1, V2, configurations
from tests.compat.laboratory import laboratory
from tests.compat.rows import ROWS
from tests.support.guest import Guest
from tests.support.guests import Guests
from tests.support.session import Session
from tests.support.swap import swap_file

pytestmark = pytest.mark.needs("lxcfs", "swap", "two-cpus")

RANDOM = 24
_GUEST = Guest(Path(__file__).with_name("differential_guest.py"))

Facts = dict[str, Any]


@pytest.fixture(scope="module", params=[V1, pytest.param(V2, marks=pytest.mark.guest(_GUEST))])
def layout(request: pytest.FixtureRequest) -> str:
    """Name the cgroup version."""
    name: str = request.param
    return name


@pytest.fixture(scope="module")
def report(
    layout: str,
    machine: Session,
    new_directory: Callable[[str], Path],
    guests: Guests,
) -> Facts:
    """Compare on this machine's cgroup v1, or in a machine with cgroup v2."""
    if layout == V2:
        text = guests.output(_GUEST)
    else:
        directory = new_directory("differential")
        with swap_file(directory / "swap"), laboratory(V1, machine.token, directory) as here:
            # Both reports have been JSON.
            text = json.dumps(asdict(compare(here, configurations(V1, RANDOM))))
    facts: Facts = json.loads(text)
    return facts


def test_every_difference_is_intended(report: Facts) -> None:
    """Every field of every file is the same in both, or a row says why not."""
    assert [] == report["unexplained"], "\n\n".join(report["unexplained"])
    assert report["containers"] >= 18
    assert report["fields"] >= 200 * report["containers"]


def test_every_row_explains_a_difference(report: Facts, layout: str) -> None:
    """No row of the table is dead."""
    dead = [
        (row.file, row.fields, row.lxcfs)
        for number, row in enumerate(ROWS)
        if layout in row.layouts and str(number) not in report["explained"]
    ]
    assert [] == dead


def test_no_field_shows_the_host(report: Facts) -> None:
    """In a container with limits no field is the host's, but for those that are documented to be."""
    assert [] == report["host_values"]
