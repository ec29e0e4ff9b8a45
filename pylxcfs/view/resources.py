"""ResourceView: what one container owns. Every derived number and clamp is defined here."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, TypeVar

from pylxcfs.accounting.cpu_ledger import CpuTimes
from pylxcfs.accounting.hugepages import NO_HUGE_PAGES, HugePages
from pylxcfs.accounting.load_average import LoadView
from pylxcfs.cgroup.types import CpuSet, DeviceIo, DeviceNumber, MemoryStats

_Part = TypeVar("_Part")

_PAGE: Final = 4096
#: A limit below one page is real, but readers divide by MemTotal.
_SMALLEST_TOTAL: Final = _PAGE
#: ``value & _WHOLE_KIB`` rounds down to KiB. Files print kB, so sums must hold between whole KiB.
_WHOLE_KIB: Final = -1024


def _within(value: int | None, most: int) -> int:
    """Return `value` in whole KiB between 0 and `most`; 0 where the kernel has no such number."""
    if value is None or value <= 0:
        return 0
    return (most if value > most else value) & _WHOLE_KIB  # noqa: FURB136 - min() is slower


@dataclass(frozen=True, slots=True)
class MemoryView:
    """Memory and swap as the container owns them, in bytes, every property in whole KiB.

    memory.stat and memory.current are read one after the other and are exact only to the kernel's
    per-CPU batches, so no number is trusted to fit into another: parts are cut to what holds them.
    """

    stats: MemoryStats
    host_total: int
    host_swap_total: int
    show_swap: bool = True
    show_zswap: bool = True
    huge_pages: HugePages = NO_HUGE_PAGES
    #: The host's MemAvailable and SwapFree; None where it does not tell (MemAvailable: before Linux 3.14).
    host_available: int | None = None
    host_swap_free: int | None = None

    #: What the container may use: its limit, or the host's memory; never 0.
    total: int = field(init=False)
    #: What is charged to the container.
    usage: int = field(init=False)

    def __post_init__(self) -> None:
        """Work out the two numbers that all others are cut to."""
        limit = self.host_total if self.stats.max is None else self.stats.max
        total = max(min(limit, self.host_total), _SMALLEST_TOTAL) & _WHOLE_KIB
        object.__setattr__(self, "total", total)
        object.__setattr__(self, "usage", _within(self.stats.current, total))

    @property
    def free(self) -> int:
        """What it may still take before anything is reclaimed, its own or at a level above."""
        free = self.total - self.usage
        for level in self.stats.levels:
            free = min(free, level.free)
        return _within(free, self.available)

    @property
    def available(self) -> int:
        """What it may take without swapping: free memory, page cache and reclaimable slab.

        The least over its own cgroup, the limited ones above it, and the host (docs/adr/0025-levels.md).
        """
        reclaimable = self.active_file + self.inactive_file + self.slab_reclaimable
        available = self.total - self.usage + reclaimable
        for level in self.stats.levels:
            available = min(available, level.available)
        if self.host_available is not None:
            available = min(available, self.host_available)
        return _within(available, self.total)

    @property
    def cached(self) -> int:
        """Page cache, tmpfs and shared memory included."""
        return _within(self.stats.stat.file, self.usage)

    @property
    def shmem(self) -> int:
        """The part of the page cache that is tmpfs and shared memory."""
        return _within(self.stats.stat.shmem, self.cached)

    @property
    def mapped(self) -> int:
        """Page cache that is mapped into processes."""
        return _within(self.stats.stat.file_mapped, self.usage)

    @property
    def dirty(self) -> int:
        """Page cache that waits to be written."""
        return _within(self.stats.stat.file_dirty, self.usage)

    @property
    def writeback(self) -> int:
        """Page cache that is being written."""
        return _within(self.stats.stat.file_writeback, self.usage)

    @property
    def anon(self) -> int:
        """Anonymous memory, shared memory excluded."""
        return _within(self.stats.stat.anon, self.usage)

    @property
    def anon_thp(self) -> int:
        """The part of the anonymous memory that is in huge pages."""
        return _within(self.stats.stat.anon_thp, self.anon)

    @property
    def active_file(self) -> int:
        """Page cache on the active list."""
        return _within(self.stats.stat.active_file, self.usage)

    @property
    def inactive_file(self) -> int:
        """Page cache on the inactive list."""
        return _within(self.stats.stat.inactive_file, self.usage)

    @property
    def active_anon(self) -> int:
        """Anonymous and shared memory on the active list."""
        return _within(self.stats.stat.active_anon, self.usage - self.active_file)

    @property
    def inactive_anon(self) -> int:
        """Anonymous and shared memory on the inactive list."""
        return _within(self.stats.stat.inactive_anon, self.usage - self.inactive_file)

    @property
    def active(self) -> int:
        """Both active lists."""
        return self.active_anon + self.active_file

    @property
    def inactive(self) -> int:
        """Both inactive lists."""
        return self.inactive_anon + self.inactive_file

    @property
    def unevictable(self) -> int:
        """Memory that cannot be reclaimed, e.g. locked."""
        return _within(self.stats.stat.unevictable, self.usage)

    @property
    def slab_reclaimable(self) -> int:
        """Kernel objects that can be given back; with free and cached never above the total."""
        return _within(self.stats.stat.slab_reclaimable, self.usage - self.cached)

    @property
    def slab_unreclaimable(self) -> int:
        """Kernel objects that cannot be given back."""
        most = self.usage - self.cached - self.slab_reclaimable
        return _within(self.stats.stat.slab_unreclaimable, most)

    @property
    def slab(self) -> int:
        """All kernel objects."""
        return self.slab_reclaimable + self.slab_unreclaimable

    @property
    def shmem_thp(self) -> int:
        """The part of tmpfs and shared memory that is in huge pages."""
        return _within(self.stats.stat.shmem_thp, self.shmem)

    @property
    def file_thp(self) -> int:
        """The part of the page cache, tmpfs excluded, that is in huge pages."""
        return _within(self.stats.stat.file_thp, self.cached - self.shmem)

    @property
    def kernel_stack(self) -> int:
        """Kernel stacks of its threads."""
        return _within(self.stats.stat.kernel_stack, self.usage)

    @property
    def pagetables(self) -> int:
        """Page tables of its processes."""
        return _within(self.stats.stat.pagetables, self.usage)

    @property
    def sec_pagetables(self) -> int:
        """Page tables of its virtual machines and devices."""
        return _within(self.stats.stat.sec_pagetables, self.usage)

    @property
    def percpu(self) -> int:
        """Kernel objects that exist once for each CPU."""
        return _within(self.stats.stat.percpu, self.usage)

    @property
    def vmalloc(self) -> int:
        """Kernel memory that is mapped page by page."""
        return _within(self.stats.stat.vmalloc, self.usage)

    @property
    def hugetlb(self) -> int:
        """Huge pages of all sizes. They are no part of a memory limit, and may be more than it."""
        return _within(self.huge_pages.size_of_all, self.total)

    @property
    def zswap(self) -> int:
        """Memory taken by compressed swap."""
        return _within(self.stats.stat.zswap, self.usage) if self.show_zswap else 0

    @property
    def zswapped(self) -> int:
        """What is swapped out into that memory, before compression: a part of the swap used."""
        if not self.show_zswap:
            return 0
        return _within(_within(self.stats.stat.zswapped, self.swap_used), self.total)

    @property
    def swap_total(self) -> int:
        """Swap that the container may use; 0 where swap is hidden or the kernel does not account it."""
        if not (self.show_swap and self.stats.swap_accounted):
            return 0
        limit = self.stats.swap_max
        return _within(self.host_swap_total if limit is None else limit, self.host_swap_total)

    @property
    def swap_used(self) -> int:
        """Swap that it uses."""
        return _within(self.stats.swap_current, self.swap_total)

    @property
    def swap_free(self) -> int:
        """Swap that it may still use: the least over its own cgroup, the limited ones above, and the host."""
        free = self.swap_total - self.swap_used
        for level in self.stats.swap_levels:
            free = min(free, level.free)
        if self.host_swap_free is not None:
            free = min(free, self.host_swap_free)
        return _within(free, self.swap_total)

    @property
    def swapcached(self) -> int:
        """Memory that is in swap too; readers subtract it from the swap used."""
        swapcached = self.stats.stat.swapcached
        if not swapcached:
            return 0
        return _within(_within(swapcached, self.usage), self.swap_used)

    @property
    def commit_limit(self) -> int:
        """CommitLimit of a machine of this size with the default vm.overcommit_ratio of 50.

        The kernel counts in pages. Source: proc_meminfo(5) and Documentation/admin-guide/sysctl/vm.rst.
        """
        return (self.total // 2 & -_PAGE) + self.swap_total


@dataclass(frozen=True, slots=True)
class CpuView:
    """The visible CPUs, ascending, and the time of each."""

    times: Mapping[int, CpuTimes]
    #: What CPUs that are hidden now showed last: part of the sum, as in the kernel for CPUs that are offline.
    hidden: Mapping[int, CpuTimes] = field(default_factory=dict)

    @property
    def cpus(self) -> CpuSet:
        """The visible CPUs."""
        return CpuSet(self.times)


def _declared(part: _Part | None, name: str) -> _Part:
    if part is None:
        raise LookupError(name)
    return part


@dataclass(frozen=True, slots=True)
class ResourceView:
    """What one container owns; the only thing that renderers know about it.

    A part that the row did not declare is absent, and asking for it is an error.
    """

    uptime_usec: int
    memory_part: MemoryView | None = None
    cpu_part: CpuView | None = None
    io_part: Mapping[DeviceNumber, DeviceIo] | None = None
    load_part: LoadView | None = None
    pressure_part: bytes | None = None
    slab_part: bytes | None = None
    #: In place of `cpu_part` where no times are needed: they cost more than all the rest of such a file.
    cpus_part: CpuSet | None = None
    #: The visible CPUs by the kernel's numbers, where they are shown by others.
    kernel_cpus_part: CpuSet | None = None

    @property
    def memory(self) -> MemoryView:
        """Memory and swap; raises LookupError where the row did not declare them."""
        return _declared(self.memory_part, "memory")

    @property
    def cpu(self) -> CpuView:
        """The visible CPUs and their times; raises LookupError where the row did not declare them."""
        return _declared(self.cpu_part, "cpu")

    @property
    def cpus(self) -> CpuSet:
        """The visible CPUs alone; raises LookupError where the row did not declare them."""
        return self.cpu.cpus if self.cpus_part is None else self.cpus_part

    @property
    def kernel_cpus(self) -> CpuSet:
        """The visible CPUs by the kernel's numbers, in the order of `cpus`."""
        return self.cpus if self.kernel_cpus_part is None else self.kernel_cpus_part

    @property
    def io(self) -> Mapping[DeviceNumber, DeviceIo]:
        """Block I/O per device; raises LookupError where the row did not declare it."""
        return _declared(self.io_part, "io")

    @property
    def load(self) -> LoadView:
        """Load and tasks; raises LookupError where the row did not declare them."""
        return _declared(self.load_part, "load")

    @property
    def pressure(self) -> bytes:
        """One pressure file, empty without any; raises LookupError where the row did not declare it."""
        return _declared(self.pressure_part, "pressure")

    @property
    def slabinfo(self) -> bytes:
        """Caches of kernel objects, or nothing; raises LookupError where the row did not declare them."""
        return _declared(self.slab_part, "slabinfo")


#: A container that uses nothing; memory, CPUs and load always have numbers, and are not in it.
NOTHING_USED: Final = ResourceView(uptime_usec=0, io_part={}, pressure_part=b"", slab_part=b"")
