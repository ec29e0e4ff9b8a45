"""Render /proc/meminfo: memory as one container owns it (proc_meminfo(5)).

The host's own text is rewritten line by line, so order, width and unit are this kernel's. Each field is in
exactly one of three sets; a field in none is newer than this program, see `classify`.
"""

from collections.abc import Callable, Mapping
from enum import Enum
from operator import attrgetter
from typing import Final

from pylxcfs.view.host import HostSnapshot
from pylxcfs.view.memory import MemoryView
from pylxcfs.view.resources import ResourceView

_UNIT: Final = b" kB"

#: Field → bytes, or the number of pages where the field has no unit.
COMPUTED: Final[Mapping[bytes, Callable[[MemoryView], int]]] = {
    b"MemTotal": attrgetter("total"),
    b"MemFree": attrgetter("free"),
    b"MemAvailable": attrgetter("available"),
    b"Cached": attrgetter("cached"),
    b"SwapCached": attrgetter("swapcached"),
    b"Active": attrgetter("active"),
    b"Inactive": attrgetter("inactive"),
    b"Active(anon)": attrgetter("active_anon"),
    b"Inactive(anon)": attrgetter("inactive_anon"),
    b"Active(file)": attrgetter("active_file"),
    b"Inactive(file)": attrgetter("inactive_file"),
    b"Unevictable": attrgetter("unevictable"),
    b"SwapTotal": attrgetter("swap_total"),
    b"SwapFree": attrgetter("swap_free"),
    b"Dirty": attrgetter("dirty"),
    b"Writeback": attrgetter("writeback"),
    b"AnonPages": attrgetter("anon"),
    b"Mapped": attrgetter("mapped"),
    b"Shmem": attrgetter("shmem"),
    # The kernel adds the drivers' reclaimable memory to SReclaimable here; nobody counts that per cgroup.
    b"KReclaimable": attrgetter("slab_reclaimable"),
    b"Slab": attrgetter("slab"),
    b"SReclaimable": attrgetter("slab_reclaimable"),
    b"SUnreclaim": attrgetter("slab_unreclaimable"),
    b"AnonHugePages": attrgetter("anon_thp"),
    b"ShmemHugePages": attrgetter("shmem_thp"),
    b"FileHugePages": attrgetter("file_thp"),
    b"KernelStack": attrgetter("kernel_stack"),
    b"PageTables": attrgetter("pagetables"),
    b"SecPageTables": attrgetter("sec_pagetables"),
    b"Percpu": attrgetter("percpu"),
    b"Zswap": attrgetter("zswap"),
    b"Zswapped": attrgetter("zswapped"),
    b"CommitLimit": attrgetter("commit_limit"),
    b"VmallocUsed": attrgetter("vmalloc"),
    b"HugePages_Total": attrgetter("huge_pages.total"),
    b"HugePages_Free": attrgetter("huge_pages.free"),
    b"HugePages_Rsvd": attrgetter("huge_pages.reserved"),
    b"HugePages_Surp": attrgetter("huge_pages.surplus"),
    b"Hugetlb": attrgetter("hugetlb"),
}

#: No cgroup file answers these, and the host's value would tell of the host.
ZEROED: Final = frozenset(
    {
        b"Buffers",  # memory.stat counts block device buffers as file (cgroup-v2.rst).
        b"Mlocked",
        b"HighTotal",
        b"HighFree",
        b"LowTotal",
        b"LowFree",
        b"MmapCopy",
        b"ShadowCallStack",
        b"Quicklists",
        b"NFS_Unstable",
        b"Bounce",
        b"WritebackTmp",
        b"Committed_AS",
        b"VmallocChunk",
        b"EarlyMemtestBad",
        b"HardwareCorrupted",
        b"ShmemPmdMapped",
        b"FilePmdMapped",
        b"CmaTotal",
        b"CmaFree",
        b"Unaccepted",
        b"Balloon",
        b"GPUActive",
        b"GPUReclaim",
        b"DirectMap4k",
        b"DirectMap64k",
        b"DirectMap1M",
        b"DirectMap2M",
        b"DirectMap4M",
        b"DirectMap1G",
        b"DirectMap2G",
    }
)

#: Properties of the processor and its address space, the same for everybody on this machine.
HOST_WIDE: Final = frozenset({b"VmallocTotal", b"Hugepagesize"})


class Answer(Enum):
    """Where a field's number comes from."""

    COMPUTED = "computed"
    ZEROED = "zeroed"
    HOST_WIDE = "host-wide"


def classify(name: bytes) -> frozenset[Answer]:
    """Return the sets that hold field `name`; it should be exactly one."""
    holds = {Answer.COMPUTED: COMPUTED, Answer.ZEROED: ZEROED, Answer.HOST_WIDE: HOST_WIDE}
    return frozenset(answer for answer, names in holds.items() if name in names)


def render(view: ResourceView, host: HostSnapshot) -> bytes:
    """Return the host's meminfo with the container's numbers in place."""
    memory = view.memory
    lines = []
    for line in host.meminfo.split(b"\n"):
        name, _, cell = line.partition(b":")
        has_unit = cell.endswith(_UNIT)
        compute = COMPUTED.get(name)
        if compute is not None:
            value = compute(memory)
        elif name in HOST_WIDE or not (has_unit or name in ZEROED):
            # A field that is not known passes through unless it is an amount of memory.
            lines.append(line)
            continue
        else:
            value = 0
        # The first space is no part of the cell, or a number wider than the host's could touch its name.
        colon = b": " if cell.startswith(b" ") else b":"
        width = len(line) - len(name) - len(colon)
        if has_unit:
            lines.append(b"%b%b%*d kB" % (name, colon, width - len(_UNIT), value >> 10))
        else:
            lines.append(b"%b%b%*d" % (name, colon, width, value))
    return b"\n".join(lines)
