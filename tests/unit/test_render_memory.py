"""meminfo and swaps."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from pylxcfs.cgroup.types import MemoryStat, MemoryStats
from pylxcfs.procfiles import meminfo, swaps
from pylxcfs.procfiles.meminfo import classify
from pylxcfs.view.host import HostSnapshot
from pylxcfs.view.memory import MemoryView
from pylxcfs.view.resources import ResourceView

CAPTURES = Path(__file__).parent / "captures"
NAMES = sorted(
    {
        line.partition(b":")[0]
        for capture in CAPTURES.glob("*/proc/meminfo")
        for line in capture.read_bytes().splitlines()
    }
)
KIB = 1024


def swap_view(total_kib: int, used_kib: int) -> ResourceView:
    """Return a container with that much swap."""
    stats = MemoryStats(0, None, used_kib * KIB, None, swap_accounted=True, stat=MemoryStat())
    return ResourceView(0, MemoryView(stats, 1 << 30, total_kib * KIB))


@pytest.mark.parametrize("name", NAMES)
def test_each_field_has_one_source(name: bytes) -> None:
    """Each field of each captured machine is computed, zeroed or host-wide, and only one of them."""
    assert len(classify(name)) == 1


@pytest.mark.parametrize("name", [b"EarlyMemtestBad", b"Unaccepted", b"Balloon", b"GPUActive", b"GPUReclaim"])
def test_fields_of_the_newest_kernels(name: bytes) -> None:
    """Fields that only Documentation/filesystems/proc.rst tells of have one source too."""
    assert len(classify(name)) == 1


def test_unknown_field_is_in_no_set() -> None:
    """A field of a newer kernel is recognised as unknown."""
    assert classify(b"MemTotals") == frozenset()


@pytest.mark.parametrize(
    "line, expected",
    [
        (b"Brandnew:       12345 kB\n", b"Brandnew:           0 kB\n"),
        (b"Brandnew_Count:     7\n", b"Brandnew_Count:     7\n"),
        (b"HugePages_Total:       8\n", b"HugePages_Total:      30\n"),
        (b"HugePages_Free:       8\n", b"HugePages_Free:      20\n"),
        (b"HugePages_Rsvd:       8\n", b"HugePages_Rsvd:       5\n"),
        (b"HugePages_Surp:       8\n", b"HugePages_Surp:       0\n"),
        (b"Hugetlb:           16384 kB\n", b"Hugetlb:           65536 kB\n"),
        (b"Hugepagesize:       2048 kB\n", b"Hugepagesize:       2048 kB\n"),
        (b"MemTotal: 1 kB\n", b"MemTotal: 524288 kB\n"),
        (b"MemTotal:1 kB\n", b"MemTotal:524288 kB\n"),
        (b"MemTotal:       32796168 kB\n", b"MemTotal:         524288 kB\n"),
        (b"no field at all\n", b"no field at all\n"),
        (b"", b""),
    ],
)
def test_line(line: bytes, expected: bytes, container: ResourceView) -> None:
    """A line keeps its width; unknown amounts of memory read 0, unknown counts pass through."""
    assert meminfo.render(container, HostSnapshot(meminfo=line)) == expected


def test_no_amount_exceeds_the_total(container: ResourceView, capture: Callable[[str], HostSnapshot]) -> None:
    """Nothing but the address space is larger than the container's memory."""
    for machine in (path.parent.parent for path in CAPTURES.glob("*/proc/meminfo")):
        fields = {
            line.split(b":")[0]: int(line.split()[1])
            for line in meminfo.render(container, capture(machine.name)).splitlines()
        }
        total = fields.pop(b"MemTotal")
        assert max(value for name, value in fields.items() if not name.startswith((b"Vm", b"Com"))) <= total


@pytest.mark.parametrize(
    "total, used, line",
    [
        (1024, 24, b"virtual\t\t1024\t\t24\t\t-2\n"),
        (10_000_000, 9_999_999, b"virtual\t\t10000000\t9999999\t\t-2\n"),
        (20_000_000, 10_000_000, b"virtual\t\t20000000\t10000000\t-2\n"),
    ],
)
def test_swap_line(total: int, used: int, line: bytes) -> None:
    """The columns are padded as the kernel pads them."""
    header, area = swaps.render(swap_view(total, used), HostSnapshot()).splitlines(keepends=True)
    assert header == b"Filename\t\t\t\tType\t\tSize\t\tUsed\t\tPriority\n"
    assert area == b"none" + b" " * 36 + line


def test_swap_header_is_the_kernels() -> None:
    """Whatever header this kernel has stays, and the host's areas do not."""
    host = HostSnapshot(swaps=b"Filename\tType\n/dev/sda2 partition\t1\t1\t-2\n")
    assert swaps.render(swap_view(0, 0), host) == b"Filename\tType\n"


def test_hidden_swap_has_no_line(container: ResourceView) -> None:
    """Hidden swap is an empty table."""
    hidden = replace(container, memory_part=replace(container.memory, show_swap=False))
    assert swaps.render(hidden, HostSnapshot()).count(b"\n") == 1
