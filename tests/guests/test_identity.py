"""Who is taken for whom on cgroup v2 alone and on hybrid hosts, by a kernel that names no init (6.1)."""

import json
from pathlib import Path

import pytest

from tests.support.guest import UML, run_in_guest

Facts = dict[str, list[int]]


@pytest.fixture(scope="module", params=["v2", "hybrid"])
def facts(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Facts:
    """Return the MiB that everybody saw."""
    program = Path(__file__).parent / "identity_guest.py"
    machine = (*UML, "-c", request.param)
    seen: Facts = json.loads(run_in_guest(tmp_path_factory.mktemp("identity"), program, machine=machine))
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
