"""MemoryView and ResourceView."""

from dataclasses import replace

import pytest

from pylxcfs.accounting.cpu_ledger import CpuTimes
from pylxcfs.cgroup.types import CgroupPath, MemoryLevel, MemoryStat, MemoryStats, SwapLevel
from pylxcfs.view.memory import MemoryView
from pylxcfs.view.resources import CpuView, ResourceView

MIB = 1 << 20
STATS = MemoryStats(10 * MIB, 64 * MIB, 0, None, swap_accounted=True, stat=MemoryStat())


def view(stats: MemoryStats = STATS, *, swap: int = 0, show_swap: bool = True) -> MemoryView:
    """Return a container on a host with 256 MiB."""
    return MemoryView(stats, 256 * MIB, swap, show_swap)


@pytest.mark.parametrize(
    "limit, total",
    [(64 * MIB, 64 * MIB), (None, 256 * MIB), (512 * MIB, 256 * MIB), (0, 4096), (1, 4096), (5000, 4096)],
)
def test_total(limit: int | None, total: int) -> None:
    """The total is the limit, within the host's memory and never 0."""
    assert view(replace(STATS, max=limit)).total == total


def test_usage_above_the_limit() -> None:
    """A container above its limit has nothing free."""
    memory = view(replace(STATS, current=65 * MIB))
    assert (memory.usage, memory.free) == (64 * MIB, 0)


def test_available_counts_cache_and_reclaimable_slab() -> None:
    """Available memory is what is free or can be reclaimed."""
    stat = MemoryStat(file=3 * MIB, active_file=MIB, inactive_file=2 * MIB, slab_reclaimable=4 * MIB)
    assert view(replace(STATS, stat=stat)).available == (54 + 1 + 2 + 4) * MIB


POD = CgroupPath("/pod")


@pytest.mark.parametrize(
    "current,reclaimable,free,available",
    [(14, 1, 50, 51), (30, 0, 50, 50), (60, 20, 20, 40), (80, 0, 0, 0), (90, 5, 0, 0)],
    ids=["roomy", "just binds", "used by siblings", "full", "above its limit"],
)
def test_siblings_use_up_a_limit_above(current: int, reclaimable: int, free: int, available: int) -> None:
    """What is left at a level above, and can be reclaimed there, is the most that is available."""
    level = MemoryLevel(POD, 80 * MIB, current * MIB, reclaimable * MIB)
    stat = MemoryStat(file=MIB, active_file=MIB)
    memory = view(replace(STATS, max=64 * MIB, current=14 * MIB, stat=stat, levels=(level,)))
    assert (free * MIB, available * MIB) == (memory.free, memory.available)
    assert (64 * MIB, 14 * MIB) == (memory.total, memory.usage)


def test_the_least_of_all_levels_counts() -> None:
    """Nearest or farthest, the level that leaves least decides, for free and available each."""
    near = MemoryLevel(POD, 80 * MIB, 60 * MIB, 0)
    far = MemoryLevel(CgroupPath("/"), 90 * MIB, 85 * MIB, 40 * MIB)
    for levels in ((near, far), (far, near)):
        memory = view(replace(STATS, levels=levels))
        assert (5 * MIB, 20 * MIB) == (memory.free, memory.available)


def test_never_more_than_the_host_has() -> None:
    """The host's MemAvailable and SwapFree bound the container's, whatever its limits."""
    memory = replace(view(swap=100 * MIB), host_available=7 * MIB, host_swap_free=3 * MIB)
    assert (7 * MIB, 7 * MIB, 3 * MIB) == (memory.free, memory.available, memory.swap_free)
    nothing = replace(memory, host_available=0, host_swap_free=0)
    assert (0, 0, 0) == (nothing.free, nothing.available, nothing.swap_free)
    untold = replace(memory, host_available=None, host_swap_free=None)
    assert (54 * MIB, 54 * MIB, 100 * MIB) == (untold.free, untold.available, untold.swap_free)


def test_siblings_use_up_swap_above() -> None:
    """The least over all levels; the container's own use stays its own."""
    levels = (SwapLevel(POD, 50 * MIB, 20 * MIB), SwapLevel(POD, 40 * MIB, 15 * MIB))
    memory = view(replace(STATS, swap_current=MIB, swap_max=30 * MIB, swap_levels=levels), swap=100 * MIB)
    assert (30 * MIB, MIB, 25 * MIB) == (memory.swap_total, memory.swap_used, memory.swap_free)
    over = (SwapLevel(POD, 50 * MIB, 51 * MIB),)
    assert 0 == view(replace(STATS, swap_levels=over), swap=100 * MIB).swap_free


def test_parts_are_cut_to_what_holds_them() -> None:
    """Statistics that are ahead of the usage do not exceed it."""
    stat = MemoryStat(*[100 * MIB] * 15)
    memory = view(replace(STATS, stat=stat))
    assert memory.cached == memory.active == memory.inactive == memory.usage
    assert (memory.slab, memory.available) == (0, memory.total)


def test_unknown_statistics_are_zero() -> None:
    """What this kernel does not count reads 0."""
    stat = MemoryStat(slab_reclaimable=None, slab_unreclaimable=None, shmem=None, anon_thp=-4096)
    memory = view(replace(STATS, stat=stat))
    assert (memory.slab, memory.shmem, memory.anon_thp, memory.mapped) == (0, 0, 0, 0)


def test_sums_hold_in_kib() -> None:
    """Lists that are no whole KiB still add up after they are printed in kB."""
    memory = view(replace(STATS, stat=MemoryStat(active_anon=1500, active_file=1500)))
    assert memory.active // 1024 == memory.active_anon // 1024 + memory.active_file // 1024


@pytest.mark.parametrize(
    "limit, total", [(None, 100 * MIB), (200 * MIB, 100 * MIB), (5 * MIB, 5 * MIB), (0, 0)]
)
def test_swap_total(limit: int | None, total: int) -> None:
    """Swap is the limit within the host's swap."""
    assert view(replace(STATS, swap_max=limit), swap=100 * MIB).swap_total == total


def test_swap_hidden() -> None:
    """Hidden swap has no total, no use and no cache."""
    stats = replace(STATS, swap_current=MIB, stat=MemoryStat(swapcached=MIB))
    memory = view(stats, swap=100 * MIB, show_swap=False)
    assert (memory.swap_total, memory.swap_used, memory.swap_free, memory.swapcached) == (0, 0, 0, 0)


def test_swap_not_accounted() -> None:
    """Where the kernel does not account swap the container has none."""
    assert view(replace(STATS, swap_accounted=False), swap=MIB).swap_total == 0


def test_swap_use_is_cut_to_the_total() -> None:
    """Swap above a lowered limit is used up, and no more is in the cache than in swap."""
    stats = replace(STATS, swap_current=9 * MIB, swap_max=4 * MIB, stat=MemoryStat(swapcached=7 * MIB))
    memory = view(stats, swap=100 * MIB)
    assert (memory.swap_used, memory.swap_free, memory.swapcached) == (4 * MIB, 0, 4 * MIB)


def test_commit_limit() -> None:
    """The commit limit is half the memory and all swap."""
    assert view(swap=MIB).commit_limit == 33 * MIB


def test_commit_limit_is_counted_in_pages() -> None:
    """Half of an odd number of pages is rounded down to pages, as the kernel does."""
    memory = MemoryView(replace(STATS, max=None), 24684084 << 10, 65532 << 10)
    assert 12407572 << 10 == memory.commit_limit


@pytest.mark.parametrize("part", ["memory", "cpu", "io", "load"])
def test_absent_part(part: str) -> None:
    """Asking for a part that was not declared is an error that names it."""
    with pytest.raises(LookupError, match=part):
        getattr(ResourceView(0), part)


def test_present_parts() -> None:
    """Declared parts are returned, empty ones too."""
    cpu = CpuView({3: CpuTimes(1, 2, 3)})
    resources = ResourceView(0, view(), cpu, {})
    assert (resources.memory, resources.cpu, resources.io) == (view(), cpu, {})
    assert cpu.cpus == (3,)


def test_zswap_hidden() -> None:
    """Compressed swap is part of the swap used, and can be hidden."""
    stats = replace(STATS, swap_current=2 * MIB, stat=MemoryStat(zswap=MIB, zswapped=3 * MIB))
    memory = view(stats, swap=100 * MIB)
    assert (MIB, 2 * MIB) == (memory.zswap, memory.zswapped)
    hidden = replace(memory, show_zswap=False)
    assert (0, 0) == (hidden.zswap, hidden.zswapped)


def test_kernel_memory_is_cut_to_the_usage() -> None:
    """Kernel memory is charged to the container, so it is not more than its usage."""
    names = ("kernel_stack", "pagetables", "sec_pagetables", "percpu", "vmalloc")
    memory = view(replace(STATS, stat=MemoryStat(**dict.fromkeys(names, 11 * MIB))))
    assert [10 * MIB] * 5 == [getattr(memory, name) for name in names]
