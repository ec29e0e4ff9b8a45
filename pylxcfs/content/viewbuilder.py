"""Builds the ResourceView of a container from its cgroups and the host: the parts a file asks for."""

import contextlib
import re
from collections.abc import Iterator
from dataclasses import replace
from typing import Final

from pylxcfs.accounting.cpu_ledger import Ledger, Sample, advance, open_ledger
from pylxcfs.accounting.cpu_ledger_file import LedgerFile
from pylxcfs.accounting.hugepages import NO_HUGE_PAGES, HugePages, share_of
from pylxcfs.accounting.load_average import LoadView
from pylxcfs.accounting.load_tracker import LoadTracker
from pylxcfs.cgroup.types import (
    CgroupReader,
    Controller,
    ControllerUnavailable,
    CpuMax,
    CpuSet,
    ParseError,
)
from pylxcfs.config import ViewConfig
from pylxcfs.containers.container import Container
from pylxcfs.procfiles.table import VirtualFile
from pylxcfs.view.host import HostSnapshot
from pylxcfs.view.memory import MemoryView
from pylxcfs.view.nodes import NodeView, build_nodes
from pylxcfs.view.resources import CpuView, ResourceView

_MEM_TOTAL: Final = re.compile(rb"^MemTotal: *(\d{1,19})\b", re.MULTILINE)
_MEM_AVAILABLE: Final = re.compile(rb"^MemAvailable: *(\d{1,19})\b", re.MULTILINE)
_SWAP_TOTAL: Final = re.compile(rb"^SwapTotal: *(\d{1,19})\b", re.MULTILINE)
_SWAP_FREE: Final = re.compile(rb"^SwapFree: *(\d{1,19})\b", re.MULTILINE)
_HUGE_PAGE_SIZE: Final = re.compile(rb"^Hugepagesize: *(\d{1,19})\b", re.MULTILINE)
_USEC_PER_SECOND: Final = 1_000_000


class ViewBuilder:
    """Reads what a container owns. Owned by the serving thread.

    Keeps one CPU ledger per container, the only thing about it that is not a function of the kernel's
    counters (docs/adr/0003-cpu-counters-as-a-ledger.md).
    """

    def __init__(
        self,
        reader: CgroupReader,
        tracker: LoadTracker,
        config: ViewConfig,
        ledger_file: LedgerFile | None = None,
    ) -> None:
        """Read through `reader`, follow loads with `tracker`, show as `config` says.

        Ledgers go on where those in `ledger_file` ended.
        """
        self._file = ledger_file
        self._reader = reader
        self._tracker = tracker
        self._config = config
        self._ledgers: dict[Container, Ledger] = {}
        #: Whether nothing is to be shown of what is built, or not yet.
        self.is_glancing = False

    @contextlib.contextmanager
    def glancing(self) -> Iterator[None]:
        """Begin no ledger meanwhile."""
        self.is_glancing = True
        try:
            yield
        finally:
            self.is_glancing = False

    def build(self, container: Container, file: VirtualFile, host: HostSnapshot) -> ResourceView:
        """Read the parts that `file` declares; raises what the reader raises."""
        controllers = file.controllers
        needs_cpus = Controller.CPU in controllers and not file.needs_cpu_times
        age_usec = host.boottime_usec - container.init_start_ticks * _USEC_PER_SECOND // host.ticks_per_second
        uptime_usec = max(0, age_usec)
        visible = self._visible(container, host)[0] if needs_cpus else CpuSet()
        return ResourceView(
            uptime_usec=uptime_usec,
            memory_part=self._memory(container, host) if Controller.MEMORY in controllers else None,
            cpu_part=self._cpu(container, host, uptime_usec) if file.needs_cpu_times else None,
            cpus_part=self._shown(visible) if needs_cpus else None,
            nodes_part=self._nodes(container, host, visible) if file.needs_nodes else None,
            kernel_cpus_part=visible if needs_cpus and self._config.compact_cpus else None,
            io_part=self._reader.io(container.paths).devices if Controller.IO in controllers else None,
            load_part=self._load(container, uptime_usec) if file.needs_load else None,
            pressure_part=self._reader.pressure(container.paths, file.pressure) if file.pressure else None,
            slab_part=self._reader.slabinfo(container.paths) if Controller.SLAB in controllers else None,
        )

    def forget(self, container: Container) -> None:
        """Drop what is kept for `container`; its ledger stays in the file while it lives."""
        self._ledgers.pop(container, None)
        if self._file is not None:
            self._file.release(container.key)
        self._tracker.forget(container)

    def _memory(self, container: Container, host: HostSnapshot) -> MemoryView:
        return MemoryView(
            stats=self._reader.memory(container.paths),
            host_total=_host_bytes(_MEM_TOTAL, host.meminfo) or 0,
            host_swap_total=_host_bytes(_SWAP_TOTAL, host.meminfo) or 0,
            host_available=_host_bytes(_MEM_AVAILABLE, host.meminfo),
            host_swap_free=_host_bytes(_SWAP_FREE, host.meminfo),
            show_swap=self._config.swap,
            show_zswap=self._config.zswap,
            huge_pages=self._huge_pages(container, host),
        )

    def _huge_pages(self, container: Container, host: HostSnapshot) -> HugePages:
        """Read limits and use of those sizes that the host has pages of."""
        if not host.huge_pools:
            return NO_HUGE_PAGES
        stats = {}
        for size in host.huge_pools:
            with contextlib.suppress(ControllerUnavailable):
                stats[size] = self._reader.hugetlb(container.paths, size)
        return share_of(host.huge_pools, stats, _host_bytes(_HUGE_PAGE_SIZE, host.meminfo) or 0)

    def _cpu(self, container: Container, host: HostSnapshot, uptime_usec: int) -> CpuView:
        visible, quota = self._visible(container, host)
        stats = self._reader.cpu(container.paths)
        kernel_cpus = visible if self._config.compact_cpus else None
        sample = Sample(uptime_usec, self._shown(visible), stats.used, stats.unplaced, quota, kernel_cpus)
        ledger = self._ledgers.get(container)
        if ledger is None and self._file is not None:
            ledger = self._file.load(container.key)
        keeps = ledger is not None or not self.is_glancing
        ledger = open_ledger(sample) if ledger is None else advance(ledger, sample)
        if keeps:
            self._ledgers[container] = ledger
            if self._file is not None:
                self._file.save(container.key, ledger)
        return CpuView(ledger.times, ledger.hidden)

    def _nodes(self, container: Container, host: HostSnapshot, visible: CpuSet) -> NodeView:
        """Read which nodes the container may have memory of; all where no cpuset limits them."""
        allowed = None
        with contextlib.suppress(ControllerUnavailable):
            allowed = self._reader.memory_nodes(container.paths)
        shown = dict(zip(visible, self._shown(visible), strict=True))
        return build_nodes(host.nodes, shown, allowed)

    def _load(self, container: Container, uptime_usec: int) -> LoadView:
        """Read the load; without a cgroup show no tasks: no pid shown may be the host's."""
        try:
            load = self._tracker.read(container, uptime_usec)
        except (ControllerUnavailable, ParseError):
            return LoadView(averages=None, running=0, blocked=0, total=0, last_pid=0)
        return load if self._config.loadavg else replace(load, averages=None)

    def _visible(self, container: Container, host: HostSnapshot) -> tuple[CpuSet, CpuMax | None]:
        """Return the visible CPUs, and the quota that has cut them."""
        quota = self._reader.cpu_max(container.paths) if self._config.cfs else None
        return visible_cpus(self._effective_cpus(container, host), quota), quota

    def _shown(self, visible: CpuSet) -> CpuSet:
        """Return the numbers by which the visible CPUs are shown."""
        return CpuSet(range(len(visible))) if self._config.compact_cpus else visible

    def _effective_cpus(self, container: Container, host: HostSnapshot) -> CpuSet:
        """Online CPUs of the effective cpuset; every online one where no cpuset limits them."""
        try:
            allowed = self._reader.cpuset(container.paths)
        except ControllerUnavailable:
            return host.online
        if allowed == host.online:
            return allowed
        return CpuSet(set(host.online).intersection(allowed)) or host.online


def visible_cpus(effective: CpuSet, quota: CpuMax | None) -> CpuSet:
    """Cut the effective CPUs to as many as the quota can keep busy, at least one."""
    if quota is None:
        return effective
    count = max(1, -(-quota.quota_usec // quota.period_usec))
    return effective if count >= len(effective) else CpuSet(effective[:count])


def _host_bytes(field: re.Pattern[bytes], meminfo: bytes) -> int | None:
    """Return a field of the host's meminfo in bytes; None where this kernel has no such."""
    found = field.search(meminfo)
    return int(found[1]) * 1024 if found else None
