"""Numbers that the kernel uses again never lead to another container's data."""

import json
import subprocess
from collections.abc import Callable

import pytest

from tests.support.birthplace import births_command
from tests.support.cgroups import MIB, Cgroup, Limits
from tests.support.container import Container
from tests.support.daemon import Daemon
from tests.support.readings import meminfo

BIRTHS = 300


@pytest.mark.parametrize("mode", ["same-pid", "any-pid"])
def test_reused_numbers(
    make_cgroup: Callable[..., Cgroup], start_daemon: Callable[..., Daemon], mode: str
) -> None:
    """Containers with the pid, namespace numbers and cgroup names of dead ones see themselves at once."""
    # What is taken for another's stays so for long.
    daemon = start_daemon("--cache-ttl", "30")
    command = births_command(daemon.proc, BIRTHS, mode, make_cgroup(Limits()))
    report = json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout)
    assert report["wrong"] == []
    # What was to be provoked has happened.
    assert report["namespaces"] < report["births"]
    assert (report["pids"] == 1) == (mode == "same-pid")
    daemon.stop()


def test_mount_namespace_in_a_shared_pid_namespace(
    make_cgroup: Callable[..., Cgroup], make_container: Callable[..., Container]
) -> None:
    """A container in another's pid namespace, with the number of a mount namespace that was the other's."""
    first = make_container(Limits(memory=100 * MIB))
    second = make_cgroup(Limits(memory=200 * MIB))
    # Names the namespace first, so that the reader is the last to be seen in it.
    program = f"stat -Lc %i /proc/self/ns/mnt; cat {first.served}/meminfo"
    seen: dict[str, set[str]] = {first.group.name: set(), second.name: set()}

    def look(group: Cgroup) -> int:
        number, text = first.run("sh", "-c", program, group=group, own_mounts=True).split("\n", 1)
        seen[group.name].add(number)
        return meminfo(text)["MemTotal"] // 1024

    for _ in range(20):
        assert (100, 200) == (look(first.group), look(second))
    assert set.intersection(*seen.values())
