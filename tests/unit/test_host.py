"""The host's files."""

import os
import time
from pathlib import Path

import pytest

from pylxcfs.accounting.hugepages import HugePool
from pylxcfs.linux.files import read_whole
from pylxcfs.view.host import HUGE_POOLS, ONLINE, HostReader


@pytest.fixture
def roots(tmp_path: Path) -> tuple[Path, Path]:
    """Return a /proc and a /sys of our own."""
    proc, cpu = tmp_path / "proc", tmp_path / "sys/devices/system/cpu"
    proc.mkdir()
    cpu.mkdir(parents=True)
    (cpu / "online").write_text("0-1,3\n")
    return proc, tmp_path / "sys"


@pytest.mark.parametrize("name", ["stat", "cpuinfo"])
def test_long_files_are_whole(roots: tuple[Path, Path], name: str) -> None:
    """A file longer than any one read is read whole, and anew each time."""
    reader = HostReader(*roots)
    for size in (1, 1 << 16, 300_001):
        (roots[0] / name).write_bytes(b"x" * size)
        assert size == len(reader.read(name))


def test_kernel_files_are_whole() -> None:
    """The kernel's own files are read to their end from any position."""
    fd = os.open("/proc/self/mountinfo", os.O_RDONLY)
    try:
        os.read(fd, 10)
        assert Path("/proc/self/mountinfo").read_bytes() == read_whole(fd)
    finally:
        os.close(fd)


def test_missing_file_is_empty(roots: tuple[Path, Path]) -> None:
    """A file that this kernel does not have is empty, and is looked for again."""
    reader = HostReader(*roots)
    assert b"" == reader.read("swaps")
    (roots[0] / "swaps").write_text("x")
    assert b"x" == reader.read("swaps")


def test_which_files_this_kernel_has(roots: tuple[Path, Path]) -> None:
    """Files of /proc, also in directories, and CPU lists are there or not."""
    (roots[0] / "pressure").mkdir()
    (roots[0] / "pressure/cpu").touch()
    reader = HostReader(*roots)
    names = ("pressure/cpu", "cpu/online", "pressure/irq", "slabinfo", "cpu/enabled")
    assert [True, True, False, False, False] == [reader.has(name) for name in names]


def test_cpu_lists(roots: tuple[Path, Path]) -> None:
    """The host's CPU lists are read by name, those that it has; without the online ones nothing works."""
    (roots[1] / "devices/system/cpu/possible").write_text("0-7\n")
    reader = HostReader(*roots)
    assert [b"0-1,3\n", b"0-7\n", b""] == [reader.read(f"cpu/{n}") for n in ("online", "possible", "enabled")]
    (roots[1] / "devices/system/cpu/online").unlink()
    with pytest.raises(FileNotFoundError):
        HostReader(*roots)


def test_snapshot(roots: tuple[Path, Path]) -> None:
    """A snapshot has what was asked for and nothing else."""
    (roots[0] / "meminfo").write_text("m")
    (roots[0] / "stat").write_text("s")
    snapshot = HostReader(*roots).snapshot(("meminfo", ONLINE))
    assert (b"m", b"", (0, 1, 3)) == (snapshot.meminfo, snapshot.stat, snapshot.online)
    assert 0 < snapshot.boottime_usec


def test_hotplug(roots: tuple[Path, Path]) -> None:
    """A CPU that was switched on or off shows in the next snapshot."""
    reader = HostReader(*roots)
    assert (0, 1, 3) == reader.snapshot((ONLINE,)).online
    (roots[1] / "devices/system/cpu/online").write_text("0-3\n")
    assert (0, 1, 2, 3) == reader.snapshot((ONLINE,)).online


def test_huge_pools(roots: tuple[Path, Path]) -> None:
    """The pools of all sizes that have pages are read anew each time, and only where they are asked for."""
    sizes = {"hugepages-2048kB": (3, 2, 1), "hugepages-1048576kB": (0, 0, 0)}
    for size, numbers in sizes.items():
        pool = roots[1] / "kernel/mm/hugepages" / size
        pool.mkdir(parents=True)
        for name, number in zip(("nr_hugepages", "free_hugepages", "resv_hugepages"), numbers, strict=True):
            (pool / name).write_text(f"{number}\n")
    reader = HostReader(*roots)
    assert {2 << 20: HugePool(3, 2, 1)} == reader.snapshot((HUGE_POOLS,)).huge_pools
    assert {} == reader.snapshot(("meminfo", ONLINE)).huge_pools
    (pool / "nr_hugepages").write_text("1\n")
    assert {2 << 20: HugePool(3, 2, 1), 1 << 30: HugePool(1, 0, 0)} == reader.snapshot(
        (HUGE_POOLS,)
    ).huge_pools


def test_clock() -> None:
    """The time since boot in whole microseconds, suspend included (CLOCK_BOOTTIME)."""
    host = HostReader(Path("/proc"), Path("/sys"))
    before = time.clock_gettime_ns(time.CLOCK_BOOTTIME) // 1000
    now = host.snapshot([]).boottime_usec
    assert before <= now <= time.clock_gettime_ns(time.CLOCK_BOOTTIME) // 1000
    os.close(host.proc_fd)
