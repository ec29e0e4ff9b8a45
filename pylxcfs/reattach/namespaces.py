"""The mount namespaces of this machine, each seen through its oldest process."""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import psutil

from pylxcfs.cgroup.types import ParseError
from pylxcfs.containers.name import Name, name_of
from pylxcfs.containers.processes import PROCESS_GONE, HeldProcess, Processes

_INIT: Final = 1


@dataclass(frozen=True, slots=True)
class Namespace:
    """One mount namespace; `pid` is its oldest process in a pid namespace of its own: a container's init."""

    inode: int
    pid: int
    start_ticks: int
    pid_namespace: int
    #: Whether this is the namespace of the host's init, or our own: never touched.
    is_hosts: bool
    #: Whether its processes are in the host's pid namespace.
    in_host_pid_namespace: bool
    name: Name
    #: As `pid` sees it.
    mountinfo: bytes


def list_namespaces(proc_root: Path) -> list[Namespace]:
    """Look at every process once; those that vanish meanwhile are left out.

    Reads nothing but the kernel's own files of each process, so no file system of a container is asked.
    A namespace that only a thread, a bind of its nsfs file or a descriptor keeps is not found.
    """
    proc_fd = os.open(proc_root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        return list(_list(Processes(proc_fd)))
    finally:
        os.close(proc_fd)


def _list(processes: Processes) -> Iterator[Namespace]:
    own = (processes.namespace("self", "mnt"), processes.namespace("self", "pid"))
    hosts = {own[0]}
    best: dict[int, tuple[bool, int, int]] = {}
    for pid in psutil.pids():
        try:
            inode = processes.namespace(pid, "mnt")
            if pid == _INIT:
                hosts.add(inode)
            # Most processes of a machine are the host's, and one of them is enough.
            if inode in hosts and inode in best:
                continue
            with processes.hold(pid) as process:
                # unshare(1) stays in the container's mount namespace, but not in its pid namespace.
                candidate = (process.namespace("pid") == own[1], process.start_ticks(), pid)
        except (*PROCESS_GONE, PermissionError, ParseError):
            continue
        best[inode] = min(candidate, best.get(inode, candidate))
    for inode, (_, start_ticks, pid) in best.items():
        try:
            with processes.hold(pid) as process:
                if process.start_ticks() == start_ticks and process.namespace("mnt") == inode:
                    yield _describe(process, pid, start_ticks, inode in hosts, own[1])
        except (*PROCESS_GONE, PermissionError, ParseError):
            continue


def _describe(
    process: HeldProcess,
    pid: int,
    start_ticks: int,
    is_hosts: bool,  # noqa: FBT001 - passed on
    host_pid_namespace: int,
) -> Namespace:
    pid_namespace = process.namespace("pid")
    return Namespace(
        inode=process.namespace("mnt"),
        pid=pid,
        start_ticks=start_ticks,
        pid_namespace=pid_namespace,
        is_hosts=is_hosts,
        in_host_pid_namespace=pid_namespace == host_pid_namespace,
        name=name_of(process.membership()),
        mountinfo=process.read("mountinfo"),
    )
