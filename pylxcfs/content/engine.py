"""Puts together everything between a pid and the bytes it reads; the daemon and pylxcfsctl share it."""

import os
import resource
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from pylxcfs.accounting.cpu_ledger_file import LedgerFile, Owner
from pylxcfs.accounting.load_tracker import LoadTracker
from pylxcfs.cgroup.detect import Hierarchy, find_hierarchies
from pylxcfs.cgroup.layout import open_layout
from pylxcfs.cgroup.membership import parse_membership
from pylxcfs.cgroup.reader import CgroupFiles
from pylxcfs.cgroup.taskstats import CgroupStats
from pylxcfs.cgroup.types import CgroupPaths, Controller, ParseError
from pylxcfs.config import ViewConfig
from pylxcfs.containers.askers import MAX_HELD
from pylxcfs.containers.processes import PROCESS_GONE, Processes
from pylxcfs.containers.resolver import MAX_CONTAINERS, Resolver
from pylxcfs.content.features import Features, kernel_features
from pylxcfs.content.service import ContentService
from pylxcfs.content.viewbuilder import ViewBuilder
from pylxcfs.errors import StartupError
from pylxcfs.linux.files import read_boot_id
from pylxcfs.linux.hosttree import HostTree
from pylxcfs.linux.mountinfo import parse_mountinfo
from pylxcfs.procfiles.table import VIRTUAL_FILES, VirtualFile, node_files
from pylxcfs.view.host import HostReader

#: Some 16 files answer for a container; enough for 500 of them.
_MAX_CGROUP_FILES: Final = 8192
#: Ledgers of containers that are not read are looked at one after the other, at some 30 us each.
_LOOK_AT_LEDGERS: Final = 64
_CONTROLLERS: Final = (Controller.MEMORY, Controller.CPU, Controller.CPUSET, Controller.IO)
#: Left for those who ask, triggers, /dev/fuse, host files, and whatever libraries open.
_OTHER_FILES: Final = MAX_HELD + 1024 + 512


@dataclass(frozen=True, slots=True)
class Engine:
    """What renders; it knows nothing of FUSE. Owned by one thread."""

    hierarchies: tuple[Hierarchy, ...]
    #: Which cgroup version answers for which controller, for those that any answers for.
    versions: Mapping[Controller, str]
    #: What of the kernel's abilities is there.
    features: Features
    #: The virtual files that this kernel has a file for.
    files: tuple[VirtualFile, ...]
    processes: Processes
    resolver: Resolver
    content: ContentService
    cpu_tree: HostTree
    loads: LoadTracker
    #: None: CPU counters are not kept for another server.
    ledgers: LedgerFile | None
    _files: CgroupFiles
    _builder: ViewBuilder

    def render_for_pid(self, file: VirtualFile, pid: int) -> bytes:
        """Return what process `pid` would read."""
        return self.content.open(self.content.file_for(file, pid), pid)[1]

    def prune(self) -> None:
        """Let go of everything that belongs to containers that have died."""
        for container in self.resolver.prune():
            self._builder.forget(container)
        if self.ledgers is not None:
            self.ledgers.drop_ended(self._lives, _LOOK_AT_LEDGERS)
        self.loads.prune()
        self.content.prune()

    def _lives(self, owner: Owner) -> bool:
        """Tell whether a container is still there; yes where that cannot be told."""
        try:
            with self.processes.hold(owner.init_pid) as init:
                if init.start_ticks() != owner.init_start_ticks:
                    return False
        except PROCESS_GONE:
            return False
        except (OSError, ParseError):
            return True
        return not owner.path or self._files.any_exists(CgroupPaths.of({owner.hierarchy: owner.path}))


def assemble(  # noqa: PLR0913 - one for each thing that it is put together of
    view: ViewConfig,
    proc_root: Path = Path("/proc"),
    sys_root: Path = Path("/sys"),
    ledgers: Path | None = None,
    *,
    counts_beside: bool = False,
    make_files: type[CgroupFiles] = CgroupFiles,
    make_host: type[HostReader] = HostReader,
) -> Engine:
    """Build the engine for this host; CPU counters go on from `ledgers` and are kept there.

    With `counts_beside`, the caller has a thread of its own call `loads.run`. `make_files` and `make_host`
    read the kernel's files. Raises StartupError where the host's cgroups cannot be used.
    """
    try:
        hierarchies = find_hierarchies(parse_mountinfo((proc_root / "self/mountinfo").read_bytes()))
        own = parse_membership("/proc/self/cgroup", (proc_root / "self/cgroup").read_bytes())
        stats = _open_cgroup_stats()
        reader = open_layout(
            hierarchies,
            own,
            _file_budget(),
            stats,
            memory_high=view.memory_high,
            make_files=make_files,
        )
        if not reader.controllers:
            raise StartupError(
                f"no cgroup controller of {', '.join(c.value for c in _CONTROLLERS)} is mounted, "
                "neither v1 nor v2: nothing could be told about any container"
            )
        host = make_host(proc_root, sys_root)
        cpu_tree = HostTree(sys_root / "devices/system/cpu")
    except OSError as error:
        raise StartupError(f"cannot read {error.filename}: {error.strerror}") from error
    processes = Processes(host.proc_fd)
    resolver = Resolver(processes, reader, reader.files, reader.deciding)
    tracker = LoadTracker(reader, processes, counts_beside=counts_beside)
    ledger_file = None
    if ledgers is not None:
        ledger_file = LedgerFile(ledgers, read_boot_id(proc_root), os.sysconf("SC_NPROCESSORS_CONF"))
    builder = ViewBuilder(reader, tracker, view, ledger_file)
    content = ContentService(host, reader, resolver, builder, view.cache_ttl_seconds)
    every = (*VIRTUAL_FILES, *node_files(host.nodes))
    files = tuple(file for file in every if host.has(file.host_file))
    return Engine(
        hierarchies=hierarchies,
        files=files,
        versions=reader.versions,
        features=kernel_features(proc_root, hierarchies, processes, counts_tasks=stats is not None),
        processes=processes,
        resolver=resolver,
        content=content,
        cpu_tree=cpu_tree,
        loads=tracker,
        ledgers=ledger_file,
        _files=reader.files,
        _builder=builder,
    )


def _open_cgroup_stats() -> CgroupStats | None:
    """Return the kernel's own count of tasks, if it can be had."""
    try:
        return CgroupStats()
    except OSError:
        return None


def _file_budget() -> int:
    """Raise the soft limit of open files as far as allowed; return how many cgroup files may stay open."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _MAX_CGROUP_FILES + 2 * MAX_CONTAINERS + _OTHER_FILES
    limit = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
    if soft != resource.RLIM_INFINITY and soft < limit:
        resource.setrlimit(resource.RLIMIT_NOFILE, (limit, hard))
        soft = limit
    available = wanted if soft == resource.RLIM_INFINITY else soft
    # As many may be of the containers' inits, two of each.
    return max(64, min(_MAX_CGROUP_FILES, (available - _OTHER_FILES) // 2))
