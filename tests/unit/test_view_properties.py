"""What must hold for every container on every machine."""

import re
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from pylxcfs.accounting.cpu_ledger import CpuTimes, Ledger, Sample, advance, open_ledger
from pylxcfs.accounting.hugepages import HugePool, share_of
from pylxcfs.accounting.load_average import LoadView
from pylxcfs.cgroup.types import (
    CgroupPath,
    CpuMax,
    CpuSet,
    CpuTime,
    HugetlbStats,
    MemoryLevel,
    MemoryStat,
    MemoryStats,
    SwapLevel,
)
from pylxcfs.procfiles import cpuinfo, cpulists, meminfo, stat, swaps, uptime
from pylxcfs.view.host import HostSnapshot
from pylxcfs.view.memory import MemoryView
from pylxcfs.view.resources import CpuView, ResourceView
from tests.support import readings
from tests.support.invariants import (
    CPU_LISTS,
    History,
    Readings,
    check_alone,
    check_meminfo,
    check_stat,
    check_together,
)

CAPTURES = Path(__file__).parent / "captures"
MEMINFO = [path.read_bytes() for path in sorted(CAPTURES.glob("*/proc/meminfo"))]
MACHINES = {path.parent.parent.name: path.read_bytes() for path in sorted(CAPTURES.glob("*/proc/cpuinfo"))}
#: As consumers find processors: glibc counts lines that begin with "processor", lscpu reads both.
NAMED = re.compile(rb"^(processor|cpu number)[\t ]*:? *(\d+)", re.MULTILINE)
CPUS = 8
CPUINFO = b"".join(b"processor\t: %d\nflags\t: a\n\n" % cpu for cpu in range(CPUS))

MEMORY_FILES = (("meminfo", meminfo.render), ("swaps", swaps.render))
CPU_FILES = (
    *(("cpuinfo", cpuinfo.render), ("stat", stat.render), ("uptime", uptime.render)),
    *((name, cpulists.render_visible) for name in CPU_LISTS),
)
NO_LOAD = LoadView(None, 0, 0, 0, 0)

amounts = st.one_of(st.integers(-(1 << 20), 1 << 45), st.integers(-5000, 5000))
limits = st.none() | st.integers(0, 1 << 45) | st.integers(0, 10_000)
memory_stats = st.builds(
    MemoryStat,
    **dict.fromkeys(
        ("file", "anon", "active_anon", "inactive_anon", "active_file", "inactive_file"), amounts
    ),
    unevictable=amounts,
    **{
        name: st.none() | amounts
        for name in (
            "shmem",
            "file_mapped",
            "file_dirty",
            "file_writeback",
            "swapcached",
            "anon_thp",
            "slab_reclaimable",
            "slab_unreclaimable",
            "file_thp",
            "shmem_thp",
            "kernel_stack",
            "pagetables",
            "sec_pagetables",
            "percpu",
            "vmalloc",
            "zswap",
            "zswapped",
        )
    },
)
sizes = st.integers(0, 1 << 45) | st.integers(0, 10_000)
paths = st.just(CgroupPath("/a"))
levels = st.lists(st.builds(MemoryLevel, paths, sizes, amounts, sizes), max_size=3).map(tuple)
swap_levels = st.lists(st.builds(SwapLevel, paths, sizes, amounts), max_size=3).map(tuple)
page_sizes = st.sampled_from([1 << 16, 1 << 21, 1 << 30])
counts = st.integers(0, 1 << 20)
huge_pages = st.builds(
    share_of,
    st.dictionaries(page_sizes, st.builds(HugePool, counts, counts, counts)),
    st.dictionaries(page_sizes, st.builds(HugetlbStats, limits, amounts, st.none() | amounts)),
    page_sizes,
)
memories = st.builds(
    MemoryView,
    st.builds(
        MemoryStats, amounts, limits, amounts, limits, st.booleans(), memory_stats, levels, swap_levels
    ),
    st.integers(4096, 1 << 44),
    st.integers(0, 1 << 44),
    st.booleans(),
    st.booleans(),
    huge_pages,
    st.none() | sizes,
    st.none() | sizes,
)
usecs = st.integers(0, 1 << 48) | st.integers(0, 3_000_000)
cpu_times = st.builds(CpuTime, usecs, usecs)
samples = st.builds(
    Sample,
    usecs,
    st.sets(st.integers(0, CPUS - 1), min_size=1).map(CpuSet),
    st.dictionaries(st.integers(0, CPUS + 2), cpu_times, max_size=CPUS),
    cpu_times,
    st.none() | st.builds(CpuMax, st.integers(0, 2_000_000), st.integers(1, 1_000_000)),
)
cpu_views = st.builds(
    CpuView,
    st.dictionaries(st.integers(0, CPUS - 1), st.builds(CpuTimes, usecs, usecs, usecs), min_size=1).map(
        lambda times: dict(sorted(times.items()))
    ),
)
steps = st.lists(
    st.tuples(st.integers(0, 2_000_000), st.integers(0, 3_000_000), st.integers(0, 500_000)),
    min_size=1,
    max_size=20,
)


def check_all(files: Readings, facts: int) -> None:
    """Check each file, and all of them together: as many facts have to be comparable."""
    check_alone(files)
    assert facts == check_together(files)


def ledgers(sequence: list[Sample]) -> list[Ledger]:
    """Return the ledger after each sample."""
    history = [open_ledger(sequence[0])]
    for sample in sequence[1:]:
        history.append(advance(history[-1], sample))
    return history


def columns(times: CpuTimes) -> tuple[int, int, int]:
    """Return the three counters of a CPU."""
    return times.user_usec, times.system_usec, times.idle_usec


@given(memories, st.sampled_from(MEMINFO))
def test_meminfo(memory: MemoryView, text: bytes) -> None:
    """Nothing is negative or above what holds it, and lists add up."""
    shown = meminfo.render(ResourceView(0, memory), HostSnapshot(meminfo=text)).decode()
    assert list(readings.meminfo(text.decode())) == list(check_meminfo(shown))


@given(memories)
def test_no_level_is_overdrawn(memory: MemoryView) -> None:
    """What is free is so at every level and on the host; what the container uses stays its own."""
    for level in memory.stats.levels:
        assert memory.free <= level.free
        assert memory.available <= level.available
    for swap_level in memory.stats.swap_levels:
        assert memory.swap_free <= swap_level.free
    assert memory.host_available is None or memory.available <= memory.host_available
    assert memory.host_swap_free is None or memory.swap_free <= memory.host_swap_free
    alone = replace(
        memory,
        stats=replace(memory.stats, levels=(), swap_levels=()),
        host_available=None,
        host_swap_free=None,
    )
    for name in ("total", "usage", "cached", "anon", "active", "slab", "swap_total", "swap_used", "zswapped"):
        assert getattr(alone, name) == getattr(memory, name)


@given(memories)
def test_swaps_agrees_with_meminfo(memory: MemoryView) -> None:
    """Size and use of the swap area are those of meminfo."""
    view = ResourceView(0, memory)
    host = HostSnapshot(meminfo=MEMINFO[0])
    check_all([(name, render(view, host).decode()) for name, render in MEMORY_FILES * 2], 1)


@given(cpu_views)
def test_cpu_files_agree(cpu: CpuView) -> None:
    """Stat's first line is the sum of the others, all name the same CPUs, uptime has stat's idle time."""
    view = ResourceView(0, cpu_part=cpu, load_part=NO_LOAD)
    host = HostSnapshot(cpuinfo=CPUINFO)
    check_all([(name, render(view, host).decode()) for name, render in CPU_FILES * 2], 1)


def named(text: bytes) -> dict[bytes, list[int]]:
    """Return the processors that a cpuinfo names, under each name that it has for them."""
    found: dict[bytes, list[int]] = {}
    for name, number in NAMED.findall(text):
        found.setdefault(name, []).append(int(number))
    return found


@given(st.data(), st.sampled_from(sorted(MACHINES)))
def test_cpuinfo_names_the_visible_cpus(data: st.DataObject, machine: str) -> None:
    """On every architecture exactly the visible ones are named, and no line about the machine is lost."""
    text = MACHINES[machine]
    every = named(text)
    cpus = data.draw(st.sets(st.sampled_from(every[b"processor"]), min_size=1).map(sorted))
    view = ResourceView(0, cpu_part=CpuView(dict.fromkeys(cpus, CpuTimes(0, 0, 0))))
    shown = cpuinfo.render(view, HostSnapshot(cpuinfo=text))
    assert dict.fromkeys(every, cpus) == named(shown)
    counts = re.findall(rb"^# processors *: (\d+)$", shown, re.MULTILINE)
    assert [b"%d" % len(cpus)] * text.count(b"# processors") == counts
    assert b"\n\n\n" not in shown
    assert text.endswith(b"\n\n") == shown.endswith(b"\n\n")
    assert shown.endswith(b"\n")
    again = cpuinfo.render(view, HostSnapshot(cpuinfo=shown))
    assert shown == again
    if len(cpus) == len(every[b"processor"]):
        assert text == shown
    hidden = cpuinfo.render(ResourceView(0, cpu_part=CpuView({})), HostSnapshot(cpuinfo=text))
    assert set(hidden.splitlines()) - {b"# processors    : 0"} <= set(shown.splitlines())


@given(cpu_views, st.sampled_from([250, 1000, 1024]))
def test_idle_with_other_ticks(cpu: CpuView, hertz: int) -> None:
    """Uptime has stat's idle time in hundredths of a second, however long a tick is."""
    view = ResourceView(0, cpu_part=cpu, load_part=NO_LOAD)
    host = HostSnapshot(ticks_per_second=hertz)
    idle = check_stat(stat.render(view, host).decode())["cpu"][readings.IDLE] * 100 // hertz
    assert b"%d.%02d" % divmod(idle, 100) == uptime.render(view, host).split()[1]


@given(st.lists(samples, min_size=1, max_size=12), st.sampled_from([100, 1024]))
def test_counters_never_go_back(sequence: list[Sample], hertz: int) -> None:
    """No counter that is shown goes back, a CPU's or their sum, whatever happens to limits and the kernel."""
    history = History()
    seen: set[int] = set()
    host = HostSnapshot(ticks_per_second=hertz)
    for sample, ledger in zip(sequence, ledgers(sequence), strict=True):
        assert tuple(ledger.times) == sample.visible
        view = ResourceView(
            sample.uptime_usec, cpu_part=CpuView(ledger.times, ledger.hidden), load_part=NO_LOAD
        )
        text = stat.render(view, host).decode()
        history.check([("stat", text)])
        check_stat(text, some_hidden=True)
        seen |= ledger.times.keys()
        assert not ledger.times.keys() & ledger.hidden.keys()
        assert ledger.times.keys() | ledger.hidden.keys() == seen
        assert 0 <= ledger.debt_usec <= len(sample.visible) * 1_000_000


@given(samples)
def test_first_sample_shows_all_time_once(sample: Sample) -> None:
    """All that was used is shown, and idle is what the capacity had left."""
    times = open_ledger(sample).times.values()
    used = [*sample.used.values(), sample.unplaced]
    assert sum(time.user_usec for time in times) == sum(time.user_usec for time in used)
    assert sum(time.system_usec for time in times) == sum(time.system_usec for time in used)
    quota, period = sample.capacity
    left = quota * sample.uptime_usec // period - sum(map(sum, used))
    assert sum(time.idle_usec for time in times) == max(0, left)


@given(steps, st.sets(st.integers(0, CPUS - 1), min_size=1).map(CpuSet), st.integers(1, 300_000))
def test_steps_add_up_to_the_whole(deltas: list[tuple[int, int, int]], visible: CpuSet, quota: int) -> None:
    """With the same limits all along, use is shown to the microsecond and idle never exceeds the capacity."""
    sequence = [Sample(0, visible, {}, CpuTime(0, 0), CpuMax(quota, 100_000))]
    for elapsed, user, system in deltas:
        last = sequence[-1]
        usage = CpuTime(last.unplaced.user_usec + user, last.unplaced.system_usec + system)
        sequence.append(Sample(last.uptime_usec + elapsed, visible, {}, usage, last.quota))
    history = ledgers(sequence)
    for before, after in pairwise(history):
        step = sum(map(sum, map(columns, after.times.values()))) - sum(
            map(sum, map(columns, before.times.values()))
        )
        used = sum(after.unplaced) - sum(before.unplaced)
        room = sequence[1].capacity.quota_usec * (after.uptime_usec - before.uptime_usec)
        assert step - used <= max(0, room // sequence[1].capacity.period_usec + 1 - used)
    final = history[-1]
    assert sum(time.user_usec + time.system_usec for time in final.times.values()) == sum(final.unplaced)
