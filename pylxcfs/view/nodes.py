"""NodeView: the NUMA nodes of one container. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass

from pylxcfs.cgroup.types import CpuSet
from pylxcfs.view.host import HostNode


@dataclass(frozen=True, slots=True)
class NodeView:
    """Those nodes that the container has CPUs or memory of, by the kernel's numbers."""

    #: The visible CPUs of each, by the numbers by which they are shown.
    cpus: Mapping[int, CpuSet]
    #: Those that its memory may come from, each with its part of the whole.
    memory: Mapping[int, int]

    @property
    def numbers(self) -> CpuSet:
        """All of them."""
        return CpuSet((*self.cpus, *self.memory))

    def share(self, node: int, amount: int) -> int:
        """Return a node's part of an amount of memory, as large as that of the host's on these nodes."""
        whole = sum(self.memory.values())
        if not whole:
            return amount if node in self.memory and len(self.memory) == 1 else 0
        return amount * self.memory.get(node, 0) // whole


def build_nodes(host: Mapping[int, HostNode], shown: Mapping[int, int], allowed: CpuSet | None) -> NodeView:
    """Return the nodes of a container.

    `shown` has its visible CPUs, the kernel's number and the one shown; `allowed` are the nodes that its
    memory may come from, None for all.
    """
    cpus = {}
    for number, node in host.items():
        visible = CpuSet(shown[cpu] for cpu in node.cpus if cpu in shown)
        if visible:
            cpus[number] = visible
    memory = {
        number: node.memory
        for number, node in host.items()
        if node.memory and (allowed is None or number in allowed)
    }
    return NodeView(cpus, memory)
