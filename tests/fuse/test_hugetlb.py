"""Huge pages of real containers, with the hugetlb controller on cgroup v1 and on v2."""

import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Final

import pytest

from tests.machine.cgroups import MIB, Limits
from tests.machine.container import Container
from tests.machine.daemon import Daemon
from tests.machine.readings import check_meminfo, meminfo
from tests.machine.session import Session
from tests.machine.waiting import wait_for

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
def pool() -> Iterator[int]:
    """Return the number of huge pages that the host has, at least 16 for the test."""
    before = int(_POOL.read_text())
    _POOL.write_text(str(before + 16))
    try:
        yield int(_POOL.read_text())
    finally:
        _POOL.write_text(str(before))


def _mount(kind: Sequence[str], top: Path) -> None:
    subprocess.run(["mount", "-t", *kind, "none", top], check=True)


def _released(kind: Sequence[str], top: Path) -> bool:
    """Unmount; a v1 hierarchy gives its controller back only if no group in it was still being removed."""
    subprocess.run(["umount", top], check=True)
    lines = Path("/proc/cgroups").read_text().splitlines()
    if "0" == next(line.split()[1] for line in lines if line.startswith("hugetlb")):
        return True
    _mount(kind, top)
    return False


class HugeGroup:
    """One cgroup of the hugetlb controller, by the names of v2's files."""

    def __init__(self, directory: Path, version: str) -> None:
        """Create it."""
        self.directory = directory
        self._version = version
        directory.mkdir()

    def limit(self, pages: int | None) -> None:
        """Limit its 2 MiB pages."""
        name = "limit_in_bytes" if self._version == "v1" else "max"
        unlimited = "-1" if self._version == "v1" else "max"
        text = unlimited if pages is None else str(pages * _PAGE)
        (self.directory / f"hugetlb.2MB.{name}").write_text(text)


@pytest.fixture(params=["v1", "v2"])
def groups(
    request: pytest.FixtureRequest, machine: Session, new_directory: Callable[[str], Path]
) -> Iterator[tuple[HugeGroup, HugeGroup]]:
    """Mount the hierarchy that has the controller, and make a pod and a container in it."""
    top = new_directory("hugetlb")
    v1 = request.param == "v1"
    kind = ("cgroup", "-o", "hugetlb") if v1 else ("cgroup2",)
    _mount(kind, top)
    control = top / "cgroup.subtree_control"
    pod = None
    try:
        if not v1:
            control.write_text("+hugetlb")
        pod = HugeGroup(top / f"{machine.token}-huge", request.param)
        if not v1:
            (pod.directory / "cgroup.subtree_control").write_text("+hugetlb")
        yield pod, HugeGroup(pod.directory / "own", request.param)
    finally:
        if pod is not None:
            own = pod.directory / "own"
            if own.exists():
                wait_for("processes end", lambda: not (own / "cgroup.procs").read_text())
                own.rmdir()
            pod.directory.rmdir()
        if not v1:
            control.write_text("-hugetlb")
        wait_for("controller is given back", lambda: _released(kind, top))


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
