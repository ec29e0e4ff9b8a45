"""Captures of machines, golden bytes, and one container to render."""

from collections.abc import Callable
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest

from pylxcfs.accounting.cpu_ledger import Sample, open_ledger
from pylxcfs.accounting.hugepages import HugePages
from pylxcfs.accounting.load_average import Averages, LoadView
from pylxcfs.cgroup.types import CpuMax, CpuSet, CpuTime, DeviceIo, DeviceNumber, MemoryStat, MemoryStats
from pylxcfs.view.host import HostSnapshot
from pylxcfs.view.memory import MemoryView
from pylxcfs.view.resources import CpuView, ResourceView

TESTS = Path(__file__).parent
CAPTURES = TESTS / "captures"
GOLDEN = TESTS / "golden"
MIB = 1 << 20


def load(machine: str) -> HostSnapshot:
    """Return what a captured machine says of itself."""
    top = CAPTURES / machine / "proc"
    names = {field.name: field.name.replace("_", "/") for field in fields(HostSnapshot)}
    files: dict[str, Any] = {
        field: (top / name).read_bytes() for field, name in names.items() if (top / name).is_file()
    }
    return HostSnapshot(**files, boottime_usec=5_000_000_000, online=CpuSet({0, 1}))


@pytest.fixture
def capture() -> Callable[[str], HostSnapshot]:
    """Return the function that loads a captured machine."""
    return load


@pytest.fixture
def golden(request: pytest.FixtureRequest) -> Callable[[str, bytes], None]:
    """Return the function that compares bytes with the golden file of that name."""

    def check(name: str, content: bytes) -> None:
        path = GOLDEN / name
        if request.config.getoption("--update-golden"):
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
        assert path.read_bytes() == content

    return check


@pytest.fixture
def container() -> ResourceView:
    """Return a container with 512 MiB of memory, as much swap, and a quota of one and a half CPUs."""
    stat = MemoryStat(
        file=100 * MIB,
        anon=60 * MIB,
        shmem=8 * MIB,
        file_mapped=20 * MIB,
        file_dirty=3 * MIB,
        file_writeback=1 * MIB,
        swapcached=1 * MIB,
        anon_thp=4 * MIB,
        active_anon=30 * MIB,
        inactive_anon=38 * MIB,
        active_file=50 * MIB,
        inactive_file=42 * MIB,
        unevictable=2 * MIB,
        slab_reclaimable=12 * MIB,
        slab_unreclaimable=5 * MIB,
        file_thp=6 * MIB,
        shmem_thp=2 * MIB,
        kernel_stack=3 * MIB,
        pagetables=7 * MIB,
        sec_pagetables=1 * MIB,
        percpu=9 * MIB,
        vmalloc=3 * MIB,
        zswap=4 * MIB,
        zswapped=10 * MIB,
    )
    memory = MemoryStats(200 * MIB, 512 * MIB, 30 * MIB, 512 * MIB, swap_accounted=True, stat=stat)
    sample = Sample(
        uptime_usec=1_000_000_123,
        visible=CpuSet({0, 1}),
        used={0: CpuTime(300_000_000, 20_000_000), 1: CpuTime(7_777_777, 1_234_567)},
        quota=CpuMax(150_000, 100_000),
    )
    return ResourceView(
        load_part=LoadView(Averages(3061, 1054, 20), running=2, blocked=1, total=37, last_pid=412),
        uptime_usec=sample.uptime_usec,
        memory_part=MemoryView(
            memory,
            host_total=16384 * MIB,
            host_swap_total=2048 * MIB,
            huge_pages=HugePages(total=30, free=20, reserved=5, size_of_all=64 * MIB),
        ),
        cpu_part=CpuView(open_ledger(sample).times),
        io_part={
            DeviceNumber(8, 0): DeviceIo(1 << 20, 4096, 20, 1, 512, 3),
            DeviceNumber(254, 0): DeviceIo(1 << 20, 4096, 20, 1, 512, 3),
            DeviceNumber(7, 0): DeviceIo(),
        },
        pressure_part=b"",
        slab_part=b"",
    )
