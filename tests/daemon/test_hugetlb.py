"""Huge pages of real containers, with the hugetlb controller on cgroup v1."""

import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Final

import pytest

from tests.support.capabilities import needing
from tests.support.cgroups import MIB, Limits
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


class HugeGroup:
    """One cgroup of the hugetlb controller."""

    def __init__(self, directory: Path) -> None:
        """Create it."""
        self.directory = directory
        directory.mkdir()

    def limit(self, pages: int | None) -> None:
        """Limit its 2 MiB pages."""
        text = "-1" if pages is None else str(pages * _PAGE)
        (self.directory / "hugetlb.2MB.limit_in_bytes").write_text(text)

    def remove(self) -> None:
        """Remove it once its processes have ended."""
        wait_for("processes end", lambda: not (self.directory / "cgroup.procs").read_text())
        self.directory.rmdir()


@pytest.fixture
def groups(machine: Session, new_directory: Callable[[str], Path]) -> Iterator[tuple[HugeGroup, HugeGroup]]:
    """Mount the controller's hierarchy, and make a pod and a container in it."""
    top = new_directory("hugetlb")
    subprocess.run(["mount", "-t", "cgroup", "-o", "hugetlb", "none", top], check=True)
    with ExitStack() as cleanup:
        # Whatever looks for hierarchies on this machine meanwhile may hold it.
        cleanup.callback(lambda: subprocess.run(["umount", "--lazy", top], check=True))
        pod = HugeGroup(top / f"{machine.token}-huge")
        cleanup.callback(pod.remove)
        own = HugeGroup(pod.directory / "own")
        cleanup.callback(own.remove)
        yield pod, own


def test_huge_pages(
    pool: int,
    groups: tuple[HugeGroup, HugeGroup],
    start_daemon: Callable[..., Daemon],
    make_container: Callable[..., Container],
) -> None:
    """HugePages and Hugetlb follow limits, reservations and use of the container, within the host's pool."""
    pod, own = groups
    daemon = start_daemon("--cache-ttl", "0")
    container = make_container(Limits(memory=100 * MIB), served=daemon.proc)
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
