"""cgroup v1, told in the words of v2. Source: Documentation/admin-guide/cgroup-v1/ of the kernel."""

import contextlib
from collections.abc import Iterator, Mapping
from typing import Final

from pylxcfs.cgroup.effective import size_name, smallest, tightest, with_ancestors
from pylxcfs.cgroup.parse import (
    parse_cpu_list,
    parse_device_operations,
    parse_flat_keyed,
    parse_int,
    parse_rows,
    to_number,
)
from pylxcfs.cgroup.reader import CgroupFiles
from pylxcfs.cgroup.tasks import GroupWalk
from pylxcfs.cgroup.taskstats import CgroupStats
from pylxcfs.cgroup.types import (
    ROOT,
    V2,
    CgroupError,
    CgroupPath,
    CgroupPaths,
    Controller,
    ControllerUnavailable,
    CpuMax,
    CpuSet,
    CpuStats,
    CpuTime,
    DeviceIo,
    DeviceNumber,
    HugetlbStats,
    IoStats,
    Limit,
    MemoryLevel,
    MemoryStat,
    MemoryStats,
    ParseError,
    Pressure,
    SwapLevel,
    TaskWalk,
)

HIERARCHY: Final[Mapping[Controller, str]] = {
    Controller.MEMORY: "memory",
    Controller.CPU: "cpu",
    Controller.CPUSET: "cpuset",
    Controller.IO: "blkio",
    Controller.HUGETLB: "hugetlb",
    Controller.SLAB: "memory",
}
#: Every hierarchy lists tasks; these are the ones that container runtimes use without fail.
_TASKS_FROM: Final = ("cpu", "cpuacct", "memory", "pids")
_NSEC_PER_USEC: Final = 1000

#: PAGE_COUNTER_MAX is LONG_MAX rounded down to a page; pages have at most 64 KiB.
_UNLIMITED: Final = (1 << 63) - (1 << 16)

#: Statistics of the whole subtree, by their v2 names. Absent ones stay None.
_MEMORY_STAT: Final[Mapping[str, bytes]] = {
    "file": b"total_cache",
    "anon": b"total_rss",
    "shmem": b"total_shmem",
    "file_mapped": b"total_mapped_file",
    "file_dirty": b"total_dirty",
    "file_writeback": b"total_writeback",
    "swapcached": b"total_swapcached",
    "anon_thp": b"total_rss_huge",
    "active_anon": b"total_active_anon",
    "inactive_anon": b"total_inactive_anon",
    "active_file": b"total_active_file",
    "inactive_file": b"total_inactive_file",
    "unevictable": b"total_unevictable",
}

#: As `MemoryView.available` counts the container's own; v1 does not tell of kernel objects.
_RECLAIMABLE: Final = (b"total_active_file", b"total_inactive_file")

#: (bytes, operations): throttling counts every request, but since Linux 6.10 only on devices that any
#: cgroup has ever limited; bfq counts while it is the scheduler; the plain names are CFQ's, gone in 5.0.
_IO_FILES: Final = (
    ("blkio.throttle.io_service_bytes_recursive", "blkio.throttle.io_serviced_recursive"),
    ("blkio.throttle.io_service_bytes", "blkio.throttle.io_serviced"),
    ("blkio.bfq.io_service_bytes_recursive", "blkio.bfq.io_serviced_recursive"),
    ("blkio.io_service_bytes_recursive", "blkio.io_serviced_recursive"),
)


#: What the formulas of memory and swap call inputs, over ``FILE:KEY`` (see `V1Reader.memory`).
MEMORY_ORIGINS: Final[Mapping[str, str]] = {
    "limit": "memory.stat:hierarchical_memory_limit",
    "current": "memory.usage_in_bytes",
    "swap_limit": "memory.stat:hierarchical_memsw_limit - memory.stat:hierarchical_memory_limit",
    "swap_current": "memory.stat:total_swap + memory.stat:total_swapcached",
    "swap_accounted": "memory.stat:hierarchical_memsw_limit",
    "levels": "memory.limit_in_bytes, memory.usage_in_bytes, memory.stat:total_active_file, "
    "memory.stat:total_inactive_file",
    "swap_levels": "memory.memsw.limit_in_bytes, memory.limit_in_bytes, memory.stat:total_swap, "
    "memory.stat:total_swapcached",
    **{f"stat.{name}": f"memory.stat:{key.decode()}" for name, key in _MEMORY_STAT.items()},
}
#: Of memory, and of swap.
_Levels = tuple[tuple[MemoryLevel, ...], tuple[SwapLevel, ...]]


class V1Reader:
    """`CgroupReader` over v1 hierarchies, each with its own path."""

    def __init__(self, files: CgroupFiles, stats: CgroupStats | None = None) -> None:
        """Read through `files`; let the kernel count tasks through `stats` where it can."""
        self._files = files
        self._stats = stats
        #: Whether the root's limits hold for everything below it, and so every cgroup's; None: not known yet.
        self._all_hierarchical: bool | None = None

    def memory(self, paths: CgroupPaths) -> MemoryStats:
        """Read memory and swap; the kernel itself takes the minimum over the ancestors in memory.stat.

        memory.soft_limit_in_bytes is not memory.high: a cgroup may stay above it for as long as the host has
        memory, and nobody slows it down.
        """
        path = self._path(paths, "memory")
        name = self._files.describe("memory", path, "memory.stat")
        text = self._files.read("memory", path, "memory.stat")
        stat = parse_flat_keyed(name, text)
        if b"hierarchical_memory_limit" not in stat:
            raise ParseError(name, text)
        memory_max = stat[b"hierarchical_memory_limit"]
        memsw_max = stat.get(b"hierarchical_memsw_limit")
        levels: _Levels = ((), ())
        if _limit(memory_max) is not None:
            levels = self._read_levels(path, accounts_swap=memsw_max is not None)
        return MemoryStats(
            current=self._read_int("memory", path, "memory.usage_in_bytes"),
            max=_limit(memory_max),
            swap_current=0 if memsw_max is None else _swap_used(stat),
            swap_max=None if memsw_max is None else _swap_limit(memory_max, memsw_max),
            swap_accounted=memsw_max is not None,
            stat=MemoryStat(**{field: stat[key] for field, key in _MEMORY_STAT.items() if key in stat}),
            levels=levels[0],
            swap_levels=levels[1],
        )

    def hugetlb(self, paths: CgroupPaths, page_size: int) -> HugetlbStats:
        """Read limits of all ancestors, and use; the root's use is everybody's."""
        path = self._path(paths, "hugetlb")
        if self._files.is_root("hugetlb", paths.get("hugetlb")):
            raise ControllerUnavailable(self._files.describe("hugetlb", path, ""))
        prefix = f"hugetlb.{size_name(page_size)}."
        limits = (
            self._read_if_there("hugetlb", candidate, prefix + name)
            for candidate in self._files.upwards("hugetlb", path)
            for name in ("limit_in_bytes", "rsvd.limit_in_bytes")
        )
        return HugetlbStats(
            # A limit is rounded down to whole huge pages.
            max=smallest(_limit(limit, page_size) for limit in limits if limit is not None),
            current=self._read_int("hugetlb", path, prefix + "usage_in_bytes"),
            rsvd_current=self._read_if_there("hugetlb", path, prefix + "rsvd.usage_in_bytes"),
        )

    def cpu_max(self, paths: CgroupPaths) -> CpuMax | None:
        """Read the CFS quota; a kernel without quotas has no limit."""
        return tightest(map(self._read_max, self._limiting(paths)))

    def cpu(self, paths: CgroupPaths) -> CpuStats:
        """Read CPU time from cpuacct."""
        return CpuStats(self._read_used(paths))

    def cpuset(self, paths: CgroupPaths) -> CpuSet:
        """Read the effective CPUs of the nearest cgroup that was given any."""
        return self._read_set(paths, ("cpuset.effective_cpus", "cpuset.cpus"))

    def memory_nodes(self, paths: CgroupPaths) -> CpuSet:
        """Read the effective nodes of the nearest cgroup that was given any."""
        return self._read_set(paths, ("cpuset.effective_mems", "cpuset.mems"))

    def io(self, paths: CgroupPaths) -> IoStats:
        """Read bytes and operations per device from the first pair of files that counted anything."""
        path = self._path(paths, "blkio")
        found = False
        for bytes_name, operations_name in _IO_FILES:
            try:
                moved = self._read_devices(path, bytes_name)
                done = self._read_devices(path, operations_name)
            except ControllerUnavailable:
                continue
            found = True
            if moved or done:
                return IoStats({n: _device_io(moved.get(n, {}), done.get(n, {})) for n in moved | done})
        if not found:
            raise ControllerUnavailable(self._files.describe("blkio", path, _IO_FILES[0][0]))
        return IoStats()

    def walk_tasks(self, paths: CgroupPaths) -> TaskWalk:
        """Begin to list the tasks, in the hierarchy that runtimes use for the cpu controller or the next."""
        return GroupWalk(self._files, *self._any_own(paths), "tasks", self._stats)

    def is_frozen(self, paths: CgroupPaths) -> bool:
        """Ask the freezer: its tasks show as uninterruptible, but the kernel does not count them as load."""
        if self._files.is_root("freezer", paths.get("freezer")):
            return False
        try:
            return (
                self._files.read_once("freezer", self._path(paths, "freezer"), "freezer.state") == b"FROZEN\n"
            )
        except (CgroupError, OSError):
            return False

    def pressure(self, paths: CgroupPaths, resource: Pressure) -> bytes:
        """There is none: PSI counts per v2 cgroup."""
        del paths
        raise ControllerUnavailable(f"{resource.value} pressure of a cgroup v1")

    def open_pressure(self, paths: CgroupPaths, resource: Pressure) -> int:
        """There is none."""
        del paths
        raise ControllerUnavailable(f"{resource.value} pressure of a cgroup v1")

    def slabinfo(self, paths: CgroupPaths) -> bytes:
        """Read memory.kmem.slabinfo: empty without objects, and since Linux 5.9, or gone altogether."""
        path = self._path(paths, "memory")
        try:
            return self._files.read("memory", path, "memory.kmem.slabinfo")
        except ControllerUnavailable:
            return b""

    def at_root(self, paths: CgroupPaths, controller: Controller) -> bool:
        """Tell whether `paths` are in the root for `controller`, or in no such hierarchy."""
        hierarchy = HIERARCHY.get(controller)
        return hierarchy is None or self._files.is_root(hierarchy, paths.get(hierarchy))

    def _read_set(self, paths: CgroupPaths, names: tuple[str, str]) -> CpuSet:
        """Read a set; the effective one is there since Linux 3.17."""
        path = self._path(paths, "cpuset")
        for candidate in (*with_ancestors(path), ROOT):
            for name in names:
                try:
                    text = self._files.read("cpuset", candidate, name)
                except ControllerUnavailable:
                    continue
                if numbers := parse_cpu_list(self._files.describe("cpuset", candidate, name), text):
                    return numbers
        raise ControllerUnavailable(self._files.describe("cpuset", path, names[-1]))

    def _read_levels(self, own: CgroupPath, *, accounts_swap: bool) -> _Levels:
        """Read the limited cgroups above `own`; what limits memory and swap together limits memory too."""
        levels: list[MemoryLevel] = []
        swap_levels: list[SwapLevel] = []
        for path in self._files.upwards("memory", own):
            if path == own:
                continue
            if not self._is_hierarchical(path):
                break
            # What cannot be read of an ancestor costs that level, not the container's file.
            with contextlib.suppress(ControllerUnavailable, ParseError):
                limit = _limit(self._read_int("memory", path, "memory.limit_in_bytes"))
                if limit is None:
                    continue
                text = self._files.read("memory", path, "memory.stat")
                stat = parse_flat_keyed(self._files.describe("memory", path, "memory.stat"), text)
                reclaimable = sum(max(0, stat.get(key, 0)) for key in _RECLAIMABLE)
                usage = self._read_int("memory", path, "memory.usage_in_bytes")
                levels.append(MemoryLevel(path, limit, usage, reclaimable))
                if accounts_swap:
                    memsw = self._read_int("memory", path, "memory.memsw.limit_in_bytes")
                    swap_limit = _swap_limit(limit, memsw)
                    if swap_limit is not None:
                        swap_levels.append(SwapLevel(path, swap_limit, _swap_used(stat)))
        return tuple(levels), tuple(swap_levels)

    def _is_hierarchical(self, path: CgroupPath) -> bool:
        """Tell whether a cgroup's limit holds for what is below it.

        Before Linux 5.11 that could be turned off, but not below a cgroup where it is on.
        """
        if self._all_hierarchical is None:
            self._all_hierarchical = self._read_if_there("memory", ROOT, "memory.use_hierarchy") != 0
        return self._all_hierarchical or self._read_if_there("memory", path, "memory.use_hierarchy") != 0

    def _any_own(self, paths: CgroupPaths) -> tuple[str, CgroupPath]:
        """Return a hierarchy in which the container has a cgroup of its own, the cpu controller's first."""
        own = [name for name, path in paths if name != V2 and not self._files.is_root(name, path)]
        for name in (*_TASKS_FROM, *own):
            if name in own and self._files.has(name):
                with contextlib.suppress(ControllerUnavailable):
                    return name, self._path(paths, name)
        raise ControllerUnavailable("tasks")

    def _path(self, paths: CgroupPaths, hierarchy: str) -> CgroupPath:
        return self._files.locate(hierarchy, paths.get(hierarchy))

    def _limiting(self, paths: CgroupPaths) -> Iterator[CgroupPath]:
        try:
            path = self._path(paths, "cpu")
        except ControllerUnavailable:
            return
        yield from self._files.upwards("cpu", path)

    def _read_int(self, hierarchy: str, path: CgroupPath, name: str) -> int:
        text = self._files.read(hierarchy, path, name)
        try:
            return to_number(text)
        except ValueError:
            return parse_int(self._files.describe(hierarchy, path, name), text)

    def _read_if_there(self, hierarchy: str, path: CgroupPath, name: str) -> int | None:
        try:
            return self._read_int(hierarchy, path, name)
        except ControllerUnavailable:
            return None

    def _read_devices(self, path: CgroupPath, name: str) -> dict[DeviceNumber, Mapping[bytes, int]]:
        text = self._files.read("blkio", path, name)
        return dict(parse_device_operations(self._files.describe("blkio", path, name), text))

    def _read_max(self, path: CgroupPath) -> CpuMax | None:
        try:
            quota_usec = self._read_int("cpu", path, "cpu.cfs_quota_us")
            if quota_usec <= 0:
                return None
            period_usec = self._read_int("cpu", path, "cpu.cfs_period_us")
        except ControllerUnavailable:
            return None
        return CpuMax(quota_usec, period_usec) if period_usec > 0 else None

    def _read_used(self, paths: CgroupPaths) -> Mapping[int, CpuTime]:
        """CPU time per CPU; nothing where the container has no cpuacct cgroup of its own."""
        if self._files.is_root("cpuacct", paths.get("cpuacct")) or not self._files.has("cpuacct"):
            return {}
        path = self._path(paths, "cpuacct")
        try:
            text = self._files.read("cpuacct", path, "cpuacct.usage_all")
        except ControllerUnavailable:
            return self._read_used_before_4_8(path)
        return _parse_usage_all(self._files.describe("cpuacct", path, "cpuacct.usage_all"), text)

    def _read_used_before_4_8(self, path: CgroupPath) -> Mapping[int, CpuTime]:
        """cpuacct.usage_all came with Linux 4.8; before, nothing tells user from system per CPU."""
        name = self._files.describe("cpuacct", path, "cpuacct.usage_percpu")
        words = self._files.read("cpuacct", path, "cpuacct.usage_percpu").split()
        used = {}
        for cpu, word in enumerate(words):
            with contextlib.suppress(ParseError):
                used[cpu] = CpuTime(parse_int(name, word) // _NSEC_PER_USEC, 0)
        return used


def _limit(value: int, rounded_to: int = 1) -> Limit:
    return None if value + rounded_to > _UNLIMITED else value


def _swap_limit(memory_max: int, memsw_max: int) -> Limit:
    """Turn memsw, which limits memory and swap together, into what it leaves for swap beside full memory."""
    return None if memsw_max >= _UNLIMITED else max(0, memsw_max - memory_max)


def _swap_used(stat: Mapping[bytes, int]) -> int:
    """Add what v1 charges to memory alone: a page that came back from swap and still has its slot there.

    v2 and the host count it as swap in use, and readers subtract SwapCached from that.
    """
    return stat.get(b"total_swap", 0) + stat.get(b"total_swapcached", 0)


def _device_io(moved: Mapping[bytes, int], done: Mapping[bytes, int]) -> DeviceIo:
    return DeviceIo(
        rbytes=moved.get(b"Read", 0),
        wbytes=moved.get(b"Write", 0),
        rios=done.get(b"Read", 0),
        wios=done.get(b"Write", 0),
        dbytes=moved.get(b"Discard", 0),
        dios=done.get(b"Discard", 0),
    )


def _parse_usage_all(path: str, text: bytes) -> Mapping[int, CpuTime]:
    """Parse ``cpu user system`` and one line of nanoseconds per possible CPU."""
    header, _, rows = text.partition(b"\n")
    if header.split() != [b"cpu", b"user", b"system"]:
        raise ParseError(path, text)
    return {
        cpu: CpuTime(user // _NSEC_PER_USEC, system // _NSEC_PER_USEC)
        for cpu, user, system in parse_rows(path, rows, 3)
    }
