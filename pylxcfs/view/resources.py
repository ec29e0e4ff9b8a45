"""ResourceView: what one container owns."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, TypeVar

from pylxcfs.accounting.cpu_ledger import CpuTimes
from pylxcfs.accounting.load_average import LoadView
from pylxcfs.cgroup.types import CpuSet, DeviceIo, DeviceNumber
from pylxcfs.view.memory import MemoryView
from pylxcfs.view.nodes import NodeView

_Part = TypeVar("_Part")


@dataclass(frozen=True, slots=True)
class CpuView:
    """The visible CPUs, ascending, and the time of each."""

    times: Mapping[int, CpuTimes]
    #: What CPUs that are hidden now showed last: part of the sum, as in the kernel for CPUs that are offline.
    hidden: Mapping[int, CpuTimes] = field(default_factory=dict)

    @property
    def cpus(self) -> CpuSet:
        """The visible CPUs."""
        return CpuSet(self.times)


def _declared(part: _Part | None, name: str) -> _Part:
    if part is None:
        raise LookupError(name)
    return part


@dataclass(frozen=True, slots=True)
class ResourceView:
    """What one container owns; the only thing that renderers know about it.

    A part that the virtual file did not declare is absent, and asking for it is an error.
    """

    uptime_usec: int
    memory_part: MemoryView | None = None
    cpu_part: CpuView | None = None
    io_part: Mapping[DeviceNumber, DeviceIo] | None = None
    load_part: LoadView | None = None
    pressure_part: bytes | None = None
    slab_part: bytes | None = None
    #: In place of `cpu_part` where no times are needed: they cost more than all the rest of such a file.
    cpus_part: CpuSet | None = None
    #: The visible CPUs by the kernel's numbers, where they are shown by others.
    kernel_cpus_part: CpuSet | None = None
    nodes_part: NodeView | None = None

    @property
    def memory(self) -> MemoryView:
        """Memory and swap; raises LookupError where the file did not declare them."""
        return _declared(self.memory_part, "memory")

    @property
    def cpu(self) -> CpuView:
        """The visible CPUs and their times; raises LookupError where the file did not declare them."""
        return _declared(self.cpu_part, "cpu")

    @property
    def cpus(self) -> CpuSet:
        """The visible CPUs alone; raises LookupError where the file did not declare them."""
        return self.cpu.cpus if self.cpus_part is None else self.cpus_part

    @property
    def kernel_cpus(self) -> CpuSet:
        """The visible CPUs by the kernel's numbers, in the order of `cpus`."""
        return self.cpus if self.kernel_cpus_part is None else self.kernel_cpus_part

    @property
    def nodes(self) -> NodeView:
        """NUMA nodes; raises LookupError where they were not declared."""
        return _declared(self.nodes_part, "nodes")

    @property
    def io(self) -> Mapping[DeviceNumber, DeviceIo]:
        """Block I/O per device; raises LookupError where the file did not declare it."""
        return _declared(self.io_part, "io")

    @property
    def load(self) -> LoadView:
        """Load and tasks; raises LookupError where the file did not declare them."""
        return _declared(self.load_part, "load")

    @property
    def pressure(self) -> bytes:
        """One pressure file, empty without any; raises LookupError where the file did not declare it."""
        return _declared(self.pressure_part, "pressure")

    @property
    def slabinfo(self) -> bytes:
        """Caches of kernel objects, or nothing; raises LookupError where the file did not declare them."""
        return _declared(self.slab_part, "slabinfo")


#: A container that uses nothing; memory, CPUs and load always have numbers, and are not in it.
NOTHING_USED: Final = ResourceView(uptime_usec=0, io_part={}, pressure_part=b"", slab_part=b"")
