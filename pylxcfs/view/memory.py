"""MemoryView: memory and swap as one container owns them. Every derived number and clamp is defined here."""

from dataclasses import dataclass, field
from typing import Final

from pylxcfs.accounting.hugepages import NO_HUGE_PAGES, HugePages
from pylxcfs.cgroup.types import MemoryStats
from pylxcfs.view.formula import declared, formula

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


def _least(first: int, *others: int | None) -> int:
    """Return the smallest number; None is no bound."""
    for other in others:
        if other is not None and other < first:
            first = other
    return first


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

    total: int = field(
        init=False,
        metadata=declared(
            "max(min(limit, host_total), 4096)",
            "What the container may use: its limit, or the host's memory.",
        ),
    )
    usage: int = field(
        init=False, metadata=declared("min(current, total)", "What is charged to the container.")
    )

    def __post_init__(self) -> None:
        """Work out the two numbers that all others are cut to."""
        limit = self.host_total if self.stats.max is None else self.stats.max
        total = max(min(limit, self.host_total), _SMALLEST_TOTAL) & _WHOLE_KIB
        object.__setattr__(self, "total", total)
        object.__setattr__(self, "usage", _within(self.stats.current, total))

    @property
    @formula("min(total - usage, levels_free, available)")
    def free(self) -> int:
        """What it may still take before anything is reclaimed, its own or at a level above."""
        free = self.total - self.usage
        return _within(_least(free, self.levels_free), self.available)

    @property
    @formula(
        "min(total - usage + active_file + inactive_file + slab_reclaimable, "
        "levels_available, host_available, total)"
    )
    def available(self) -> int:
        """What it may take without swapping: free memory, page cache and reclaimable slab.

        The least over its own cgroup, the limited ones above it, and the host (docs/adr/0025-levels.md).
        """
        reclaimable = self.active_file + self.inactive_file + self.slab_reclaimable
        available = self.total - self.usage + reclaimable
        return _within(_least(available, self.levels_available, self.host_available), self.total)

    @property
    @formula("min(level.max - level.current for level in levels)")
    def levels_free(self) -> int | None:
        """The least that a limited cgroup above has left before anything is reclaimed; None without any."""
        return min((level.free for level in self.stats.levels), default=None)

    @property
    @formula("min(level.max - level.current + level.reclaimable for level in levels)")
    def levels_available(self) -> int | None:
        """The least that a limited cgroup above has left with what can be reclaimed; None without any."""
        return min((level.available for level in self.stats.levels), default=None)

    @property
    @formula("min(stat.file, usage)")
    def cached(self) -> int:
        """Page cache, tmpfs and shared memory included."""
        return _within(self.stats.stat.file, self.usage)

    @property
    @formula("min(stat.shmem, cached)")
    def shmem(self) -> int:
        """The part of the page cache that is tmpfs and shared memory."""
        return _within(self.stats.stat.shmem, self.cached)

    @property
    @formula("min(stat.file_mapped, usage)")
    def mapped(self) -> int:
        """Page cache that is mapped into processes."""
        return _within(self.stats.stat.file_mapped, self.usage)

    @property
    @formula("min(stat.file_dirty, usage)")
    def dirty(self) -> int:
        """Page cache that waits to be written."""
        return _within(self.stats.stat.file_dirty, self.usage)

    @property
    @formula("min(stat.file_writeback, usage)")
    def writeback(self) -> int:
        """Page cache that is being written."""
        return _within(self.stats.stat.file_writeback, self.usage)

    @property
    @formula("min(stat.anon, usage)")
    def anon(self) -> int:
        """Anonymous memory, shared memory excluded."""
        return _within(self.stats.stat.anon, self.usage)

    @property
    @formula("min(stat.anon_thp, anon)")
    def anon_thp(self) -> int:
        """The part of the anonymous memory that is in huge pages."""
        return _within(self.stats.stat.anon_thp, self.anon)

    @property
    @formula("min(stat.active_file, usage)")
    def active_file(self) -> int:
        """Page cache on the active list."""
        return _within(self.stats.stat.active_file, self.usage)

    @property
    @formula("min(stat.inactive_file, usage)")
    def inactive_file(self) -> int:
        """Page cache on the inactive list."""
        return _within(self.stats.stat.inactive_file, self.usage)

    @property
    @formula("min(stat.active_anon, usage - active_file)")
    def active_anon(self) -> int:
        """Anonymous and shared memory on the active list."""
        return _within(self.stats.stat.active_anon, self.usage - self.active_file)

    @property
    @formula("min(stat.inactive_anon, usage - inactive_file)")
    def inactive_anon(self) -> int:
        """Anonymous and shared memory on the inactive list."""
        return _within(self.stats.stat.inactive_anon, self.usage - self.inactive_file)

    @property
    @formula("active_anon + active_file")
    def active(self) -> int:
        """Both active lists."""
        return self.active_anon + self.active_file

    @property
    @formula("inactive_anon + inactive_file")
    def inactive(self) -> int:
        """Both inactive lists."""
        return self.inactive_anon + self.inactive_file

    @property
    @formula("min(stat.unevictable, usage)")
    def unevictable(self) -> int:
        """Memory that cannot be reclaimed, e.g. locked."""
        return _within(self.stats.stat.unevictable, self.usage)

    @property
    @formula("min(stat.slab_reclaimable, usage - cached)")
    def slab_reclaimable(self) -> int:
        """Kernel objects that can be given back; with free and cached never above the total."""
        return _within(self.stats.stat.slab_reclaimable, self.usage - self.cached)

    @property
    @formula("min(stat.slab_unreclaimable, usage - cached - slab_reclaimable)")
    def slab_unreclaimable(self) -> int:
        """Kernel objects that cannot be given back."""
        most = self.usage - self.cached - self.slab_reclaimable
        return _within(self.stats.stat.slab_unreclaimable, most)

    @property
    @formula("slab_reclaimable + slab_unreclaimable")
    def slab(self) -> int:
        """All kernel objects."""
        return self.slab_reclaimable + self.slab_unreclaimable

    @property
    @formula("min(stat.shmem_thp, shmem)")
    def shmem_thp(self) -> int:
        """The part of tmpfs and shared memory that is in huge pages."""
        return _within(self.stats.stat.shmem_thp, self.shmem)

    @property
    @formula("min(stat.file_thp, cached - shmem)")
    def file_thp(self) -> int:
        """The part of the page cache, tmpfs excluded, that is in huge pages."""
        return _within(self.stats.stat.file_thp, self.cached - self.shmem)

    @property
    @formula("min(stat.kernel_stack, usage)")
    def kernel_stack(self) -> int:
        """Kernel stacks of its threads."""
        return _within(self.stats.stat.kernel_stack, self.usage)

    @property
    @formula("min(stat.pagetables, usage)")
    def pagetables(self) -> int:
        """Page tables of its processes."""
        return _within(self.stats.stat.pagetables, self.usage)

    @property
    @formula("min(stat.sec_pagetables, usage)")
    def sec_pagetables(self) -> int:
        """Page tables of its virtual machines and devices."""
        return _within(self.stats.stat.sec_pagetables, self.usage)

    @property
    @formula("min(stat.percpu, usage)")
    def percpu(self) -> int:
        """Kernel objects that exist once for each CPU."""
        return _within(self.stats.stat.percpu, self.usage)

    @property
    @formula("min(stat.vmalloc, usage)")
    def vmalloc(self) -> int:
        """Kernel memory that is mapped page by page."""
        return _within(self.stats.stat.vmalloc, self.usage)

    @property
    @formula("huge_pages.total")
    def huge_total(self) -> int:
        """Huge pages of the default size that it may use: its limit in pages, at most the host's pool."""
        return self.huge_pages.total

    @property
    @formula("huge_pages.free")
    def huge_free(self) -> int:
        """Of those, what it has not taken, at most what is free on the host or promised to it."""
        return self.huge_pages.free

    @property
    @formula("huge_pages.reserved")
    def huge_reserved(self) -> int:
        """Huge pages that are promised to it and not taken yet."""
        return self.huge_pages.reserved

    @property
    @formula("huge_pages.surplus")
    def huge_surplus(self) -> int:
        """Huge pages beyond the pool: they belong to the host, whoever uses them."""
        return self.huge_pages.surplus

    @property
    @formula("min(huge_pages.size_of_all, total)")
    def hugetlb(self) -> int:
        """Huge pages of all sizes. They are no part of a memory limit, and may be more than it."""
        return _within(self.huge_pages.size_of_all, self.total)

    @property
    @formula("min(stat.zswap, usage) if show_zswap else 0")
    def zswap(self) -> int:
        """Memory taken by compressed swap."""
        return _within(self.stats.stat.zswap, self.usage) if self.show_zswap else 0

    @property
    @formula("min(stat.zswapped, swap_used, total) if show_zswap else 0")
    def zswapped(self) -> int:
        """What is swapped out into that memory, before compression: a part of the swap used."""
        if not self.show_zswap:
            return 0
        return _within(_within(self.stats.stat.zswapped, self.swap_used), self.total)

    @property
    @formula("min(swap_limit, host_swap_total) if show_swap and swap_accounted else 0")
    def swap_total(self) -> int:
        """Swap that the container may use; 0 where swap is hidden or the kernel does not account it."""
        if not (self.show_swap and self.stats.swap_accounted):
            return 0
        limit = self.stats.swap_max
        return _within(self.host_swap_total if limit is None else limit, self.host_swap_total)

    @property
    @formula("min(swap_current, swap_total)")
    def swap_used(self) -> int:
        """Swap that it uses."""
        return _within(self.stats.swap_current, self.swap_total)

    @property
    @formula("min(swap_total - swap_used, levels_swap_free, host_swap_free)")
    def swap_free(self) -> int:
        """Swap that it may still use: the least over its own cgroup, the limited ones above, and the host."""
        free = self.swap_total - self.swap_used
        return _within(_least(free, self.levels_swap_free, self.host_swap_free), self.swap_total)

    @property
    @formula("min(level.max - level.current for level in swap_levels)")
    def levels_swap_free(self) -> int | None:
        """The least that a cgroup above with a limit of swap has left of it; None without any."""
        return min((level.free for level in self.stats.swap_levels), default=None)

    @property
    @formula("swap_total - swap_free")
    def swap_taken(self) -> int:
        """Swap that is not to be had: its own, and what siblings have taken from a limit above."""
        return self.swap_total - self.swap_free

    @property
    @formula("min(stat.swapcached, usage, swap_used)")
    def swapcached(self) -> int:
        """Memory that is in swap too; readers subtract it from the swap used."""
        return _within(_within(self.stats.stat.swapcached, self.usage), self.swap_used)

    @property
    @formula("total // 2 // 4096 * 4096 + swap_total")
    def commit_limit(self) -> int:
        """CommitLimit of a machine of this size with the default vm.overcommit_ratio of 50.

        The kernel counts in pages. Source: proc_meminfo(5) and Documentation/admin-guide/sysctl/vm.rst.
        """
        return (self.total // 2 & -_PAGE) + self.swap_total
