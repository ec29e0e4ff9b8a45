"""THE table of intended differences from lxcfs 5.0.3: nothing else may differ.

Each row says what lxcfs shows, as a predicate, and how we know that what pylxcfs shows is right: from the
cgroup's own files, from how the container was configured, or from a definition.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from fnmatch import fnmatchcase
from math import ceil, floor
from typing import Final

from pylxcfs.procfiles import meminfo
from pylxcfs.procfiles.binds import CPU_DIRECTORY
from tests.compat.configurations import V1, V2
from tests.compat.fields import CPU_COLUMNS, Field
from tests.compat.sight import HERTZ, Sight, same

Predicate = Callable[[Sight], bool]

#: kernel/sched/loadavg.h and lxcfs agree on these: what a minute's, five and fifteen minutes' average keep
#: of themselves over five seconds.
_KEPT: Final = {"1": 1884 / 2048, "5": 2014 / 2048, "15": 2037 / 2048}
_SAMPLE_SECONDS: Final = 5.0
_PAGE_KIB: Final = 4
_SECTOR: Final = 512
#: cpu.cfs_period_us of the tests' groups.
_PERIOD_SECONDS: Final = 0.1


@dataclass(frozen=True, slots=True)
class Row:
    """One intended difference."""

    #: May have wildcards.
    file: str
    fields: tuple[str, ...]
    #: Where the test-suite sees it.
    layouts: tuple[str, ...]
    #: What lxcfs shows here.
    when: Predicate
    #: What pylxcfs shows is right.
    right: Predicate
    lxcfs: str
    pylxcfs: str
    why: str

    def explains(self, sight: Sight) -> bool:
        """Tell whether this is the difference that is seen."""
        return (
            fnmatchcase(sight.shown.file, self.file)
            and sight.name in self.fields
            and sight.container.layout in self.layouts
            and self.when(sight)
            and self.right(sight)
        )


# What lxcfs shows.


def _host(sight: Sight) -> bool:
    return any(theirs and same(theirs, *sight.host) for theirs in sight.theirs)


def _zero(field: Field) -> bool:
    return all(value == 0 for value in field.values())


def _nothing(sight: Sight) -> bool:
    return all(map(_zero, sight.theirs))


def _their(sight: Sight, name: str) -> list[int]:
    return [int(fields[name][""]) for fields in sight.shown.theirs]


def _with_shared_memory(sight: Sight) -> bool:
    free, cached = _their(sight, "MemFree"), _their(sight, "Cached")
    return _their(sight, sight.name) == [sum(parts) for parts in zip(free, cached, strict=True)]


def _more_than_is_left(sight: Sight) -> bool:
    return max(_their(sight, "MemFree")) > sight.number()


def _from_lists(sight: Sight) -> bool:
    active, inactive, shared = (_their(sight, n) for n in ("Active(anon)", "Inactive(anon)", "Shmem"))
    parts = zip(active, inactive, shared, strict=True)
    return _their(sight, sight.name) == [a + i - s for a, i, s in parts]


def _memory_may_be_swap(sight: Sight) -> bool:
    memory, both = _limits_kib(sight)
    return all(
        theirs == min(_host_swap(sight), both - memory + total)
        for theirs, total in zip(_swap_total(sight), _memory_total(sight), strict=True)
    )


def _swap_total(sight: Sight) -> list[int]:
    if sight.shown.file == "proc/swaps":
        return [sum(int(cell) for cell in fields["Size"].values()) for fields in sight.shown.theirs]
    return _their(sight, "SwapTotal")


def _memory_total(sight: Sight) -> list[int]:
    if sight.shown.file == "proc/swaps":
        return [_limits_kib(sight)[0]] * 2
    return _their(sight, "MemTotal")


def _limits_kib(sight: Sight) -> tuple[int, int]:
    """Limits of memory, and of memory and swap, over all groups above (v1), KiB."""
    kernel = sight.shown.kernel[1]
    return kernel.memory("hierarchical_memory_limit", None), kernel.memory("hierarchical_memsw_limit", None)


def _host_swap(sight: Sight) -> int:
    if sight.shown.file == "proc/swaps":
        return sum(int(cell) for cell in sight.shown.host[0]["Size"].values())
    return int(sight.shown.host[0]["SwapTotal"][""])


def _difference_of_counters(sight: Sight) -> bool:
    used = sorted(kernel.swap_by_difference for kernel in sight.shown.kernel)
    if sight.shown.file == "proc/swaps":
        shown = [int(fields["Used"].get("#0", 0)) for fields in sight.shown.theirs]
    else:
        totals, free = _swap_total(sight), _their(sight, "SwapFree")
        shown = [total - left for total, left in zip(totals, free, strict=True)]
    return any(used[0] <= value <= used[1] for value in shown)


def _renumbered(sight: Sight) -> bool:
    theirs, ours = _their_cpus(sight), _our_cpus(sight)
    return theirs == list(range(len(ours)))


def _quota_around_ignored(sight: Sight) -> bool:
    configuration = sight.container.configuration
    around = configuration.around.cpu_quota
    own = configuration.own.cpu_quota
    return (
        around is not None
        and (own is None or around < own)
        and len(_their_cpus(sight)) > len(_our_cpus(sight))
    )


def _since_first_read(sight: Sight) -> bool:
    if not sight.container.options.cfs:
        return False
    spent = sight.shown.kernel[1].ticks(sight.name) - sight.container.opened[0].ticks(sight.name)
    return all(int(theirs["cpu"]) <= ceil(spent) for theirs in sight.theirs)


def _idle_since_first_read(sight: Sight) -> bool:
    if not sight.container.options.cfs:
        return False
    seconds = sight.shown.kernel[1].boottime - sight.container.opened[0].boottime
    most = (seconds * HERTZ + 1) * len(sight.shown.host[0]["idle"])
    return all(int(theirs["cpu"]) <= most for theirs in sight.theirs)


def _host_less_own(sight: Sight) -> bool:
    cpus = sight.shown.ours["cpuN"][""]
    host = sight.shown.host[0]
    numbers = str(host["cpuN"][""]).split()
    visible = [int(host["idle"][f"#{numbers.index(cpu) + 1}"]) for cpu in str(cpus).split() if cpu in numbers]
    return not sight.container.options.cfs and all(
        int(theirs["cpu"]) >= sum(visible) for theirs in sight.theirs
    )


def _rounded(sight: Sight) -> bool:
    ages = [sight.container.age(kernel) * 100 for kernel in sight.shown.kernel]
    return all(floor(ages[0]) <= int(theirs[""]) <= floor(ages[1]) + 1 for theirs in sight.theirs)


def _one_cpus_idle(sight: Sight) -> bool:
    used = [kernel.cpu_seconds_by_clock * 100 for kernel in sight.shown.kernel]
    ups = _their(sight, "uptime")
    return all(
        up - used[1] - 1 <= idle <= up - used[0] + 1 or idle == up
        for up, idle in zip(ups, _their(sight, "idle"), strict=True)
    )


def _averages_since(shown: Iterable[Field], tasks: int, seconds: float) -> bool:
    """Tell whether averages can come from up to `tasks` tasks active for so long, and no time before."""
    samples = seconds // _SAMPLE_SECONDS + 1
    return all(
        int(field[minutes]) <= ceil(100 * tasks * (1 - kept**samples))
        for field in shown
        for minutes, kept in _KEPT.items()
    )


def _load_since_first_read(sight: Sight) -> bool:
    seconds = sight.shown.kernel[1].boottime - sight.container.opened[0].boottime
    return _averages_since(sight.theirs, len(sight.container.tasks), seconds)


def _some_tasks(sight: Sight) -> bool:
    return all(0 <= int(theirs[""]) <= len(sight.container.tasks) for theirs in sight.theirs)


def _host_pid(sight: Sight) -> bool:
    return all(theirs[""] in sight.container.tasks for theirs in sight.theirs)


def _length_of_host(sight: Sight) -> bool:
    return all(theirs[""] != sight.ours[""] for theirs in sight.theirs)


def _writable(sight: Sight) -> bool:
    return all(theirs[""] == "yes" for theirs in sight.theirs)


# How we know that ours is right.


def _ours_zero(sight: Sight) -> bool:
    return _zero(sight.ours)


def _statistic(**names: tuple[str | None, str | None]) -> Predicate:
    """Build the check that a field is what memory.stat says by its v1 or v2 name."""

    def right(sight: Sight) -> bool:
        first, last = (k.memory(*names[sight.name.replace("(", "_").rstrip(")")]) for k in sight.shown.kernel)
        return sight.ours_within(first, last)

    return right


def _sum_of_slabs(sight: Sight) -> bool:
    if sight.name != "Slab":
        return _statistic(SReclaimable=(None, "slab_reclaimable"), SUnreclaim=(None, "slab_unreclaimable"))(
            sight
        )
    first, last = sorted(kernel.memory(None, "slab") for kernel in sight.shown.kernel)
    # Both parts are cut off to KiB, and the sum is theirs, as on the host.
    parts = sight.number("SReclaimable") + sight.number("SUnreclaim")
    return first - 1 <= sight.number() <= last and sight.number() == parts


def _least_of_all_levels(sight: Sight) -> bool:
    """MemFree and MemAvailable are what is left of the container's, the group's around it, and the host's."""
    total = sight.number("MemTotal")
    expected = []
    for kernel, host in zip(sight.shown.kernel, sight.shown.host, strict=True):
        available = [int(host["MemAvailable"][""]), total - kernel.usage + kernel.reclaimable, total]
        free = [total - kernel.usage]
        limit, around = kernel.around.memory_limit, kernel.around
        if limit is not None:
            available.append(max(0, limit - around.usage + around.reclaimable))
            free.append(max(0, limit - around.usage))
        expected.append(min(*available, *free) if sight.name == "MemFree" else min(available))
    return min(expected) - _MOVED_KIB <= sight.number() <= max(expected) + _MOVED_KIB


def _half_and_swap(sight: Sight) -> bool:
    half = sight.number("MemTotal") // _PAGE_KIB // 2 * _PAGE_KIB
    return sight.number() == half + sight.number("SwapTotal")


def _swap_limit(sight: Sight) -> int:
    """Swap that the container may use, KiB, as it was configured."""
    if sight.container.layout == V1:
        memory, both = _limits_kib(sight)
        # Both are as large as can be where there is no limit.
        return min(_host_swap(sight), both - memory) if both < _UNLIMITED_KIB else _host_swap(sight)
    limits = sight.container.configuration.own
    if limits.swap is None:
        return _host_swap(sight)
    return min(_host_swap(sight), limits.swap >> 10)


#: What the host, or a group's per-CPU counts, may move by between two looks.
_MOVED_KIB: Final = 2048
_UNLIMITED_KIB: Final = (1 << 63) - (1 << 16) >> 10


def _swap_as_limited(sight: Sight) -> bool:
    limit = _swap_limit(sight)
    left = limit if sight.shown.file == "proc/swaps" else min(_their_hosts(sight, "SwapFree"))
    used = sorted(max(limit - left, min(limit, kernel.swap)) for kernel in sight.shown.kernel)
    ours = sight.ours.get("#0" if sight.shown.file == "proc/swaps" else "", 0)
    expected = {
        "SwapTotal": (limit, limit),
        "SwapFree": (limit - used[1], limit - used[0]),
        "Size": (limit, limit),
        "Used": (used[0], used[1]),
        "areas": (int(limit > 0),) * 2,
    }
    low, high = expected[sight.name]
    return low <= int(sight.ours[""] if sight.name == "areas" else ours) <= high


def _their_hosts(sight: Sight, name: str) -> list[int]:
    return [int(fields[name][""]) for fields in sight.shown.host]


def _first_without_priority(sight: Sight) -> bool:
    return set(sight.ours.values()) == {-2}


def _numbers(text: str) -> list[int]:
    """Take apart ``0-1,3``, ``0 1 3`` or ``cpu0 cpu1 cpu3``."""
    numbers: list[int] = []
    for word in text.replace("cpu", "").replace(",", " ").split():
        first, _, last = word.partition("-")
        numbers += range(int(first), int(last or first) + 1)
    return numbers


def _our_cpus(sight: Sight) -> list[int]:
    return _numbers(str(sight.ours[""]))


def _their_cpus(sight: Sight) -> list[int]:
    return _numbers(str(sight.theirs[0][""]))


def expected_cpus(sight: Sight, host: str) -> list[int]:
    """Return the CPUs that the configuration gives the container, out of the host's."""
    configuration = sight.container.configuration
    allowed = configuration.own.cpus or configuration.around.cpus
    cpus = _numbers(host if allowed is None else allowed)
    quota = configuration.quota if sight.container.options.cfs else None
    return cpus if quota is None else cpus[: max(1, ceil(quota))]


def _as_configured(sight: Sight) -> bool:
    return _our_cpus(sight) == expected_cpus(sight, str(sight.host[0][""]))


def _cpu_time(sight: Sight) -> bool:
    spent = [kernel.ticks(sight.name) for kernel in sight.shown.kernel]
    cpus = len(sight.ours) - 1
    # Each CPU's line is rounded down by itself.
    return floor(spent[0]) - cpus < int(sight.ours["cpu"]) + 1 <= floor(spent[1]) + 1


def _idle_ticks(sight: Sight, cpus: int) -> tuple[float, float]:
    """Return between what the idle time must be: what could be used since the beginning, less what was."""
    quota = sight.container.configuration.quota if sight.container.options.cfs else None
    capacity = float(cpus) if quota is None else min(quota, cpus)
    before, after = sight.shown.kernel
    age = sight.container.age
    low = capacity * age(before) * HERTZ - after.ticks()
    high = capacity * age(after) * HERTZ - before.ticks()
    # What was used before pylxcfs first looked is not held against the container.
    opened = sight.container.opened
    forgiven = max(0.0, opened[1].ticks() - capacity * age(opened[0]) * HERTZ)
    # The kernel lets a group use a quota at once and wait; it counts running tasks up to a tick late.
    burst = 0.0 if quota is None else quota * _PERIOD_SECONDS * HERTZ
    # Each CPU's line is rounded down by itself; so is the age.
    return low - cpus - 1, max(0.0, high) + forgiven + burst + cpus


def _idle(sight: Sight) -> bool:
    low, high = _idle_ticks(sight, len(sight.ours) - 1)
    return low <= int(sight.ours["cpu"]) <= high


def _idle_of_uptime(sight: Sight) -> bool:
    cpus = expected_cpus(sight, " ".join(map(str, sight.container.host_cpus)))
    low, high = _idle_ticks(sight, len(cpus))
    return low <= sight.number() * HERTZ / 100 <= high


def _age(sight: Sight) -> bool:
    ages = [floor(sight.container.age(kernel) * 100) for kernel in sight.shown.kernel]
    # The clock is read in microseconds and the start in ticks: both are cut off.
    return sight.ours_within(ages[0] - 1, ages[1])


def _busy(sight: Sight) -> bool:
    busy = sight.container.configuration.use.busy
    (running,) = sight.ours.values()
    # One more is the reader: a count is shared for a second, and may be of when it ran.
    return busy <= int(running) <= busy + 1


def _blocked(sight: Sight) -> bool:
    (blocked,) = sight.ours.values()
    return 0 <= int(blocked) <= len(sight.container.tasks) - sight.container.configuration.use.busy


def _all_tasks(sight: Sight) -> bool:
    return sight.number() == len(sight.container.tasks)


def _own_pid(sight: Sight) -> bool:
    return sight.number() == sight.container.last_pid


def _load_of_busy(sight: Sight) -> bool:
    before, after = sight.shown.kernel
    age = sight.container.age(after)
    if not _averages_since([sight.ours], sight.container.configuration.use.busy + 1, age):
        return False
    if after.boottime - sight.container.opened[0].boottime > _SAMPLE_SECONDS:
        return True
    # Just asked for the first time: as if always as active as the CPU time used says.
    mean = before.ticks() / HERTZ / age
    samples = age // _SAMPLE_SECONDS - 1
    return all(
        int(sight.ours[minutes]) >= floor(100 * mean * (1 - kept**samples)) for minutes, kept in _KEPT.items()
    )


def _disks_used(sight: Sight) -> bool:
    numbers = sight.shown.host[0]["device numbers"]
    used = [
        " ".join(name[1:] for name, number in numbers.items() if any(kernel.disk(str(number)).values()))
        for kernel in sight.shown.kernel
    ]
    return sight.ours[""] in used


_DISK: Final = {
    "reads": ("rios", 1),
    "sectors read": ("rbytes", _SECTOR),
    "writes": ("wios", 1),
    "sectors written": ("wbytes", _SECTOR),
    "discards": ("dios", 1),
    "sectors discarded": ("dbytes", _SECTOR),
}


def _disk(sight: Sight) -> bool:
    key, unit = _DISK[sight.name]
    numbers = sight.shown.host[0]["device numbers"]
    first, last = (
        {name: kernel.disk(str(numbers[name])).get(key, 0) // unit for name in sight.ours}
        for kernel in sight.shown.kernel
    )
    return same(sight.ours, first, last)


def _exact_size(sight: Sight) -> bool:
    if sight.shown.file.startswith(CPU_DIRECTORY):
        return sight.ours[""] in {"exact", 4096}
    return sight.ours[""] == "exact"


def _refused(sight: Sight) -> bool:
    return sight.ours[""] == "EACCES"


BOTH: Final = (V1, V2)
_CPU_LISTS: Final = ("enabled", "possible", "present")
#: lxcfs shows these as 0 too, or has no such line.
_ZERO_IN_BOTH: Final = frozenset({b"Buffers", b"ShmemPmdMapped"})
_STATISTICS: Final[dict[str, tuple[str | None, str | None]]] = {
    "KReclaimable": (None, "slab_reclaimable"),
    "KernelStack": (None, "kernel_stack"),
    "PageTables": (None, "pagetables"),
    "SecPageTables": (None, "sec_pagetables"),
    "Percpu": (None, "percpu"),
    "FileHugePages": (None, "file_thp"),
    "VmallocUsed": (None, "vmalloc"),
    "Zswap": (None, "zswap"),
    "Zswapped": (None, "zswapped"),
}

ROWS: Final = (
    Row(
        "proc/meminfo",
        tuple(sorted(name.decode() for name in meminfo.ZEROED.keys() - _ZERO_IN_BOTH)),
        BOTH,
        _host,
        _ours_zero,
        "the host's",
        "0",
        "No cgroup file counts these for a container, and the host's number tells about the host.",
    ),
    Row(
        "proc/meminfo",
        tuple(_STATISTICS),
        (V1,),
        _host,
        _ours_zero,
        "the host's",
        "0",
        "cgroup v1 does not count these, and the host's number tells about the host.",
    ),
    Row(
        "proc/meminfo",
        tuple(_STATISTICS),
        (V2,),
        _host,
        _statistic(**_STATISTICS),
        "the host's",
        "the container's, from `memory.stat`",
        "The kernel counts these for each cgroup.",
    ),
    Row(
        "proc/meminfo",
        ("Slab", "SReclaimable", "SUnreclaim"),
        (V2,),
        _nothing,
        _sum_of_slabs,
        "0",
        "the container's, from `memory.stat`",
        "The kernel counts these for each cgroup.",
    ),
    Row(
        "proc/meminfo",
        ("Mapped", "Dirty", "Writeback"),
        (V2,),
        _nothing,
        _statistic(
            Mapped=(None, "file_mapped"), Dirty=(None, "file_dirty"), Writeback=(None, "file_writeback")
        ),
        "0",
        "the container's, from `memory.stat`",
        "The kernel counts these for each cgroup. lxcfs shows them on cgroup v1.",
    ),
    Row(
        "proc/meminfo",
        ("AnonHugePages",),
        (V1,),
        _nothing,
        _statistic(AnonHugePages=("total_rss_huge", "anon_thp")),
        "0",
        "the container's, from `memory.stat`",
        "The kernel counts these for each cgroup.",
    ),
    Row(
        "proc/meminfo",
        ("SwapCached",),
        BOTH,
        _nothing,
        _statistic(SwapCached=("total_swapcached", "swapcached")),
        "0",
        "the container's, from `memory.stat`",
        "`htop` subtracts it from the swap that is used.",
    ),
    Row(
        "proc/meminfo",
        ("MemAvailable",),
        BOTH,
        _with_shared_memory,
        _least_of_all_levels,
        "MemFree + Cached",
        "the least of: MemTotal less the container's use, with Active(file), Inactive(file) and "
        "SReclaimable; the same of each group above that has a limit; the host's MemAvailable",
        "Cached contains tmpfs and shared memory, which cannot be given up without swap; and siblings use up "
        "a limit above ([ADR 25](adr/0025-levels.md)).",
    ),
    Row(
        "proc/meminfo",
        ("MemFree",),
        BOTH,
        _more_than_is_left,
        _least_of_all_levels,
        "MemTotal less the container's use",
        "the least of: MemTotal less the container's use; the same of each group above that has a limit; "
        "MemAvailable",
        "What others use of the host, or of a limit above, is not to be had.",
    ),
    Row(
        "proc/meminfo",
        ("AnonPages",),
        BOTH,
        _from_lists,
        _statistic(AnonPages=("total_rss", "anon")),
        "Active(anon) + Inactive(anon) - Shmem",
        "the container's, from `memory.stat`",
        "Locked pages, and pages on their way to one of the lists, are anonymous memory too.",
    ),
    Row(
        "proc/meminfo",
        ("CommitLimit",),
        BOTH,
        _host,
        _half_and_swap,
        "the host's",
        "half of MemTotal, and SwapTotal",
        "What a machine of the container's size has with the default `vm.overcommit_ratio`.",
    ),
    Row(
        "proc/meminfo",
        ("SwapTotal", "SwapFree"),
        (V1,),
        lambda sight: _memory_may_be_swap(sight) and _swap_total(sight) != [sight.number("SwapTotal")] * 2,
        _swap_as_limited,
        "the memsw limit as SwapTotal, memory included",
        "the memsw limit less the memory limit, at most the host's swap",
        "memsw limits memory and swap together: with memory full, this much is left for swap.",
    ),
    Row(
        "proc/swaps",
        ("Size", "areas"),
        (V1,),
        _memory_may_be_swap,
        _swap_as_limited,
        "the memsw limit as Size, memory included",
        "the memsw limit less the memory limit, at most the host's swap; no line where that is 0",
        "As SwapTotal in meminfo.",
    ),
    Row(
        "proc/meminfo",
        ("SwapFree",),
        (V1,),
        _difference_of_counters,
        _swap_as_limited,
        "SwapTotal less the difference of `memsw.usage_in_bytes` and `usage_in_bytes`",
        "SwapTotal less swap and swapcached of `memory.stat`",
        "As on a host, the slot of a page that came back from swap is in use (and in SwapCached).",
    ),
    Row(
        "proc/swaps",
        ("Used",),
        (V1,),
        _difference_of_counters,
        _swap_as_limited,
        "the difference of `memsw.usage_in_bytes` and `usage_in_bytes`",
        "swap and swapcached of `memory.stat`",
        "As SwapFree in meminfo.",
    ),
    Row(
        "proc/meminfo",
        ("SwapTotal", "SwapFree"),
        (V2,),
        _nothing,
        _swap_as_limited,
        "0",
        "`memory.swap.max`, at most the host's swap, and what `memory.swap.current` leaves of it",
        "lxcfs 5 looks for swap limits in the root cgroup, which has none.",
    ),
    Row(
        "proc/swaps",
        ("areas",),
        (V2,),
        _nothing,
        _swap_as_limited,
        "no line",
        "a line with the swap of meminfo",
        "As SwapTotal in meminfo.",
    ),
    Row(
        "proc/swaps",
        ("Priority",),
        (V1,),
        _nothing,
        _first_without_priority,
        "0",
        "-2",
        "The kernel gives this to the first area that asked for no priority.",
    ),
    Row(
        "proc/cpuinfo",
        ("processor",),
        (V1,),
        _renumbered,
        _as_configured,
        "0, 1, …",
        "the kernel's numbers",
        "sched_getaffinity(2), taskset(1) and `/proc/PID/stat` use the kernel's numbers.",
    ),
    Row(
        "proc/stat",
        ("cpuN",),
        (V1,),
        _renumbered,
        _as_configured,
        "with `--enable-cfs`: 0, 1, …",
        "the kernel's numbers",
        "As in cpuinfo.",
    ),
    Row(
        f"{CPU_DIRECTORY}/online",
        ("list",),
        (V1,),
        _renumbered,
        _as_configured,
        "with `--enable-cfs`: 0-…",
        "the kernel's numbers",
        "As in cpuinfo.",
    ),
    *(
        Row(
            file,
            (field,),
            (V1,),
            _quota_around_ignored,
            _as_configured,
            "with `--enable-cfs`: as many CPUs as the container's own quota is worth",
            "as many as the smallest quota of the container and the groups around it",
            "The smallest quota is what the kernel enforces: in Kubernetes that of the pod.",
        )
        for file, field in (
            ("proc/cpuinfo", "processor"),
            ("proc/stat", "cpuN"),
            (f"{CPU_DIRECTORY}/online", "list"),
        )
    ),
    *(
        Row(
            f"{CPU_DIRECTORY}/{name}",
            ("list",),
            (V1,),
            _host,
            _as_configured,
            "the host's",
            "the CPUs of `online`",
            "_SC_NPROCESSORS_CONF and _SC_NPROCESSORS_ONLN agree, on a machine whose other CPUs are absent.",
        )
        for name in _CPU_LISTS
    ),
    Row(
        CPU_DIRECTORY,
        ("cpuN directories",),
        (V1,),
        _host,
        _as_configured,
        "the host's",
        "those of `online`",
        "glibc counts the directories.",
    ),
    Row(
        "proc/stat",
        ("user", "system"),
        (V1,),
        _since_first_read,
        _cpu_time,
        "with `--enable-cfs`: time since lxcfs was first asked",
        "time since the container began",
        "lxcfs' counters begin with their reader, and go back with each restart of lxcfs.",
    ),
    Row(
        "proc/stat",
        ("user", "system"),
        (V2,),
        _host,
        _cpu_time,
        "the host's",
        "the container's, from `cpu.stat`",
        "The kernel counts CPU time for each cgroup.",
    ),
    Row(
        "proc/stat",
        ("idle",),
        (V1,),
        _idle_since_first_read,
        _idle,
        "with `--enable-cfs`: time since lxcfs was first asked",
        "CPUs or quota, times the container's age, less user and system",
        "As for user: and a container that uses all of its quota has no idle time.",
    ),
    Row(
        "proc/stat",
        ("idle",),
        (V1,),
        _host_less_own,
        _idle,
        "the host's idle time and all that others used, since boot",
        "CPUs or quota, times the container's age, less user and system",
        "The container was not there to be idle before it began.",
    ),
    Row(
        "proc/stat",
        ("idle",),
        (V2,),
        _host,
        _idle,
        "the host's",
        "CPUs or quota, times the container's age, less user and system",
        "What the container could have used and did not.",
    ),
    Row(
        "proc/stat",
        tuple(column for column in CPU_COLUMNS if column not in {"user", "system", "idle"}),
        (V2,),
        _host,
        _ours_zero,
        "the host's",
        "0",
        "Not counted per cgroup.",
    ),
    Row(
        "proc/stat",
        ("procs_running",),
        BOTH,
        _host,
        _busy,
        "the host's",
        "the container's runnable tasks",
        "As running in loadavg.",
    ),
    Row(
        "proc/uptime",
        ("uptime",),
        BOTH,
        _rounded,
        _age,
        "rounded to hundredths",
        "cut off at hundredths",
        "As the kernel does.",
    ),
    Row(
        "proc/uptime",
        ("idle",),
        (V1,),
        _one_cpus_idle,
        _idle_of_uptime,
        "uptime less the CPU time used, as if there were one CPU",
        "the idle time in stat",
        "In the kernel's file it is the sum over all CPUs.",
    ),
    Row(
        "proc/uptime",
        ("idle",),
        (V2,),
        _one_cpus_idle,
        _idle_of_uptime,
        "uptime",
        "the idle time in stat",
        "In the kernel's file it is the sum over all CPUs.",
    ),
    Row(
        "proc/loadavg",
        ("averages",),
        BOTH,
        _load_since_first_read,
        _load_of_busy,
        "averages that begin with 0 when lxcfs was first asked",
        "averages that begin with the container's mean activity",
        "A container that has been busy for days has not been idle ([ADR 8](adr/0008-load-averages.md)).",
    ),
    Row(
        "proc/loadavg",
        ("running",),
        BOTH,
        _some_tasks,
        _busy,
        "tasks up to 5 s ago, 0 at first",
        "runnable tasks, at most a second ago",
        "A look at any time is one of the present.",
    ),
    Row(
        "proc/loadavg",
        ("tasks",),
        BOTH,
        _some_tasks,
        _all_tasks,
        "tasks up to 5 s ago, 1 at first",
        "all tasks, at most a second ago",
        "A look at any time is one of the present.",
    ),
    Row(
        "proc/loadavg",
        ("last pid",),
        BOTH,
        _host_pid,
        _own_pid,
        "a number on the host",
        "the highest pid, as the container numbers it",
        "Pids of the host mean nothing in a container, and tell how many the host has.",
    ),
    Row(
        "proc/diskstats",
        ("devices",),
        BOTH,
        _host,
        _disks_used,
        "the host's (cgroup v1: on Linux 5.0 and later)",
        "those that the container used",
        "lxcfs reads the files of the CFQ scheduler, which is gone.",
    ),
    Row(
        "proc/diskstats",
        tuple(_DISK),
        BOTH,
        _host,
        _disk,
        "the host's",
        "the container's; requests before they are merged",
        "From `blkio.throttle.*` (v1), `io.stat` (v2).",
    ),
    Row(
        "proc/diskstats",
        (
            *(
                "reads merged",
                "ms reading",
                "writes merged",
                "ms writing",
                "in flight",
                "ms busy",
                "weighted ms",
            ),
            *("discards merged", "ms discarding", "flushes", "ms flushing"),
        ),
        BOTH,
        _host,
        _ours_zero,
        "the host's",
        "0",
        "Not counted per cgroup.",
    ),
    Row(
        "*",
        ("size",),
        BOTH,
        _length_of_host,
        _exact_size,
        "the length of the host's file",
        "the exact length",
        "Of what the asker reads; of the host's own files in the CPU tree 4096, as in sysfs. "
        "The host's file may be shorter than the container's.",
    ),
    Row(
        f"{CPU_DIRECTORY}/*",
        ("opened for writing",),
        BOTH,
        _writable,
        _refused,
        "allowed to root, and what is written reaches the host",
        "EACCES",
        "A container must not change the host. lxcfs 6 refuses the write instead.",
    ),
    Row(
        "proc/slabinfo",
        ("caches",),
        BOTH,
        _host,
        lambda sight: sight.ours[""] == "",
        "the host's",
        "none",
        "No cgroup of these kernels lists its caches of kernel objects, and the host's tell about the host.",
    ),
    Row(
        "proc/slabinfo",
        ("mode",),
        BOTH,
        lambda sight: all(theirs[""] == "100444" for theirs in sight.theirs),
        lambda sight: sight.ours[""] == "100400",
        "0444",
        "0400",
        "As the kernel's own file: only root reads it.",
    ),
    Row(
        CPU_DIRECTORY,
        ("mode",),
        BOTH,
        lambda sight: all(theirs[""] == "40755" for theirs in sight.theirs),
        lambda sight: sight.ours[""] == "40555",
        "0755",
        "0555",
        "Nothing here can be changed.",
    ),
)
