"""Machines of many CPUs, some of them offline or absent: made up, under a real daemon and real containers."""

from collections.abc import Callable, Iterable
from pathlib import Path

import pytest

from pylxcfs.cgroup.types import CpuSet
from tests.support.cgroups import Cgroup, Limits
from tests.support.container import Container
from tests.support.cpus import bind_cpu_tree, look, machine_with
from tests.support.daemon import Daemon
from tests.support.invariants import check_stat
from tests.support.manycpus import SeemingCpus
from tests.support.readings import cpuinfo_cpus

HUGE = SeemingCpus.all_of(64)
#: A machine with room for CPUs, and one that was taken offline.
SPARSE = SeemingCpus(online=CpuSet((0, 1, 3)), present=CpuSet(range(4)), possible=CpuSet(range(128)))


#: A CPU set and a quota.
Case = tuple[str, float | None]
RunOn = Callable[[SeemingCpus, Iterable[Case]], dict[Case, Container]]


@pytest.fixture
def run_on(
    start_daemon: Callable[..., Daemon],
    make_cgroup: Callable[..., Cgroup],
    make_container: Callable[..., Container],
    new_directory: Callable[[str], Path],
) -> RunOn:
    """Run containers side by side on a machine that seems to have other CPUs."""

    def run(seeming: SeemingCpus, cases: Iterable[Case]) -> dict[Case, Container]:
        groups = {case: make_cgroup(Limits(cpu_quota=case[1])) for case in cases}
        shared = new_directory("many")
        (shared / "mount").mkdir()
        cpusets = {group: cpus for (cpus, _), group in groups.items()}
        within = seeming.entering(new_directory("cpus"), shared, cpusets)
        daemon = start_daemon(mount_point=shared / "mount", within=within)
        containers = {case: make_container(group, served=daemon.proc) for case, group in groups.items()}
        for container in containers.values():
            bind_cpu_tree(container, daemon)
        return containers

    return run


@pytest.mark.needs("cpuset")
@pytest.mark.parametrize(
    "seeming, cases",
    [
        (
            HUGE,
            {
                ("3,17,40-47", None): [3, 17, *range(40, 48)],
                ("3,17,40-47", 2.5): [3, 17, 40],
                ("0-63", None): list(range(64)),
                ("0-63", 33): list(range(33)),
                ("63", 0.1): [63],
            },
        ),
        (
            SPARSE,
            {
                ("0-1,3", None): [0, 1, 3],
                ("3", None): [3],
                ("0-1,3", 2): [0, 1],
                # What cgroup v1 may say for a moment after a CPU was taken offline.
                ("1-3", None): [1, 3],
                ("2", None): [0, 1, 3],
            },
        ),
    ],
    ids=["64", "sparse"],
)
def test_all_name_the_same_cpus(seeming: SeemingCpus, cases: dict[Case, list[int]], run_on: RunOn) -> None:
    """In each container cpuinfo, stat, lists, directories and glibc agree: its CPU set, cut to the quota."""
    for case, container in run_on(seeming, cases).items():
        expected = cases[case]
        assert machine_with(*expected) == look(container, below=130), case
        assert expected == cpuinfo_cpus(container.read("cpuinfo")), case
        assert {"cpu", *(f"cpu{cpu}" for cpu in expected)} == check_stat(container.read("stat")).keys(), case
