"""Who is taken for whom on cgroup v2 alone and on hybrid hosts, by a kernel that names no init (6.1)."""

import json
from pathlib import Path

import pytest

from tests.support.guest import UML, Guest
from tests.support.guests import Guests

_PROGRAM = Path(__file__).with_name("identity_guest.py")
_GUESTS = {layout: Guest(_PROGRAM, machine=(*UML, "-c", layout)) for layout in ("v2", "hybrid")}

Facts = dict[str, list[int]]


@pytest.fixture(
    scope="module",
    params=[pytest.param(layout, marks=pytest.mark.guest(guest)) for layout, guest in _GUESTS.items()],
)
def facts(request: pytest.FixtureRequest, guests: Guests) -> Facts:
    """Return the MiB that everybody saw."""
    seen: Facts = json.loads(guests.output(_GUESTS[request.param]))
    return seen


def test_own_cgroup_at_every_open(facts: Facts) -> None:
    """A limited group is its own, the root and a session are the container, whoever has read before."""
    assert [200, 100, 200, 100, 100, 100, 100, 200] == facts["inside"]


def test_init_without_its_main_thread(facts: Facts) -> None:
    """A thread that lives is asked."""
    assert [100] == facts["leaderless"]


def test_init_in_the_root_cgroup(facts: Facts) -> None:
    """It sees the host, and hides nobody's limits."""
    assert [100, *facts["host"], 100] == facts["init in root"]


def test_group_that_is_called_deleted(facts: Facts) -> None:
    """No other group is taken for it."""
    assert [64] == facts["deleted"]
