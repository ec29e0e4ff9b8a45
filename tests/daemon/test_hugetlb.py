"""Huge pages of real containers, with the hugetlb controller."""

import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import pytest

from tests.support.capabilities import needing
from tests.support.cgroups import MIB, Cgroup, Limits
from tests.support.container import Container
from tests.support.daemon import Daemon
from tests.support.invariants import check_meminfo
from tests.support.readings import meminfo
from tests.support.session import Session
from tests.support.waiting import wait_for

_POOL: Final = Path("/sys/kernel/mm/hugepages/hugepages-2048kB/nr_hugepages")
_PAGE: Final = 2 * MIB
_NAMES: Final = ("HugePages_Total", "HugePages_Free", "HugePages_Rsvd", "HugePages_Surp", "Hugetlb")
#: MAP_PRIVATE, MAP_ANONYMOUS and MAP_HUGETLB of mmap(2).
_HUGE_MAPPING: Final = 0x2 | 0x20 | 0x40000
#: Joins a cgroup, maps that many huge pages and takes one at each line of input, with meminfo in between.
_MAP: Final = f"""
import mmap, pathlib, sys
pathlib.Path(sys.argv[1], "cgroup.procs").write_text("0")
huge = mmap.mmap(-1, int(sys.argv[2]) * {_PAGE}, flags={_HUGE_MAPPING})
print("mapped", flush=True)
for number, _ in enumerate(sys.stdin):
    huge[number * {_PAGE}] = 1
    print("taken", flush=True)
"""


@pytest.fixture
@needing("huge-pages")
def pool() -> Iterator[int]:
    """Return the number of huge pages that the host has, at least 16 for the test."""
    before = int(_POOL.read_text())
    _POOL.write_text(str(before + 16))
    try:
        yield int(_POOL.read_text())
    finally:
        _POOL.write_text(str(before))


@dataclass(frozen=True, slots=True)
class HugeGroup:
    """One cgroup of the hugetlb controller."""

    directory: Path

    def limit(self, pages: int | None) -> None:
        """Limit its 2 MiB pages."""
        v2 = self.directory / "hugetlb.2MB.max"
        file, none = (v2, "max") if v2.exists() else (self.directory / "hugetlb.2MB.limit_in_bytes", "-1")
        file.write_text(none if pages is None else str(pages * _PAGE))


@contextmanager
def v1_group(directory: Path) -> Iterator[HugeGroup]:
    """Make a group, and remove it once its processes have ended."""
    directory.mkdir()
    yield HugeGroup(directory)
    wait_for("processes end", lambda: not (directory / "cgroup.procs").read_text())
    directory.rmdir()


@pytest.fixture
def groups(
    machine: Session, new_directory: Callable[[str], Path], make_cgroup: Callable[..., Cgroup]
) -> Iterator[tuple[HugeGroup, HugeGroup, Cgroup]]:
    """Make a pod and a container in it, limited by the controller; the third is the container's other limits.

    Machines with cgroup v1 seldom have this hierarchy: it is mounted meanwhile.
    """
    pod = make_cgroup(Limits())
    own = make_cgroup(Limits(memory=100 * MIB), parent=pod)
    if own.layout.version("memory") == 2:
        yield HugeGroup(pod.path("hugetlb")), HugeGroup(own.path("hugetlb")), own
        return
    top = new_directory("hugetlb")
    subprocess.run(["mount", "-t", "cgroup", "-o", "hugetlb", "none", top], check=True)
    with ExitStack() as cleanup:
        # Whatever looks for hierarchies on this machine meanwhile may hold it.
        cleanup.callback(lambda: subprocess.run(["umount", "--lazy", top], check=True))
        huge_pod = cleanup.enter_context(v1_group(top / f"{machine.token}-huge"))
        yield huge_pod, cleanup.enter_context(v1_group(huge_pod.directory / "own")), own


def test_huge_pages(
    pool: int,
    groups: tuple[HugeGroup, HugeGroup, Cgroup],
    start_daemon: Callable[..., Daemon],
    make_container: Callable[..., Container],
) -> None:
    """HugePages and Hugetlb follow limits, reservations and use of the container, within the host's pool."""
    pod, own, group = groups
    daemon = start_daemon("--cache-ttl", "0")
    container = make_container(group, served=daemon.proc)
    (own.directory / "cgroup.procs").write_text(str(container.init_pid))
    join = f"echo 0 > {own.directory}/cgroup.procs; exec cat /proc/meminfo"

    def look() -> tuple[int, ...]:
        fields = check_meminfo(container.run("sh", "-c", join))
        return tuple(fields[name] for name in _NAMES)

    host = meminfo(Path("/proc/meminfo").read_text())
    free = host["HugePages_Free"] - host["HugePages_Rsvd"]
    assert (pool, free, 0, 0, min(pool * 2048, 100 * 1024)) == look()
    own.limit(6)
    assert (6, 6, 0, 0, 12288) == look()
    pod.limit(4)
    assert (4, 4, 0, 0, 8192) == look()
    with container.start(sys.executable, "-I", "-S", "-c", _MAP, str(own.directory), "3") as program:
        assert program.stdin is not None
        assert program.stdout is not None
        assert "mapped\n" == program.stdout.readline()
        assert (4, 4, 3, 0, 8192) == look()
        for left, reserved in ((3, 2), (2, 1)):
            print(file=program.stdin, flush=True)
            assert "taken\n" == program.stdout.readline()
            assert (4, left, reserved, 0, 8192) == look()
    assert (4, 4, 0, 0, 8192) == look()
    own.limit(None)
    pod.limit(None)
    assert (pool, free, 0, 0, min(pool * 2048, 100 * 1024)) == look()
    container.kill()
    daemon.stop()
