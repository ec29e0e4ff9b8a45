"""``--cpu-numbering compact`` in real containers."""

from collections.abc import Callable

import pytest

from tests.support.cgroups import Limits
from tests.support.container import Container
from tests.support.cpus import bind_cpu_tree, look, machine_with
from tests.support.daemon import Daemon
from tests.support.invariants import check_stat
from tests.support.readings import cpuinfo_cpus, total_time


@pytest.mark.needs("two-cpus")
@pytest.mark.parametrize(
    "limits,count",
    [(Limits(cpus="1"), 1), (Limits(cpus="0-1"), 2), (Limits(cpus="1", cpu_quota=0.5), 1)],
    ids=["second", "both", "quota"],
)
def test_all_count_from_0(
    start_daemon: Callable[..., Daemon],
    make_container: Callable[..., Container],
    limits: Limits,
    count: int,
) -> None:
    """Lists, directories, glibc, cpuinfo and stat agree; the time is that of the CPU that it runs on."""
    daemon = start_daemon("--cpu-numbering", "compact", "--cache-ttl", "0")
    container = make_container(limits, served=daemon.proc)
    bind_cpu_tree(container, daemon)
    expected = list(range(count))
    assert machine_with(*expected) == look(container)
    assert expected == cpuinfo_cpus(container.read("cpuinfo"))
    cpus = check_stat(container.read("stat"))
    assert {"cpu", *(f"cpu{cpu}" for cpu in expected)} == cpus.keys()
    assert total_time(cpus["cpu0"]) > 0
