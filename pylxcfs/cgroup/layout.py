"""Which cgroup version answers for which controller on this host (docs/adr/0006-hybrid.md)."""

import contextlib
import logging
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Final

from pylxcfs.cgroup.detect import Hierarchy
from pylxcfs.cgroup.mountroot import MountRoot
from pylxcfs.cgroup.reader import CgroupFiles
from pylxcfs.cgroup.taskstats import CgroupStats
from pylxcfs.cgroup.types import (
    V2,
    CgroupPaths,
    CgroupReader,
    Controller,
    ControllerUnavailable,
    CpuMax,
    CpuSet,
    CpuStats,
    HugetlbStats,
    IoStats,
    MemoryStats,
    Pressure,
    TaskWalk,
)
from pylxcfs.cgroup.v1 import HIERARCHY, V1Reader
from pylxcfs.cgroup.v2 import V2Reader

_log = logging.getLogger(__name__)
#: In every v2 cgroup, whatever controllers are enabled: cpu.stat and the pressure files (cgroup-v2.rst).
_WITHOUT_CONTROLLER: Final = frozenset({Controller.CPU, Controller.PRESSURE})
#: Whose cgroups tell one container from another. Not huge pages': where v1 has the others, v2 may have these.
_DECIDING: Final = (Controller.MEMORY, Controller.CPU, Controller.CPUSET, Controller.IO)
#: Where cgroup namespaces begin deeper than this below a mount, nobody looks for them.
_DEEPEST_HOME: Final = 8


class LayoutReader:
    """`CgroupReader` that asks for each controller where it lives."""

    def __init__(
        self,
        readers: Mapping[Controller, CgroupReader],
        task_readers: Sequence[CgroupReader],
        files: CgroupFiles,
        deciding: frozenset[str],
        usage_reader: CgroupReader | None = None,
    ) -> None:
        """Ask `readers`, and for tasks the first of `task_readers` that knows; all read through `files`.

        `usage_reader` tells CPU time where the cpu controller's reader cannot.
        """
        self._readers = readers
        self._usage_reader = usage_reader
        self._task_readers = task_readers
        #: What all read through.
        self.files = files
        #: The hierarchies with the controllers that a runtime limits a container by: their cgroups tell one
        #: container from another. A hybrid host's v2 is none, nor are named ones.
        self.deciding = deciding

    @property
    def versions(self) -> Mapping[Controller, str]:
        """Which version answers for each controller that any answers for: ``v1`` or ``v2``."""
        return {
            controller: "v1" if isinstance(reader, V1Reader) else "v2"
            for controller, reader in self._readers.items()
        }

    @property
    def controllers(self) -> frozenset[Controller]:
        """The controllers that anything answers for."""
        return frozenset(self._readers)

    def memory(self, paths: CgroupPaths) -> MemoryStats:
        """Read limits, usage and statistics of memory and swap."""
        return self._reader(Controller.MEMORY).memory(paths)

    def hugetlb(self, paths: CgroupPaths, page_size: int) -> HugetlbStats:
        """Read limit and use of the huge pages of `page_size` bytes."""
        return self._reader(Controller.HUGETLB).hugetlb(paths, page_size)

    def cpu_max(self, paths: CgroupPaths) -> CpuMax | None:
        """Read the bandwidth limit."""
        return self._reader(Controller.CPU).cpu_max(paths)

    def cpu(self, paths: CgroupPaths) -> CpuStats:
        """Read the CPU time used."""
        if self._usage_reader is not None:
            with contextlib.suppress(ControllerUnavailable):
                return self._usage_reader.cpu(paths)
        return self._reader(Controller.CPU).cpu(paths)

    def cpuset(self, paths: CgroupPaths) -> CpuSet:
        """Read the effective CPUs."""
        return self._reader(Controller.CPUSET).cpuset(paths)

    def memory_nodes(self, paths: CgroupPaths) -> CpuSet:
        """Read the NUMA nodes that memory may come from."""
        return self._reader(Controller.CPUSET).memory_nodes(paths)

    def io(self, paths: CgroupPaths) -> IoStats:
        """Read block I/O counters."""
        return self._reader(Controller.IO).io(paths)

    def walk_tasks(self, paths: CgroupPaths) -> TaskWalk:
        """Begin to list the tasks where the cpu controller lives, or else where there is a cgroup at all."""
        for reader in self._task_readers:
            try:
                return reader.walk_tasks(paths)
            except ControllerUnavailable:
                continue
        raise ControllerUnavailable("tasks")

    def is_frozen(self, paths: CgroupPaths) -> bool:
        """Tell whether a freezer of either version has stopped these cgroups."""
        return any(reader.is_frozen(paths) for reader in self._task_readers)

    def pressure(self, paths: CgroupPaths, resource: Pressure) -> bytes:
        """Read a pressure file."""
        return self._reader(Controller.PRESSURE).pressure(paths, resource)

    def open_pressure(self, paths: CgroupPaths, resource: Pressure) -> int:
        """Open a pressure file for a trigger; the caller closes it."""
        return self._reader(Controller.PRESSURE).open_pressure(paths, resource)

    def slabinfo(self, paths: CgroupPaths) -> bytes:
        """Read the caches of kernel objects."""
        return self._reader(Controller.SLAB).slabinfo(paths)

    def at_root(self, paths: CgroupPaths, controller: Controller) -> bool:
        """Tell whether `paths` are in the root for `controller`, or nothing answers for it."""
        reader = self._readers.get(controller)
        return reader is None or reader.at_root(paths, controller)

    def _reader(self, controller: Controller) -> CgroupReader:
        reader = self._readers.get(controller)
        if reader is None:
            raise ControllerUnavailable(controller.value)
        return reader


def open_layout(  # noqa: PLR0913 - one for each thing that it is put together of
    hierarchies: Iterable[Hierarchy],
    own: CgroupPaths,
    max_open: int,
    stats: CgroupStats | None = None,
    *,
    memory_high: bool = False,
    make_files: type[CgroupFiles] = CgroupFiles,
) -> LayoutReader:
    """Open the hierarchies; `own` are our own cgroups, to find where our namespace is below a mount.

    `stats` counts the tasks of v1 cgroups; `memory_high` makes v2's memory.high a limit.
    """
    usable = [hierarchy for hierarchy in hierarchies if _can_be_opened(hierarchy)]
    mounts = {name: hierarchy for hierarchy in usable for name in hierarchy.names}
    files = make_files(
        {name: hierarchy.mount_point for name, hierarchy in mounts.items()},
        max_open,
        {name: _mount_root(hierarchy, name, own) for name, hierarchy in mounts.items()},
    )
    v1, v2 = V1Reader(files, stats), V2Reader(files, memory_high=memory_high)
    listed = _v2_controllers(mounts[V2].mount_point) if V2 in mounts else frozenset()
    readers: dict[Controller, CgroupReader] = {}
    for controller in Controller:
        if controller in HIERARCHY and files.has(HIERARCHY[controller]):
            readers[controller] = v1
        elif controller.value in listed or (V2 in mounts and controller in _WITHOUT_CONTROLLER):
            readers[controller] = v2
    task_readers = (v1, v2) if readers.get(Controller.CPU) is v1 else (v2, v1)
    # Every v2 cgroup knows its CPU time; on v1 only cpuacct does, which need not be mounted with cpu.
    counts_nothing = readers.get(Controller.CPU) is v1 and V2 in mounts and not files.has("cpuacct")
    deciding = _deciding(files, listed)
    return LayoutReader(readers, task_readers, files, deciding, v2 if counts_nothing else None)


def _deciding(files: CgroupFiles, listed: frozenset[str]) -> frozenset[str]:
    deciding = {HIERARCHY[controller] for controller in _DECIDING if files.has(HIERARCHY[controller])}
    if not listed.isdisjoint(controller.value for controller in _DECIDING) or not deciding:
        deciding.add(V2)
    return frozenset(deciding)


def _can_be_opened(hierarchy: Hierarchy) -> bool:
    try:
        os.close(os.open(hierarchy.mount_point, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC))
    except OSError as error:
        # Hidden below a later mount, for example; another version may still answer.
        _log.warning("cannot use the cgroup mount %s: %s", hierarchy.mount_point, error.strerror)
        return False
    return True


def _v2_controllers(mount_point: str) -> frozenset[str]:
    try:
        with open(f"{mount_point}/cgroup.controllers") as controllers:  # noqa: PTH123 - a kernel file
            return frozenset(controllers.read().split())
    except OSError:
        return frozenset()


def _mount_root(hierarchy: Hierarchy, name: str, own: CgroupPaths) -> MountRoot:
    root = MountRoot(hierarchy.root)
    path = own.get(name)
    if not 0 < root.ups <= _DEEPEST_HOME or path is None or path.startswith("/.."):
        return root
    for home in _directories(hierarchy.mount_point, root.ups):
        below = "".join(f"/{part}" for part in home)
        if _holds_us(f"{hierarchy.mount_point}{below}{path.rstrip('/')}/cgroup.procs"):
            return MountRoot(hierarchy.root, home)
    _log.warning("%s: our own cgroup is not there; nothing below it can be told", hierarchy.mount_point)
    return root


def _directories(top: str, depth: int) -> Iterator[tuple[str, ...]]:
    """Yield every directory that is `depth` steps below `top`, by its names."""
    if not depth:
        yield ()
        return
    try:
        names = [entry.name for entry in os.scandir(top) if entry.is_dir(follow_symlinks=False)]
    except OSError:
        return  # Removed while we looked.
    for name in names:
        for rest in _directories(f"{top}/{name}", depth - 1):
            yield (name, *rest)


def _holds_us(path: str) -> bool:
    try:
        with open(path) as processes:  # noqa: PTH123 - a kernel file
            return str(os.getpid()) in processes.read().split()
    except OSError:
        return False
