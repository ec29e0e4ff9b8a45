"""The host's own /proc and CPU list, read through descriptors opened before anything is mounted."""

import contextlib
import os
import re
import time
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, NamedTuple

from pylxcfs.accounting.hugepages import HugePool
from pylxcfs.cgroup.parse import parse_cpu_list
from pylxcfs.cgroup.types import CpuSet, ParseError
from pylxcfs.linux.files import read_whole
from pylxcfs.linux.personality import kernel_heeds_personality, linux32

_CHUNK: Final = 1 << 16
#: Files that the kernel writes as one record (single_open in fs/proc, and all of sysfs): one read gives all
#: of it, and the second one, only to see the end, would make the kernel write it once more.
_ONE_RECORD: Final = frozenset(
    {
        *("loadavg", "meminfo", "stat", "uptime"),
        *("pressure/cpu", "pressure/io", "pressure/irq", "pressure/memory"),
        *("cpu/enabled", "cpu/offline", "cpu/online", "cpu/possible", "cpu/present"),
    }
)
#: Of /sys/devices/system/cpu, read by the name ``cpu/NAME``; not every kernel has all of them.
_CPU_LISTS: Final = ("enabled", "offline", "possible", "present")
_ONLINE: Final = "cpu/online"
_BELOW_NODE: Final = "node/"
#: Below /sys/kernel/mm/hugepages/hugepages-SIZEkB (Documentation/admin-guide/mm/hugetlbpage.rst).
_POOL_FILES: Final = ("nr_hugepages", "free_hugepages", "resv_hugepages")
HUGE_POOLS: Final = "huge_pools"
ONLINE: Final = "online"
NODES: Final = "nodes"
#: What can be asked for besides the files of /proc.
PARSED: Final = frozenset({HUGE_POOLS, ONLINE, NODES})
#: Of /sys/devices/system/node, read by the name ``node/NAME`` (Documentation/ABI/stable/sysfs-devices-node).
_NODE_LISTS: Final = ("online", "possible", "has_cpu", "has_memory", "has_normal_memory")
_NODE_FILES: Final = ("cpulist", "cpumap", "distance", "meminfo")
_NODE: Final = re.compile(r"node(0|[1-9][0-9]{0,5})")
_NODE_TOTAL: Final = re.compile(rb"^Node \d+ MemTotal: *(\d{1,15}) kB$", re.MULTILINE)


class HostNode(NamedTuple):
    """One NUMA node of the host: its CPUs, and its memory in bytes."""

    cpus: CpuSet
    memory: int


@dataclass(frozen=True, slots=True)
class HostSnapshot:
    """What a renderer knows of the host: the raw files that a virtual file asked for, the others empty."""

    meminfo: bytes = b""
    cpuinfo: bytes = b""
    stat: bytes = b""
    uptime: bytes = b""
    swaps: bytes = b""
    diskstats: bytes = b""
    loadavg: bytes = b""
    pressure_cpu: bytes = b""
    pressure_io: bytes = b""
    pressure_irq: bytes = b""
    pressure_memory: bytes = b""
    #: CLOCK_BOOTTIME, microseconds.
    boottime_usec: int = 0
    #: How far the reader's CLOCK_BOOTTIME is ahead of that (time_namespaces(7)).
    boottime_offset_usec: int = 0
    ticks_per_second: int = 100
    online: CpuSet = field(default_factory=CpuSet)
    #: The host's NUMA nodes, by number.
    nodes: Mapping[int, HostNode] = field(default_factory=dict)
    #: The one file below /sys/devices/system/node that was asked for.
    node_text: bytes = b""
    #: By page size in bytes, those sizes of which there are pages.
    huge_pools: Mapping[int, HugePool] = field(default_factory=dict)


class HostReader:
    """Reads host files by name through held descriptors.

    Opened before mounting: if someone binds our files over the daemon's own /proc, reads by path would
    wait for ourselves.
    """

    def __init__(self, proc_root: Path, sys_root: Path) -> None:
        """Open the roots; raises OSError where they are not there."""
        #: Whether cpuinfo says something else to a reader with a 32-bit personality.
        self.heeds_personality = kernel_heeds_personality()
        self.proc_fd = os.open(proc_root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        cpu = sys_root / "devices/system/cpu"
        self._fds = {_ONLINE: os.open(cpu / "online", os.O_RDONLY | os.O_CLOEXEC)}
        for name in _CPU_LISTS:
            self._open_if_there(f"cpu/{name}", cpu / name)
        self._nodes = self._open_nodes(sys_root / "devices/system/node")
        self._pool_fds = _open_pools(sys_root / "kernel/mm/hugepages")
        self._ticks_per_second = os.sysconf("SC_CLK_TCK")
        self._online = CpuSet()
        self._online_text = b""

    def has(self, name: str) -> bool:
        """Tell whether this kernel has a file that `read` knows by this name."""
        return name in self._fds or os.access(name, os.F_OK, dir_fd=self.proc_fd)

    def read(self, name: str, *, as_linux32: bool = False) -> bytes:
        """Return a host /proc file, or a CPU list as ``cpu/NAME``; empty where this kernel has none.

        `as_linux32` has what the kernel tells a task with a 32-bit personality.
        """
        if as_linux32:
            with linux32():
                return self.read(name)
        fd = self._fds.get(name)
        if fd is None:
            try:
                fd = os.open(name, os.O_RDONLY | os.O_CLOEXEC, dir_fd=self.proc_fd)
            except FileNotFoundError:
                return b""
            self._fds[name] = fd
        if name in _ONE_RECORD:
            content = os.pread(fd, _CHUNK, 0)
            if len(content) < _CHUNK:
                return content
        return read_whole(fd)

    def snapshot(
        self, names: Collection[str], *, as_linux32: bool = False, boottime_offset_usec: int = 0
    ) -> HostSnapshot:
        """Read the files that a virtual file asks for, and the clock."""
        return HostSnapshot(
            **{
                name.replace("/", "_"): self.read(name, as_linux32=as_linux32)
                for name in names
                if name not in PARSED and not name.startswith(_BELOW_NODE)
            },
            nodes=self._read_nodes() if NODES in names else {},
            node_text=b"".join(self.read(name) for name in names if name.startswith(_BELOW_NODE)),
            huge_pools=self._read_huge_pools() if HUGE_POOLS in names else {},
            boottime_usec=time.clock_gettime_ns(time.CLOCK_BOOTTIME) // 1000,
            boottime_offset_usec=boottime_offset_usec,
            ticks_per_second=self._ticks_per_second,
            online=self._read_online() if ONLINE in names else CpuSet(),
        )

    @property
    def nodes(self) -> CpuSet:
        """The NUMA nodes that the host had when this began; none on a kernel without NUMA."""
        return self._nodes

    def _open_nodes(self, top: Path) -> CpuSet:
        for name in _NODE_LISTS:
            self._open_if_there(f"{_BELOW_NODE}{name}", top / name)
        found = [int(match[1]) for path in top.glob("node*") if (match := _NODE.fullmatch(path.name))]
        for number in found:
            for name in _NODE_FILES:
                self._open_if_there(f"{_BELOW_NODE}node{number}/{name}", top / f"node{number}" / name)
        return CpuSet(found)

    def _open_if_there(self, name: str, path: Path) -> None:
        with contextlib.suppress(FileNotFoundError):
            self._fds[name] = os.open(path, os.O_RDONLY | os.O_CLOEXEC)

    def _read_nodes(self) -> Mapping[int, HostNode]:
        nodes = {}
        for number in self._nodes:
            below = f"{_BELOW_NODE}node{number}/"
            total = _NODE_TOTAL.search(self.read(f"{below}meminfo"))
            with contextlib.suppress(ParseError):
                cpus = parse_cpu_list(f"{below}cpulist", self.read(f"{below}cpulist"))
                nodes[number] = HostNode(cpus, int(total[1]) * 1024 if total else 0)
        return nodes

    def _read_huge_pools(self) -> Mapping[int, HugePool]:
        pools = {}
        for size, (total_fd, free_fd, reserved_fd) in self._pool_fds.items():
            # One size that cannot be read costs the others nothing. Almost everywhere there are no pages.
            with contextlib.suppress(ValueError):
                if total := _read_count(total_fd):
                    pools[size] = HugePool(total, _read_count(free_fd), _read_count(reserved_fd))
        return pools

    def _read_online(self) -> CpuSet:
        # Read each time, or a CPU that was switched on would be missing for a while; seldom parsed.
        text = self.read(_ONLINE)
        if text != self._online_text:
            self._online, self._online_text = parse_cpu_list(_ONLINE, text), text
        return self._online


def _open_pools(directory: Path) -> Mapping[int, tuple[int, ...]]:
    """Open the files of each size of huge pages, by bytes; none where this kernel has no huge pages."""
    pools = {}
    for pool in directory.glob("hugepages-*kB"):
        size = int(pool.name.removeprefix("hugepages-").removesuffix("kB")) * 1024
        pools[size] = tuple(os.open(pool / name, os.O_RDONLY | os.O_CLOEXEC) for name in _POOL_FILES)
    return pools


def _read_count(fd: int) -> int:
    return int(os.pread(fd, _CHUNK, 0))
