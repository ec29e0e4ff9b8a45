"""Render /sys/devices/system/node: the NUMA nodes that the container has CPUs or memory of.

Nodes keep the kernel's numbers, which are those of set_mempolicy(2) and cpuset.mems. Their CPUs are those of
the CPU tree; their memory is the container's, in proportion to what the host has on each. Source:
Documentation/ABI/stable/sysfs-devices-node of the kernel.
"""

import re
from collections.abc import Callable, Iterator
from typing import Final

from pylxcfs.cgroup.parse import format_cpu_list
from pylxcfs.cgroup.types import CpuSet
from pylxcfs.procfiles import meminfo
from pylxcfs.procfiles.field import CPU_FILES, Field, Part, Rule
from pylxcfs.view.host import HostSnapshot
from pylxcfs.view.nodes import NodeView
from pylxcfs.view.resources import ResourceView

_NODE_FILES: Final = (*CPU_FILES, "*/cpuset.*mems*", "/sys/devices/system/node/*")
_LIST: Final = Field(
    Rule.COMPUTED,
    "the nodes of the visible CPUs and of the memory that the cpuset allows",
    "nodes with CPUs in the CPU tree or in cpuset.mems",
    _NODE_FILES,
)
_CPUS: Final = Field(
    Rule.COMPUTED,
    "the visible CPUs of this node",
    "cpulist of the host and online of the CPU tree",
    _NODE_FILES,
)
_MEMORY: Final = Field(
    Rule.COMPUTED,
    "this node's part of what meminfo says, in proportion to what the host has on its nodes",
    "field of meminfo * MemTotal of the node // MemTotal of all allowed nodes",
    _NODE_FILES,
)
_UNCOUNTED: Final = Field(Rule.ZERO, "no cgroup counts it, and the host's value would tell of the host")
_DISTANCES: Final = Field(Rule.HOST_WIDE, "how far memory is, to each of the container's nodes")
#: Where a node's file has another name for a field of meminfo.
_OTHER_NAMES: Final = {b"FilePages": b"Cached"}
_LINE: Final = re.compile(rb"^(Node \d+ ([^:\n]+):)( *)(\d{1,19})( kB)?$", re.MULTILINE)
_GROUP: Final = 8

Render = Callable[[ResourceView, HostSnapshot], bytes]
#: Which of a container's nodes a list names.
LISTS: Final[dict[str, Callable[[NodeView], CpuSet]]] = {
    "online": lambda nodes: nodes.numbers,
    "possible": lambda nodes: nodes.numbers,
    "has_cpu": lambda nodes: CpuSet(nodes.cpus),
    "has_memory": lambda nodes: CpuSet(nodes.memory),
    "has_normal_memory": lambda nodes: CpuSet(nodes.memory),
}


def list_renderer(name: str) -> Render:
    """Return what renders one of `LISTS`."""

    def render(view: ResourceView, host: HostSnapshot) -> bytes:
        del host
        return format_cpu_list(LISTS[name](view.nodes)) + b"\n"

    return render


def cpulist_renderer(node: int) -> Render:
    """Return what renders a node's ``cpulist``."""

    def render(view: ResourceView, host: HostSnapshot) -> bytes:
        del host
        return format_cpu_list(view.nodes.cpus.get(node, CpuSet())) + b"\n"

    return render


def cpumap_renderer(node: int) -> Render:
    """Return what renders a node's ``cpumap``: hexadecimal, as many digits as the host's."""

    def render(view: ResourceView, host: HostSnapshot) -> bytes:
        digits = len(host.node_text.replace(b",", b"").strip())
        mask = sum(1 << cpu for cpu in view.nodes.cpus.get(node, CpuSet()))
        text = f"{mask:0{digits}x}"
        first = len(text) % _GROUP
        groups = [text[:first]] if first else []
        groups += [text[start : start + _GROUP] for start in range(first, len(text), _GROUP)]
        return ",".join(groups).encode() + b"\n"

    return render


def render_distance(view: ResourceView, host: HostSnapshot) -> bytes:
    """Return a node's ``distance``: a number for each of the container's nodes."""
    numbers = view.nodes.numbers
    distances = zip(host.nodes, host.node_text.split(), strict=False)
    return b" ".join(distance for number, distance in distances if number in numbers) + b"\n"


def meminfo_renderer(node: int) -> Render:
    """Return what renders a node's ``meminfo``: the container's, and this node's part of it."""

    def render(view: ResourceView, host: HostSnapshot) -> bytes:
        def rewrite(line: re.Match[bytes]) -> bytes:
            kib = view.nodes.share(node, _amount(view, line[2])) >> 10
            number = kib if line[5] else 0
            width = len(line[3]) + len(line[4])
            return b"%b%*d%b" % (line[1], width, number, line[5] or b"")

        return _LINE.sub(rewrite, host.node_text)

    return render


def _amount(view: ResourceView, name: bytes) -> int:
    memory = view.memory
    if name == b"MemUsed":
        return memory.total - memory.free
    return meminfo.amount(memory, _OTHER_NAMES.get(name, name))


def split_list(text: bytes) -> Iterator[Part]:
    """Yield the list of nodes."""
    yield Part("nodes", text.decode(errors="replace").strip(), _LIST)


def split_cpus(text: bytes) -> Iterator[Part]:
    """Yield the CPUs of a node."""
    yield Part("CPUs", text.decode(errors="replace").strip(), _CPUS)


def split_distance(text: bytes) -> Iterator[Part]:
    """Yield the distances."""
    yield Part("distances", text.decode(errors="replace").strip(), _DISTANCES)


def split_meminfo(text: bytes) -> Iterator[Part]:
    """Yield the fields of a node's meminfo."""
    for line in _LINE.finditer(text):
        name = _OTHER_NAMES.get(line[2], line[2])
        is_told = name == b"MemUsed" or (name in meminfo.COMPUTED and line[5])
        yield Part(
            line[2].decode(errors="replace"),
            (line[4] + (line[5] or b"")).decode(),
            _MEMORY if is_told else _UNCOUNTED,
        )
