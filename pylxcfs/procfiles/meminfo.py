"""Render /proc/meminfo: memory as one container owns it (proc_meminfo(5)).

The host's own text is rewritten line by line, so order, width and unit are this kernel's. Each field is in
exactly one of three sets; a field in none is newer than this program, see `classify`.
"""

from collections.abc import Iterator, Mapping
from operator import attrgetter
from typing import Final

from pylxcfs.procfiles.field import Field, Part, Rule
from pylxcfs.view.formula import terms_of
from pylxcfs.view.host import HostSnapshot
from pylxcfs.view.memory import MemoryView
from pylxcfs.view.resources import ResourceView

_UNIT: Final = b" kB"

#: Field → the term of `MemoryView` that it shows: bytes, or a number of pages where the field has no unit.
COMPUTED: Final[Mapping[bytes, str]] = {
    b"MemTotal": "total",
    b"MemFree": "free",
    b"MemAvailable": "available",
    b"Cached": "cached",
    b"SwapCached": "swapcached",
    b"Active": "active",
    b"Inactive": "inactive",
    b"Active(anon)": "active_anon",
    b"Inactive(anon)": "inactive_anon",
    b"Active(file)": "active_file",
    b"Inactive(file)": "inactive_file",
    b"Unevictable": "unevictable",
    b"SwapTotal": "swap_total",
    b"SwapFree": "swap_free",
    b"Dirty": "dirty",
    b"Writeback": "writeback",
    b"AnonPages": "anon",
    b"Mapped": "mapped",
    b"Shmem": "shmem",
    # The kernel adds the drivers' reclaimable memory to SReclaimable here; nobody counts that per cgroup.
    b"KReclaimable": "slab_reclaimable",
    b"Slab": "slab",
    b"SReclaimable": "slab_reclaimable",
    b"SUnreclaim": "slab_unreclaimable",
    b"AnonHugePages": "anon_thp",
    b"ShmemHugePages": "shmem_thp",
    b"FileHugePages": "file_thp",
    b"KernelStack": "kernel_stack",
    b"PageTables": "pagetables",
    b"SecPageTables": "sec_pagetables",
    b"Percpu": "percpu",
    b"Zswap": "zswap",
    b"Zswapped": "zswapped",
    b"CommitLimit": "commit_limit",
    b"VmallocUsed": "vmalloc",
    b"HugePages_Total": "huge_total",
    b"HugePages_Free": "huge_free",
    b"HugePages_Rsvd": "huge_reserved",
    b"HugePages_Surp": "huge_surplus",
    b"Hugetlb": "hugetlb",
}

_UNCOUNTED: Final = "no cgroup counts it, and the host's value would tell of the host"
#: Field → why it reads 0.
ZEROED: Final[Mapping[bytes, str]] = {
    b"Buffers": "memory.stat counts buffers of block devices as file (cgroup-v2.rst)",
    **dict.fromkeys(
        (
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
        ),
        _UNCOUNTED,
    ),
}

#: Properties of the processor and its address space, the same for everybody on this machine.
HOST_WIDE: Final[Mapping[bytes, str]] = {
    b"VmallocTotal": "the size of a part of the kernel's address space",
    b"Hugepagesize": "the size of a huge page",
}
_GETTERS: Final = {name: attrgetter(term) for name, term in COMPUTED.items()}
_TERMS: Final = terms_of(MemoryView)


def classify(name: bytes) -> frozenset[Rule]:
    """Return the sets that hold field `name`; it should be exactly one."""
    holds = {Rule.COMPUTED: COMPUTED, Rule.ZERO: ZEROED, Rule.HOST_WIDE: HOST_WIDE}
    return frozenset(rule for rule, names in holds.items() if name in names)


def describe(name: bytes, *, has_unit: bool) -> Field:
    """Return how the field `name` is made; one that is not known is 0 if it is an amount of memory."""
    if name in COMPUTED:
        term = _TERMS[COMPUTED[name]]
        return Field(Rule.COMPUTED, term.words, term.formula, term=term.name)
    if name in ZEROED:
        return Field(Rule.ZERO, ZEROED[name])
    if name in HOST_WIDE:
        return Field(Rule.HOST_WIDE, HOST_WIDE[name])
    if has_unit:
        return Field(Rule.ZERO, "not known to this version, and an amount of memory")
    return Field(Rule.HOST_WIDE, "not known to this version, and no amount of memory")


def amount(memory: MemoryView, name: bytes) -> int:
    """Return what is shown of a field, bytes; 0 where nothing is computed."""
    getter = _GETTERS.get(name)
    return 0 if getter is None else int(getter(memory))


def split(text: bytes) -> Iterator[Part]:
    """Yield the fields of a meminfo."""
    for line in text.split(b"\n"):
        name, colon, cell = line.partition(b":")
        if colon:
            field = describe(name, has_unit=cell.endswith(_UNIT))
            yield Part(name.decode(errors="replace"), cell.strip().decode(errors="replace"), field)


def render(view: ResourceView, host: HostSnapshot) -> bytes:
    """Return the host's meminfo with the container's numbers in place."""
    memory = view.memory
    lines = []
    for line in host.meminfo.split(b"\n"):
        name, _, cell = line.partition(b":")
        has_unit = cell.endswith(_UNIT)
        compute = _GETTERS.get(name)
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
