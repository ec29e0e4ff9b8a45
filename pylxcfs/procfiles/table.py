"""The table of all virtual files: lookup, listing, views and fallbacks are derived from it."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from enum import Enum
from typing import Final

from pylxcfs.cgroup.types import Controller, CpuSet, Pressure
from pylxcfs.procfiles import (
    cpuinfo,
    cpulists,
    diskstats,
    loadavg,
    meminfo,
    nodes,
    pressure,
    slabinfo,
    stat,
    swaps,
    uptime,
)
from pylxcfs.procfiles.binds import CPU_DIRECTORY, NODE_DIRECTORY
from pylxcfs.procfiles.field import Part
from pylxcfs.view.host import HUGE_POOLS, NODES, ONLINE, HostSnapshot
from pylxcfs.view.resources import ResourceView

#: Pure: container and host in, the whole file out.
Renderer = Callable[[ResourceView, HostSnapshot], bytes]
Splitter = Callable[[bytes], Iterator[Part]]

_CPU: Final = frozenset({Controller.CPU, Controller.CPUSET})
_MEMORY: Final = frozenset({Controller.MEMORY})
_IO: Final = frozenset({Controller.IO})
_PRESSURE: Final = frozenset({Controller.PRESSURE})


class Fallback(Enum):
    """What a container gets when its cgroup cannot answer."""

    #: The host's file.
    HOST = "host"
    #: The file of a container that uses nothing: the host's would tell more than it may know.
    EMPTY = "empty"


# Told apart by identity: they are keys on the hot path.
@dataclass(frozen=True, slots=True, eq=False)
class VirtualFile:
    """A virtual file: who renders it, and all that its renderer and its view are made of."""

    #: Below the mount point.
    path: str
    render: Renderer
    #: Takes its text apart into fields, each with how it is made.
    split: Splitter
    #: Host files that have to be read into the `HostSnapshot`, for the renderer or for the view.
    host_files: tuple[str, ...]
    controllers: frozenset[Controller]
    fallback: Fallback
    #: Below /proc, or ``cpu/NAME``: what host processes get, and containers on `Fallback.HOST`.
    host_file: str
    description: str
    #: The times of the CPUs, not only which of them are visible.
    needs_cpu_times: bool = False
    #: The load part of the view, which makes the container's load be followed.
    needs_load: bool = False
    #: Host files are read as a task with a 32-bit personality reads them.
    as_linux32: bool = False
    #: Turns the host's clock in the text into one that is so many microseconds ahead: the file tells time.
    by_clock: Callable[[bytes, int], bytes] | None = None
    #: How far the reader's CLOCK_BOOTTIME is ahead, microseconds.
    boottime_offset_usec: int = 0
    #: The pressure that it tells of; with it, who writes sets a trigger where that is allowed.
    pressure: Pressure | None = None
    #: The NUMA nodes.
    needs_nodes: bool = False
    #: Permissions.
    mode: int = 0o444


CPUINFO: Final = VirtualFile(
    path="proc/cpuinfo",
    render=cpuinfo.render,
    split=cpuinfo.split,
    host_files=("cpuinfo", ONLINE),
    controllers=_CPU,
    fallback=Fallback.HOST,
    host_file="cpuinfo",
    description="the processors of the CPU set, as many as the quota is worth",
)

#: In its place for readers with a 32-bit personality, on arm64 (docs/adr/0013-personality.md).
CPUINFO_LINUX32: Final = replace(CPUINFO, as_linux32=True)

#: The directories of a container's CPUs follow it.
CPUS_PRESENT: Final = VirtualFile(
    path=f"{CPU_DIRECTORY}/present",
    render=cpulists.render_visible,
    split=cpulists.split_visible,
    host_files=(ONLINE,),
    controllers=_CPU,
    fallback=Fallback.HOST,
    host_file="cpu/present",
    description="the container's CPUs",
)


def _pressure(resource: Pressure, render: Renderer, description: str) -> VirtualFile:
    """Return the virtual file of one resource."""
    file = f"pressure/{resource.value}"
    return VirtualFile(
        path=f"proc/{file}",
        render=render,
        split=pressure.split,
        host_files=(file,),
        controllers=_PRESSURE,
        fallback=Fallback.EMPTY,
        host_file=file,
        description=description,
        pressure=resource,
    )


VIRTUAL_FILES: Final = (
    CPUINFO,
    VirtualFile(
        path="proc/diskstats",
        render=diskstats.render,
        split=diskstats.split,
        host_files=("diskstats",),
        controllers=_IO,
        fallback=Fallback.EMPTY,
        host_file="diskstats",
        description="the block devices that the container used",
    ),
    VirtualFile(
        path="proc/loadavg",
        render=loadavg.render,
        split=loadavg.split,
        host_files=("loadavg",),
        controllers=frozenset(),
        fallback=Fallback.HOST,
        host_file="loadavg",
        description="the load of the container's tasks, and how many it has",
        needs_load=True,
    ),
    VirtualFile(
        path="proc/meminfo",
        render=meminfo.render,
        split=meminfo.split,
        host_files=("meminfo", HUGE_POOLS),
        controllers=_MEMORY,
        fallback=Fallback.HOST,
        host_file="meminfo",
        description="memory and swap within the container's limits",
    ),
    _pressure(Pressure.CPU, pressure.render_cpu, "how long the container's tasks waited for a CPU"),
    _pressure(Pressure.IO, pressure.render_io, "how long the container's tasks waited for block I/O"),
    _pressure(
        Pressure.IRQ,
        pressure.render_irq,
        "how long interrupts kept the container's tasks waiting, on kernels that tell",
    ),
    _pressure(Pressure.MEMORY, pressure.render_memory, "how long the container's tasks waited for memory"),
    VirtualFile(
        path="proc/slabinfo",
        render=slabinfo.render,
        split=slabinfo.split,
        host_files=(),
        controllers=frozenset({Controller.SLAB}),
        fallback=Fallback.EMPTY,
        host_file="slabinfo",
        description="the container's caches of kernel objects, where v1 lists them; else none",
        mode=0o400,
    ),
    VirtualFile(
        path="proc/stat",
        render=stat.render,
        split=stat.split,
        host_files=("stat", ONLINE),
        controllers=_CPU,
        fallback=Fallback.HOST,
        host_file="stat",
        description="the time of the container's CPUs, idle within its quota, and its runnable tasks",
        by_clock=stat.by_clock,
        needs_cpu_times=True,
        needs_load=True,
    ),
    VirtualFile(
        path="proc/swaps",
        render=swaps.render,
        split=swaps.split,
        # The view's totals come from the host's meminfo.
        host_files=("meminfo", "swaps"),
        controllers=_MEMORY,
        fallback=Fallback.HOST,
        host_file="swaps",
        description="one swap area of the size that the container may use",
    ),
    VirtualFile(
        path="proc/uptime",
        render=uptime.render,
        split=uptime.split,
        host_files=(ONLINE,),
        controllers=_CPU,
        fallback=Fallback.HOST,
        host_file="uptime",
        description="the age of the container and the idle time of its CPUs",
        by_clock=uptime.by_clock,
        needs_cpu_times=True,
    ),
    VirtualFile(
        path=f"{CPU_DIRECTORY}/enabled",
        render=cpulists.render_visible,
        split=cpulists.split_visible,
        host_files=(ONLINE,),
        controllers=_CPU,
        fallback=Fallback.HOST,
        host_file="cpu/enabled",
        description="the container's CPUs, on kernels that have this list",
    ),
    VirtualFile(
        path=f"{CPU_DIRECTORY}/offline",
        render=cpulists.render_none,
        split=cpulists.split_none,
        host_files=(ONLINE,),
        controllers=_CPU,
        fallback=Fallback.HOST,
        host_file="cpu/offline",
        description="none",
    ),
    VirtualFile(
        path=f"{CPU_DIRECTORY}/online",
        render=cpulists.render_visible,
        split=cpulists.split_visible,
        host_files=(ONLINE,),
        controllers=_CPU,
        fallback=Fallback.HOST,
        host_file="cpu/online",
        description="the container's CPUs",
    ),
    VirtualFile(
        path=f"{CPU_DIRECTORY}/possible",
        render=cpulists.render_visible,
        split=cpulists.split_visible,
        host_files=(ONLINE,),
        controllers=_CPU,
        fallback=Fallback.HOST,
        host_file="cpu/possible",
        description="the container's CPUs",
    ),
    CPUS_PRESENT,
)

#: The directories of a container's NUMA nodes follow it.
NODES_ONLINE: Final = VirtualFile(
    path=f"{NODE_DIRECTORY}/online",
    render=nodes.list_renderer("online"),
    split=nodes.split_list,
    host_files=(ONLINE, NODES),
    controllers=_CPU,
    fallback=Fallback.HOST,
    host_file="node/online",
    description="the NUMA nodes that the container has CPUs or memory of",
    needs_nodes=True,
)


def node_files(numbers: CpuSet) -> Iterator[VirtualFile]:
    """Yield the files of NUMA nodes, on a host that has these."""
    if not numbers:
        return
    yield NODES_ONLINE
    for name in nodes.LISTS:
        if name != "online":
            yield replace(
                NODES_ONLINE,
                path=f"{NODE_DIRECTORY}/{name}",
                render=nodes.list_renderer(name),
                host_file=f"node/{name}",
            )
    for number in numbers:
        yield from _files_of_node(number)


def _files_of_node(number: int) -> Iterator[VirtualFile]:
    below = f"node{number}"
    for name, render, split, description in (
        ("cpulist", nodes.cpulist_renderer(number), nodes.split_cpus, "the container's CPUs on this node"),
        ("cpumap", nodes.cpumap_renderer(number), nodes.split_cpus, "the same as a mask"),
        ("distance", nodes.render_distance, nodes.split_distance, "distances to its nodes"),
        ("meminfo", nodes.meminfo_renderer(number), nodes.split_meminfo, "this node's part of its memory"),
    ):
        is_memory = name == "meminfo"
        memory_files = ("meminfo", HUGE_POOLS) if is_memory else ()
        yield replace(
            NODES_ONLINE,
            path=f"{NODE_DIRECTORY}/{below}/{name}",
            render=render,
            split=split,
            host_files=(ONLINE, NODES, f"node/{below}/{name}", *memory_files),
            controllers=_CPU | _MEMORY if is_memory else _CPU,
            host_file=f"node/{below}/{name}",
            description=description,
        )
