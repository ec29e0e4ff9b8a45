"""cgroup v2. Source: Documentation/admin-guide/cgroup-v2.rst of the kernel."""

import contextlib
from collections.abc import Iterator, Mapping
from dataclasses import fields, replace
from typing import Final

from pylxcfs.cgroup.effective import size_name, smallest, tightest, with_ancestors
from pylxcfs.cgroup.parse import (
    parse_cpu_list,
    parse_cpu_max,
    parse_flat_keyed,
    parse_int,
    parse_io_stat,
    parse_limit,
)
from pylxcfs.cgroup.reader import CgroupFiles
from pylxcfs.cgroup.tasks import GroupWalk
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

#: Our fields have the kernel's names.
_MEMORY_STAT: Final = tuple((field.name, field.name.encode()) for field in fields(MemoryStat))
#: As `MemoryView.available` counts the container's own.
_RECLAIMABLE: Final = (b"active_file", b"inactive_file", b"slab_reclaimable")


#: What the formulas of memory and swap call inputs, over ``FILE:KEY`` (see `V2Reader.memory`); a minimum is
#: that over the container's cgroup and all above it.
MEMORY_ORIGINS: Final[Mapping[str, str]] = {
    "limit": "min(memory.max)",
    "current": "memory.current",
    "swap_limit": "min(memory.swap.max)",
    "swap_current": "memory.swap.current",
    "swap_accounted": "memory.swap.max",
    "levels": "memory.max, memory.current, memory.stat:active_file, memory.stat:inactive_file, "
    "memory.stat:slab_reclaimable",
    "swap_levels": "memory.swap.max, memory.swap.current",
    **{f"stat.{name}": f"memory.stat:{key.decode()}" for name, key in _MEMORY_STAT},
}


class V2Reader:
    """`CgroupReader` over the unified hierarchy.

    A controller that is not enabled in the container's own cgroup is at work in the nearest ancestor where
    it is: that one's limits hold, but what it counts is also its other children's
    (docs/adr/0006-hybrid.md).
    """

    def __init__(self, files: CgroupFiles, *, memory_high: bool = False) -> None:
        """Read through `files`; with `memory_high`, memory.high is a limit as memory.max is."""
        self._files = files
        self._memory_limits = ("memory.max", "memory.high") if memory_high else ("memory.max",)

    def memory(self, paths: CgroupPaths) -> MemoryStats:
        """Read memory and swap of the cgroup that the container is charged to."""
        own = self._path(paths)
        max_: dict[CgroupPath, Limit] = {}
        swap_max: dict[CgroupPath, Limit] = {}
        for path in self._files.upwards(V2, own):
            try:
                max_[path] = smallest([self._read_limit(path, name) for name in self._memory_limits])
            except ControllerUnavailable:
                # Enabled nowhere below a cgroup where it is not, so still to be found above.
                continue
            with contextlib.suppress(ControllerUnavailable):
                swap_max[path] = self._read_limit(path, "memory.swap.max")
        if not max_:
            raise ControllerUnavailable(self._files.describe(V2, own, "memory.max"))
        charged = next(iter(max_))
        stats = MemoryStats(
            current=0,
            max=smallest(max_.values()),
            swap_current=0,
            swap_max=smallest(swap_max.values()),
            swap_accounted=bool(swap_max),
            stat=MemoryStat(),
            levels=tuple(self._read_levels(max_, charged)),
            swap_levels=tuple(self._read_swap_levels(swap_max, charged)),
        )
        if charged != own and max_[charged] is None:
            # Nothing counts this container alone, and no limit makes the others' memory its concern.
            return stats
        stat = self._read_memory_stat(charged)
        return replace(
            stats,
            current=self._read_int(charged, "memory.current"),
            swap_current=self._read_int(charged, "memory.swap.current") if swap_max else 0,
            stat=MemoryStat(**{field: stat[key] for field, key in _MEMORY_STAT if key in stat}),
        )

    def hugetlb(self, paths: CgroupPaths, page_size: int) -> HugetlbStats:
        """Read limit and use; of an ancestor's use as with memory."""
        own = self._path(paths)
        prefix = f"hugetlb.{size_name(page_size)}."
        charged = None
        limits: list[Limit] = []
        for path in self._files.upwards(V2, own):
            try:
                limit = self._read_limit(path, prefix + "max")
            except ControllerUnavailable:
                continue
            with contextlib.suppress(ControllerUnavailable):
                limit = smallest((limit, self._read_limit(path, prefix + "rsvd.max")))
            charged = charged or path
            limits.append(limit)
        if charged is None:
            raise ControllerUnavailable(self._files.describe(V2, own, prefix + "max"))
        if charged != own and limits[0] is None:
            return HugetlbStats(smallest(limits), 0, None)
        rsvd_current = None
        with contextlib.suppress(ControllerUnavailable):
            rsvd_current = self._read_int(charged, prefix + "rsvd.current")
        return HugetlbStats(smallest(limits), self._read_int(charged, prefix + "current"), rsvd_current)

    def cpu_max(self, paths: CgroupPaths) -> CpuMax | None:
        """Read the bandwidth limit."""
        return tightest(map(self._read_max, self._files.upwards(V2, self._path(paths))))

    def cpu(self, paths: CgroupPaths) -> CpuStats:
        """Read the CPU time, which is counted even without the controller."""
        if self._files.is_root(V2, paths.get(V2)):
            # The root's time is everybody's.
            return CpuStats()
        return CpuStats(unplaced=self._read_usage(self._path(paths)))

    def cpuset(self, paths: CgroupPaths) -> CpuSet:
        """Read the effective CPUs of the nearest cgroup where the controller is enabled."""
        return self._read_set(paths, "cpuset.cpus.effective")

    def memory_nodes(self, paths: CgroupPaths) -> CpuSet:
        """Read the effective nodes of the nearest cgroup where the controller is enabled."""
        return self._read_set(paths, "cpuset.mems.effective")

    def io(self, paths: CgroupPaths) -> IoStats:
        """Read bytes and operations per device; an ancestor's are not the container's."""
        path = self._path(paths)
        text = self._files.read(V2, path, "io.stat")
        return IoStats(parse_io_stat(self._files.describe(V2, path, "io.stat"), text))

    def walk_tasks(self, paths: CgroupPaths) -> TaskWalk:
        """Begin to list the tasks (since Linux 4.14); no kernel counts their states per v2 cgroup.

        cgroup.threads is readable in threaded cgroups too, where cgroup.procs gives EOPNOTSUPP.
        """
        if self._files.is_root(V2, paths.get(V2)):
            raise ControllerUnavailable("cgroup.threads")
        return GroupWalk(self._files, V2, self._path(paths), "cgroup.threads")

    def is_frozen(self, paths: CgroupPaths) -> bool:
        """Ask whether cgroup.freeze has stopped the cgroup, or one above it (since Linux 5.2)."""
        if self._files.is_root(V2, paths.get(V2)):
            return False
        try:
            return b"frozen 1\n" in self._files.read_once(V2, self._path(paths), "cgroup.events")
        except (CgroupError, OSError):
            return False

    def pressure(self, paths: CgroupPaths, resource: Pressure) -> bytes:
        """Read the pressure file, which ``cgroup_disable=pressure`` and cgroup.pressure take away."""
        return self._files.read(V2, self._path(paths), f"{resource.value}.pressure")

    def open_pressure(self, paths: CgroupPaths, resource: Pressure) -> int:
        """Open the pressure file for a trigger (psi.rst, "Monitoring for pressure thresholds")."""
        return self._files.open_for_writing(V2, self._path(paths), f"{resource.value}.pressure")

    def slabinfo(self, paths: CgroupPaths) -> bytes:
        """There is none: v2 only counts bytes, in memory.stat."""
        del paths
        raise ControllerUnavailable("slabinfo of a cgroup v2")

    def at_root(self, paths: CgroupPaths, controller: Controller) -> bool:  # noqa: ARG002 - one hierarchy
        """Tell whether `paths` are in the hierarchy's root, the same for every controller."""
        return self._files.is_root(V2, paths.get(V2))

    def _read_set(self, paths: CgroupPaths, name: str) -> CpuSet:
        path = self._path(paths)
        for candidate in (*with_ancestors(path), ROOT):
            try:
                text = self._files.read(V2, candidate, name)
            except ControllerUnavailable:
                continue
            if numbers := parse_cpu_list(self._files.describe(V2, candidate, name), text):
                return numbers
        raise ControllerUnavailable(self._files.describe(V2, path, name))

    def _read_memory_stat(self, path: CgroupPath) -> Mapping[bytes, int]:
        text = self._files.read(V2, path, "memory.stat")
        return parse_flat_keyed(self._files.describe(V2, path, "memory.stat"), text)

    def _read_levels(self, limits: Mapping[CgroupPath, Limit], charged: CgroupPath) -> Iterator[MemoryLevel]:
        """Read what is used at each limited level above `charged`; what cannot be read costs that level."""
        for path, limit in limits.items():
            if limit is not None and path != charged:
                with contextlib.suppress(ControllerUnavailable, ParseError):
                    stat = self._read_memory_stat(path)
                    reclaimable = sum(max(0, stat.get(key, 0)) for key in _RECLAIMABLE)
                    yield MemoryLevel(path, limit, self._read_int(path, "memory.current"), reclaimable)

    def _read_swap_levels(
        self, limits: Mapping[CgroupPath, Limit], charged: CgroupPath
    ) -> Iterator[SwapLevel]:
        for path, limit in limits.items():
            if limit is not None and path != charged:
                with contextlib.suppress(ControllerUnavailable, ParseError):
                    yield SwapLevel(path, limit, self._read_int(path, "memory.swap.current"))

    def _path(self, paths: CgroupPaths) -> CgroupPath:
        return self._files.locate(V2, paths.get(V2))

    def _read_int(self, path: CgroupPath, name: str) -> int:
        return parse_int(self._files.describe(V2, path, name), self._files.read(V2, path, name))

    def _read_limit(self, path: CgroupPath, name: str) -> Limit:
        return parse_limit(self._files.describe(V2, path, name), self._files.read(V2, path, name))

    def _read_max(self, path: CgroupPath) -> CpuMax | None:
        try:
            text = self._files.read(V2, path, "cpu.max")
        except ControllerUnavailable:
            return None
        return parse_cpu_max(self._files.describe(V2, path, "cpu.max"), text)

    def _read_usage(self, path: CgroupPath) -> CpuTime:
        name = self._files.describe(V2, path, "cpu.stat")
        text = self._files.read(V2, path, "cpu.stat")
        stat = parse_flat_keyed(name, text)
        try:
            return CpuTime(stat[b"user_usec"], stat[b"system_usec"])
        except KeyError as error:
            raise ParseError(name, text) from error
