"""(virtual file, container) → bytes: the content cache, and what is served when the kernel does not answer.

The fallback policy is docs/adr/0005-fallbacks.md: a reader never sees an error for it, and never another
container's data.
"""

import logging
import os
import time
from collections import Counter, OrderedDict, defaultdict
from dataclasses import replace
from typing import Final

from pylxcfs.cgroup.parse import parse_cpu_list
from pylxcfs.cgroup.types import (
    CgroupError,
    CgroupGone,
    CgroupReader,
    Controller,
    ControllerUnavailable,
    CpuSet,
    InRootCgroup,
    Pressure,
)
from pylxcfs.containers.container import Container
from pylxcfs.containers.resolver import Resolver
from pylxcfs.content.counters import FileCounters
from pylxcfs.content.viewbuilder import ViewBuilder
from pylxcfs.linux.files import WANT_OF_RESOURCES
from pylxcfs.procfiles.table import (
    CPUINFO,
    CPUINFO_LINUX32,
    CPUS_PRESENT,
    NODES_ONLINE,
    Fallback,
    VirtualFile,
)
from pylxcfs.view.host import HostReader, HostSnapshot
from pylxcfs.view.resources import NOTHING_USED, ResourceView

_log = logging.getLogger(__name__)
_MAX_CACHED: Final = 8192
#: Whoever makes more time namespaces than this only has less cached.
_MAX_CLOCKS: Final = 256


class DeadlyRequestError(CgroupError):
    """Servers have ended again and again while they answered this."""


#: A container that is younger may not have its limits yet.
_MADE_SECONDS: Final = 5.0


class ContentService:
    """Renders virtual files. Owned by the serving thread."""

    def __init__(
        self,
        host: HostReader,
        reader: CgroupReader,
        resolver: Resolver,
        builder: ViewBuilder,
        cache_ttl_seconds: float,
    ) -> None:
        """Serve rendered content again for `cache_ttl_seconds`; 0 renders every time."""
        self._host = host
        self._reader = reader
        self._resolver = resolver
        self._builder = builder
        self._ttl = cache_ttl_seconds
        self._host_view = False
        self._cache: OrderedDict[tuple[Container | None, VirtualFile], tuple[float, bytes]] = OrderedDict()
        #: How often a file could not be rendered and its fallback was served: (path, why) → count.
        self.fallbacks: Counter[tuple[str, str]] = Counter()
        #: Files for readers in other time namespaces.
        self._other_clocks: OrderedDict[tuple[VirtualFile, int], VirtualFile] = OrderedDict()
        #: What was asked for by those who open or reread a file, by its path.
        self.counters: defaultdict[str, FileCounters] = defaultdict(FileCounters)
        #: What walks through the CPU tree needed besides.
        self.walks = FileCounters()

    @property
    def lifetime_seconds(self) -> float:
        """How long content may be served again."""
        return self._ttl

    @property
    def shows_host(self) -> bool:
        """Whether everybody sees the host."""
        return self._host_view

    def show_host(self, *, on: bool) -> bool:
        """Show everybody the host, or containers themselves again; return whether that is a change.

        Files that are open follow at their next read from the start.
        """
        changed = self._host_view != on
        self._host_view = on
        self._cache.clear()
        return changed

    def file_for(self, file: VirtualFile, pid: int) -> VirtualFile:
        """Return the virtual file to open for `pid`.

        Some see another cpuinfo (docs/adr/0013-personality.md), some have another clock
        (docs/adr/0029-time-namespaces.md).
        """
        if file is CPUINFO and self._host.heeds_personality and self._resolver.is_linux32(pid):
            return CPUINFO_LINUX32
        if file.by_clock is not None and (offset_usec := self._resolver.boottime_offset(pid)):
            return self._by_clock(file, offset_usec)
        return file

    def _by_clock(self, file: VirtualFile, offset_usec: int) -> VirtualFile:
        """Return the one object for a file and an offset, so that the cache can be keyed by it."""
        key = (file, offset_usec)
        known = self._other_clocks.get(key)
        if known is None:
            known = self._other_clocks[key] = replace(file, boottime_offset_usec=offset_usec)
        self._other_clocks.move_to_end(key)
        if len(self._other_clocks) > _MAX_CLOCKS:
            self._other_clocks.popitem(last=False)
        return known

    def open(self, file: VirtualFile, pid: int) -> tuple[Container | None, bytes]:
        """Find out who asks, and return their content with it."""
        counters = self.counters[file.path]
        began_ns = time.perf_counter_ns()
        opened = self._open(file, pid, counters)
        counters.add(time.perf_counter_ns() - began_ns)
        return opened

    def glance(self, file: VirtualFile, pid: int) -> bytes:
        """Return what an open by `pid` would show at this moment; remember nothing, and begin no CPU ledger.

        For a container that is not made yet: its ledger would have idle time of CPUs that it never had.
        """
        with self._builder.glancing():
            return self.open(file, pid)[1]

    @staticmethod
    def is_made(container: Container | None) -> bool:
        """Tell whether a container has its limits: its runtime looks at the files before it sets them.

        Where init is the host's nobody knows how old a container is.
        """
        if container is None or container.in_host_pid_namespace:
            return container is None
        began_seconds = container.init_start_ticks / os.sysconf("SC_CLK_TCK")
        return time.clock_gettime(time.CLOCK_BOOTTIME) - began_seconds >= _MADE_SECONDS

    def who(self, pid: int) -> Container | None:
        """Find out who asks; None: the host."""
        return self._resolver.resolve(pid)

    def read(self, file: VirtualFile, container: Container | None) -> bytes:
        """Return the content for `container`, at most the cache time old; raises CgroupGone."""
        counters = self.counters[file.path]
        began_ns = time.perf_counter_ns()
        content = self._read(file, container, counters)
        counters.add(time.perf_counter_ns() - began_ns)
        return content

    def give_up(self, file: VirtualFile) -> bytes:
        """Return what is served in place of `file` to whoever asks what servers have died of."""
        return self._fall_back(file, DeadlyRequestError("servers have died of this request"))

    def visible_cpus(self, pid: int) -> CpuSet | None:
        """Return the CPUs that `pid` sees, None for all that the host has."""
        return self._visible(CPUS_PRESENT, pid)

    def visible_nodes(self, pid: int) -> CpuSet | None:
        """Return the NUMA nodes that `pid` sees, None for all that the host has."""
        return self._visible(NODES_ONLINE, pid)

    def open_pressure(self, resource: Pressure, container: Container) -> int:
        """Open `container`'s pressure file for a trigger; raises CgroupError where it has none of its own."""
        if self._reader.at_root(container.paths, Controller.PRESSURE):
            raise ControllerUnavailable("a trigger there would watch the host")
        return self._reader.open_pressure(container.paths, resource)

    def prune(self) -> None:
        """Drop content that may not be served any more."""
        now = time.monotonic()
        # Every entry lives equally long, so the oldest are in front.
        while self._cache and next(iter(self._cache.values()))[0] <= now:
            self._cache.popitem(last=False)

    def is_io_worker(self, pid: int) -> bool:
        """Tell whether a reader is a thread that the kernel has made for io_uring."""
        return self._resolver.is_io_worker(pid)

    def is_hosts(self, file: VirtualFile, container: Container) -> bool:
        """Tell whether a process of the host has no cgroup of its own for `file`, so that it is shown its."""
        return container.in_host_pid_namespace and self._is_at_root(file, container)

    def look(self, file: VirtualFile, container: Container) -> tuple[ResourceView, HostSnapshot]:
        """Return what `file` is rendered from; raises CgroupError where the cgroup cannot answer."""
        if self._is_at_root(file, container):
            raise InRootCgroup("the container is in the root cgroup")
        host = self._host.snapshot(
            file.host_files,
            as_linux32=file.as_linux32,
            boottime_offset_usec=file.boottime_offset_usec,
        )
        return self._builder.build(container, file, host), host

    def _is_at_root(self, file: VirtualFile, container: Container) -> bool:
        return bool(file.controllers) and all(
            self._reader.at_root(container.paths, controller) for controller in file.controllers
        )

    def _visible(self, file: VirtualFile, pid: int) -> CpuSet | None:
        """Return the numbers in a list of what `pid` sees, None for all that the host has.

        Read from the file that says so, and so never another answer than the files'.
        """
        if self._host_view:
            return None
        began_ns = time.perf_counter_ns()
        container, content = self._open(file, pid, self.walks)
        self.walks.add(time.perf_counter_ns() - began_ns)
        return None if container is None else parse_cpu_list(file.path, content)

    def _open(self, file: VirtualFile, pid: int, counters: FileCounters) -> tuple[Container | None, bytes]:
        # Who asks is found out in the host view too: what stays open outlasts it.
        container = self._resolver.resolve(pid)
        try:
            return container, self._read(file, container, counters)
        except CgroupGone:
            # Removed between two looks: a stale answer about who asks, or the asker is about to end. A group
            # of the same name may be there by now, so what is open in any hierarchy is looked up again too.
            if container is not None:
                self._resolver.forget(container)
            container = self._resolver.resolve(pid)
        try:
            return container, self._read(file, container, counters)
        except CgroupGone as error:
            return container, self._fall_back(file, error)

    def _read(self, file: VirtualFile, container: Container | None, counters: FileCounters) -> bytes:
        if self._host_view:
            container = None
        if not self._ttl:
            return self._render_with_room(file, container)
        now = time.monotonic()
        key = (container, file)
        cached = self._cache.get(key)
        if cached is not None and now < cached[0]:
            counters.hits += 1
            return cached[1]
        content = self._render_with_room(file, container)
        if self._builder.is_glancing:
            return content
        self._cache[key] = (now + self._ttl, content)
        self._cache.move_to_end(key)
        if len(self._cache) > _MAX_CACHED:
            self._cache.popitem(last=False)
        return content

    def _render_with_room(self, file: VirtualFile, container: Container | None) -> bytes:
        """Render; where descriptors or memory are wanting, give up what is kept and try again.

        Where even that does not help, what was shown last is shown; raises OSError where that is not kept.
        Never the fallback, which may be the host's.
        """
        try:
            return self._render(file, container)
        except OSError as error:
            if error.errno not in WANT_OF_RESOURCES:
                raise
        self._resolver.make_room()
        try:
            return self._render(file, container)
        except OSError as error:
            known = self._cache.get((container, file))
            if error.errno not in WANT_OF_RESOURCES or known is None:
                raise
            self._note_fallback(file, error, "what was shown last")
            return known[1]

    def _render(self, file: VirtualFile, container: Container | None) -> bytes:
        if container is None or self.is_hosts(file, container):
            return self._read_host(file)
        try:
            return file.render(*self.look(file, container))
        except CgroupGone:
            raise
        except CgroupError as error:
            return self._fall_back(file, error)

    def _fall_back(self, file: VirtualFile, error: CgroupError) -> bytes:
        self._note_fallback(file, error, file.fallback.name.lower())
        if file.fallback is Fallback.HOST:
            return self._read_host(file)
        return file.render(NOTHING_USED, self._host.snapshot(file.host_files))

    def _note_fallback(self, file: VirtualFile, error: Exception, what: str) -> None:
        reason = (file.path, type(error).__name__)
        self.fallbacks[reason] += 1
        if self.fallbacks[reason] == 1:
            level = logging.INFO if isinstance(error, InRootCgroup) else logging.WARNING
            _log.log(level, "%s: serving the fallback (%s): %s", file.path, what, error)

    def _read_host(self, file: VirtualFile) -> bytes:
        text = self._host.read(file.host_file, as_linux32=file.as_linux32)
        if file.by_clock is not None and file.boottime_offset_usec:
            return file.by_clock(text, file.boottime_offset_usec)
        return text
