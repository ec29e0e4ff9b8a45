"""The mount namespaces of this machine, each seen through its oldest process."""

import os
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import psutil

from pylxcfs.cgroup.types import ParseError
from pylxcfs.containers.name import Name, name_of
from pylxcfs.containers.processes import PROCESS_GONE, HeldProcess, Processes
from pylxcfs.reattach.protocol import LONGEST_TABLE

_INIT: Final = 1
#: The host's own has as many lines as there are containers, and longer ones.
_LONGEST_OF_HOST: Final = 64 << 20
#: Processes of one namespace that are looked at to find its oldest.
_MOST_PROCESSES: Final = 64


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


@dataclass(frozen=True, slots=True)
class MountTable:
    """A namespace's mount table, as its process sees it."""

    content: bytes
    #: False: it is longer than is read.
    is_whole: bool


_NOT_READ: Final = MountTable(b"", is_whole=False)


def list_namespaces(proc_root: Path) -> list[Namespace]:
    """Look at every process once; those that vanish meanwhile are left out."""
    return [namespace for namespace, _ in each_namespace(proc_root, with_tables=False)]


def each_namespace(proc_root: Path, *, with_tables: bool = True) -> Iterator[tuple[Namespace, MountTable]]:
    """Yield each namespace with its mount table, one at a time: all tables together may be large.

    Reads nothing but the kernel's own files of each process, so no file system of a container is asked.
    A namespace that only a thread, a bind of its nsfs file or a descriptor keeps is not found.
    """
    proc_fd = os.open(proc_root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield from _each(Processes(proc_fd), with_tables=with_tables)
    finally:
        os.close(proc_fd)


def _each(processes: Processes, *, with_tables: bool) -> Iterator[tuple[Namespace, MountTable]]:
    own = (processes.namespace("self", "mnt"), processes.namespace("self", "pid"))
    hosts = {own[0]}
    best: dict[int, tuple[bool, int, int]] = {}
    looked_at: Counter[int] = Counter()
    for pid in psutil.pids():
        try:
            inode, task = _mount_namespace(processes, pid)
            if pid == _INIT:
                hosts.add(inode)
            # Most processes of a machine are the host's, and one of them is enough.
            if looked_at[inode] >= (1 if inode in hosts else _MOST_PROCESSES):
                continue
            with processes.hold(task) as process:
                # unshare(1) stays in the container's mount namespace, but not in its pid namespace.
                candidate = (process.namespace("pid") == own[1], process.start_ticks(), task)
        except (*PROCESS_GONE, PermissionError, ParseError):
            continue
        looked_at[inode] += 1
        best[inode] = min(candidate, best.get(inode, candidate))
    for inode, count in looked_at.items():
        if count >= _MOST_PROCESSES and inode not in hosts:
            best[inode] = min(best[inode], _init_of(processes, best[inode], inode))
    for inode, (_, start_ticks, pid) in best.items():
        try:
            with processes.hold(pid) as process:
                if process.start_ticks() == start_ticks and process.namespace("mnt") == inode:
                    namespace = _describe(process, pid, start_ticks, inode in hosts, own[1])
                    yield namespace, _table(process, namespace) if with_tables else _NOT_READ
        except (*PROCESS_GONE, PermissionError, ParseError):
            continue


def _init_of(processes: Processes, member: tuple[bool, int, int], inode: int) -> tuple[bool, int, int]:
    """Return the init of a process's pid namespace if it is in the same mount namespace, else the process.

    Numbers are given out anew after the highest: of many processes, init may not be among the lowest.
    """
    try:
        with processes.hold(member[-1]) as process:
            pid = processes.find_init(process)
        with processes.hold(pid) as process:
            if process.namespace("mnt") == inode:
                return member[0], process.start_ticks(), pid
    except (OSError, ParseError):
        pass
    return member


def _mount_namespace(processes: Processes, pid: int) -> tuple[int, int]:
    """Return a process's mount namespace, and a thread that is in it: its leader may have ended."""
    try:
        return processes.namespace(pid, "mnt"), pid
    except FileNotFoundError:
        with processes.hold(pid) as process, process.living() as thread:
            return thread.namespace("mnt"), thread.number()


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
    )


def _table(process: HeldProcess, namespace: Namespace) -> MountTable:
    most = _LONGEST_OF_HOST if namespace.is_hosts else LONGEST_TABLE
    content = process.read("mountinfo", most)
    if len(content) < most:
        return MountTable(content, is_whole=True)
    # The last line may be half of one.
    return MountTable(content[: content.rfind(b"\n") + 1], is_whole=False)
