"""ResourceView: what one container owns. Every derived number and clamp is defined here."""

from collections.abc import Mapping
from dataclasses import dataclass

from pylxcfs.cgroup.types import CpuSet, DeviceIo, DeviceNumber, MemoryStats


@dataclass(frozen=True, slots=True)
class MemoryView:
    """Memory and swap as the container owns them, in bytes (helper: derived properties go here)."""

    stats: MemoryStats
    host_total: int
    host_swap_total: int
    show_swap: bool = True


@dataclass(frozen=True, slots=True)
class CpuTimes:
    """Time of one visible CPU since the container began, microseconds."""

    user_usec: int
    system_usec: int
    idle_usec: int


@dataclass(frozen=True, slots=True)
class CpuView:
    """The visible CPUs, ascending, and the time of each."""

    times: Mapping[int, CpuTimes]

    @property
    def cpus(self) -> CpuSet:
        """The visible CPUs."""
        return CpuSet(self.times)


@dataclass(frozen=True, slots=True)
class ResourceView:
    """What one container owns; the only thing that renderers know about it.

    A part that the row did not declare is absent, and asking for it is an error.
    """

    uptime_usec: int
    memory_part: MemoryView | None = None
    cpu_part: CpuView | None = None
    io_part: Mapping[DeviceNumber, DeviceIo] | None = None
