"""What the kernel says about one cgroup, with the names, units and meaning of cgroup v2.

Three states have three spellings: *unlimited* is ``None`` in a field typed `Limit`; *this kernel lacks
the field* is ``None`` in a field that says so; *the controller is not there at all* is the exception
`ControllerUnavailable`. Memory values are bytes, CPU times microseconds.

Source: Documentation/admin-guide/cgroup-v2.rst and cgroup-v1/ of the kernel.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import Final, NamedTuple, NewType, Protocol, Self

#: Bytes or a count; None is the kernel's ``max`` (v2) or PAGE_COUNTER_MAX (v1).
Limit = int | None

#: A cgroup as its hierarchy names it: absolute, ``/`` is the hierarchy's root.
CgroupPath = NewType("CgroupPath", str)

ROOT = CgroupPath("/")

#: The name of the cgroup v2 hierarchy, as /proc/PID/cgroup has it.
V2: Final = ""


class CgroupError(Exception):
    """Something about a cgroup that the virtual file's fallback has to answer."""


class ControllerUnavailable(CgroupError):  # noqa: N818 - a state, not a fault
    """The controller is not mounted, or this kernel has none of the files that would answer."""


class InRootCgroup(ControllerUnavailable):
    """The container has no cgroup of its own there, which is how it was started and no fault."""


class CgroupGone(CgroupError):  # noqa: N818 - a state, not a fault
    """The cgroup was removed: ENOENT on its directory, or ENODEV on a file that was still open."""


class ParseError(CgroupError):
    """A kernel file said something that its documentation does not know."""

    def __init__(self, path: str, text: bytes) -> None:
        """Name the file and the words that made no sense."""
        super().__init__(f"{path}: cannot parse {text[:80]!r}")


class Controller(Enum):
    """What answers for virtual files: controllers by their cgroup v2 names, and what cgroups have besides."""

    MEMORY = "memory"
    CPU = "cpu"
    CPUSET = "cpuset"
    IO = "io"
    HUGETLB = "hugetlb"
    #: Every v2 cgroup's, whatever controllers are enabled; v1 has none (psi.rst, "Cgroup2 interface").
    PRESSURE = "pressure"
    #: Only v1's memory controller lists caches of kernel objects, and only before Linux 5.9.
    SLAB = "slab"

    # Enum's own __hash__ is a Python function; these are keys on the read path.
    __hash__ = object.__hash__


class Pressure(Enum):
    """What tasks may have to wait for (Documentation/accounting/psi.rst); irq since Linux 6.1."""

    CPU = "cpu"
    IO = "io"
    IRQ = "irq"
    MEMORY = "memory"


@dataclass(frozen=True, slots=True)
class CgroupPaths:
    """Where one process lives: hierarchy → path.

    Keys are the words of /proc/PID/cgroup (cgroups(7)): v1 controller names, ``name=…`` for named
    hierarchies, and the empty string for the cgroup v2 hierarchy.
    """

    by_hierarchy: tuple[tuple[str, CgroupPath], ...]

    @classmethod
    def of(cls, paths: Mapping[str, CgroupPath]) -> "CgroupPaths":
        """Build from a mapping; equal mappings give equal (and equally hashed) paths."""
        return cls(tuple(sorted(paths.items())))

    def get(self, hierarchy: str) -> CgroupPath | None:
        """Return the path in `hierarchy`, or None where the process is in no such hierarchy."""
        for name, path in self.by_hierarchy:
            if name == hierarchy:
                return path
        return None

    def __iter__(self) -> Iterator[tuple[str, CgroupPath]]:
        """Iterate over (hierarchy, path)."""
        return iter(self.by_hierarchy)


class CpuSet(tuple[int, ...]):
    """CPU numbers in ascending order, each once (cpuset(7), "List format")."""

    __slots__ = ()

    def __new__(cls, cpus: Iterable[int] = ()) -> Self:
        """Sort `cpus` and drop repetitions."""
        return super().__new__(cls, sorted(set(cpus)))


@dataclass(frozen=True, slots=True)
class MemoryStat:
    """memory.stat of a cgroup and everything below it, in bytes.

    A field that this kernel's memory.stat does not have is None; v1 has no numbers of kernel memory at all.
    """

    file: int = 0
    anon: int = 0
    shmem: int | None = None
    file_mapped: int | None = None
    file_dirty: int | None = None
    file_writeback: int | None = None
    swapcached: int | None = None
    anon_thp: int | None = None
    active_anon: int = 0
    inactive_anon: int = 0
    active_file: int = 0
    inactive_file: int = 0
    unevictable: int = 0
    slab_reclaimable: int | None = None
    slab_unreclaimable: int | None = None
    file_thp: int | None = None
    shmem_thp: int | None = None
    kernel_stack: int | None = None
    pagetables: int | None = None
    sec_pagetables: int | None = None
    percpu: int | None = None
    #: Since Linux 5.17.
    vmalloc: int | None = None
    #: Compressed, and what it was before.
    zswap: int | None = None
    zswapped: int | None = None


class MemoryLevel(NamedTuple):
    """A cgroup above the container's whose limit everything below it shares, in bytes."""

    cgroup: CgroupPath
    max: int
    #: What all that is below it uses.
    current: int
    #: Of that, page cache and kernel objects that the kernel gives up before it refuses memory.
    reclaimable: int

    @property
    def free(self) -> int:
        """What can be charged there before anything has to be reclaimed; 0 at or above the limit."""
        return max(0, self.max - self.current)

    @property
    def available(self) -> int:
        """What can be charged there without swapping."""
        return max(0, self.max - self.current + self.reclaimable)


class SwapLevel(NamedTuple):
    """The same for swap, without memory."""

    cgroup: CgroupPath
    max: int
    current: int

    @property
    def free(self) -> int:
        """What can still be swapped out there; 0 at or above the limit."""
        return max(0, self.max - self.current)


@dataclass(frozen=True, slots=True)
class MemoryStats:
    """The memory controller's values for one cgroup, in bytes.

    `max` and `swap_max` are the smallest limits on the way to the hierarchy's root; where the reader was told
    to, `max` takes memory.high into account. Swap never includes
    memory (v1 memsw is reduced to it); both swap fields are None where the kernel does not account swap
    (CONFIG_SWAP off, ``swapaccount=0``), which `swap_accounted` tells apart from "unlimited".
    `levels` and `swap_levels` are the limited cgroups above the one that the container is charged to, nearest
    first: siblings may have used up what they allow (docs/adr/0025-levels.md).
    """

    current: int
    max: Limit
    swap_current: int
    swap_max: Limit
    swap_accounted: bool
    stat: MemoryStat
    levels: tuple[MemoryLevel, ...] = ()
    swap_levels: tuple[SwapLevel, ...] = ()


@dataclass(frozen=True, slots=True)
class HugetlbStats:
    """The hugetlb controller's values for one cgroup and one size of huge pages, in bytes.

    `max` is the smallest limit on the way to the hierarchy's root, on pages or on reservations, which pages
    taken without one count as.
    """

    max: Limit
    current: int
    #: Reserved, whether taken by now or not; None before Linux 5.7.
    rsvd_current: int | None


class CpuMax(NamedTuple):
    """A CFS bandwidth limit: `quota_usec` of CPU time in every `period_usec`."""

    quota_usec: int
    period_usec: int


class CpuTime(NamedTuple):
    """CPU time used on one CPU, microseconds."""

    user_usec: int
    system_usec: int


NO_CPU_TIME: Final = CpuTime(0, 0)


@dataclass(frozen=True, slots=True)
class CpuStats:
    """The CPU time of one cgroup and everything below it.

    `used` has one entry per CPU where the kernel counts per CPU (v1 cpuacct); `unplaced` is what it counts on
    none of them (all of it on v2).
    """

    used: Mapping[int, CpuTime] = field(default_factory=dict)
    unplaced: CpuTime = NO_CPU_TIME

    @property
    def total_usec(self) -> int:
        """All of it."""
        return sum(map(sum, self.used.values())) + sum(self.unplaced)


class DeviceNumber(NamedTuple):
    """A block device (makedev(3))."""

    major: int
    minor: int


@dataclass(frozen=True, slots=True)
class DeviceIo:
    """What a cgroup did on one device: bytes and finished operations (io.stat's keys)."""

    rbytes: int = 0
    wbytes: int = 0
    rios: int = 0
    wios: int = 0
    dbytes: int = 0
    dios: int = 0


@dataclass(frozen=True, slots=True)
class IoStats:
    """Block I/O of a cgroup and everything below it, per device."""

    devices: Mapping[DeviceNumber, DeviceIo] = field(default_factory=dict)


class TaskCounts(NamedTuple):
    """How many tasks (threads) there are, and how many of them make up the load."""

    #: Runnable: on a CPU or waiting for one.
    running: int
    #: In uninterruptible sleep.
    blocked: int
    total: int


class TooLarge(Exception):  # noqa: N818 - a state, not a fault
    """A cgroup has more tasks or nested cgroups than can be looked at now."""


@dataclass(frozen=True, slots=True)
class TaskGroup:
    """The tasks directly in one cgroup, by their ids in the daemon's pid namespace.

    `counts` is None where the kernel has no exact count of their states: then each task has to be asked.
    """

    ids: Sequence[int]
    counts: TaskCounts | None = None


class TaskWalk(Protocol):
    """Goes through the tasks of a container, a cgroup at a time; used by one thread at a time."""

    #: There are more cgroups than can be remembered, and some are left out.
    is_cut: bool

    def step(self, most: int | None = None) -> TaskGroup | None:
        """Look at the next cgroup; None after the last one.

        With `most`, raises TooLarge about one that has more tasks or nested cgroups than that, which stays
        the next. Raises CgroupGone about the container's own, ParseError, and OSError for want of resources.
        """


class CgroupReader(Protocol):
    """Reads one container's values; the only thing that knows which cgroup version answers.

    Every method raises `ControllerUnavailable`, `CgroupGone` or `ParseError`, and nothing else.
    """

    def memory(self, paths: CgroupPaths) -> MemoryStats:
        """Read limits, usage and statistics of memory and swap."""

    def hugetlb(self, paths: CgroupPaths, page_size: int) -> HugetlbStats:
        """Read limit and use of the huge pages of `page_size` bytes."""

    def cpu_max(self, paths: CgroupPaths) -> CpuMax | None:
        """Read the tightest bandwidth limit on the way to the root; None means no limit."""

    def cpu(self, paths: CgroupPaths) -> CpuStats:
        """Read the CPU time used."""

    def cpuset(self, paths: CgroupPaths) -> CpuSet:
        """Read the effective CPUs."""

    def memory_nodes(self, paths: CgroupPaths) -> CpuSet:
        """Read the NUMA nodes that memory may come from, by their numbers."""

    def io(self, paths: CgroupPaths) -> IoStats:
        """Read block I/O counters."""

    def walk_tasks(self, paths: CgroupPaths) -> TaskWalk:
        """Begin to list the tasks of the container, nested cgroups included; safe in every thread."""

    def is_frozen(self, paths: CgroupPaths) -> bool:
        """Tell whether tasks in these cgroups stand still for a freezer; safe in every thread."""

    def pressure(self, paths: CgroupPaths, resource: Pressure) -> bytes:
        """Return the cgroup's pressure file as the kernel wrote it (psi.rst, "Pressure interface")."""

    def open_pressure(self, paths: CgroupPaths, resource: Pressure) -> int:
        """Open the cgroup's pressure file for a trigger; the caller closes it."""

    def slabinfo(self, paths: CgroupPaths) -> bytes:
        """Return the caches of kernel objects as the kernel listed them (slabinfo(5)); empty without any."""

    def at_root(self, paths: CgroupPaths, controller: Controller) -> bool:
        """Tell whether `paths` are in the hierarchy's root for `controller`: not a container."""
