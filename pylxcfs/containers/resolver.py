"""From the pid in a FUSE request to the container that asks (docs/adr/0002-container-identity.md)."""

import errno
import os
import time
from collections import OrderedDict
from dataclasses import dataclass, replace
from typing import Final

import psutil

from pylxcfs.cgroup.membership import container_paths, own_paths, parse_membership, shares_init_cgroup
from pylxcfs.cgroup.types import CgroupPaths, CgroupReader, Controller, ParseError
from pylxcfs.containers.container import Container, ContainerKey
from pylxcfs.containers.processes import PROCESS_GONE, Processes, is_alive

_MAX_CONTAINERS: Final = 4096
_RESOLVE_AGAIN_SECONDS: Final = 1.0
_HOST_INIT: Final = 1


@dataclass(frozen=True, slots=True)
class _Known:
    """A resolved pair of namespaces, both init's own; valid while init lives, and for a second."""

    container: Container
    init_pidfd: int
    #: /proc/PID/cgroup of whoever asked, and of init: what says which container it is.
    memberships: tuple[bytes, bytes]
    until: float


class Resolver:
    """Finds the container of a process. Owned by the serving thread."""

    def __init__(self, processes: Processes, reader: CgroupReader) -> None:
        """Take the daemon's own pid namespace as the host's."""
        self._processes = processes
        self._reader = reader
        self._host_pid_namespace = processes.namespace("self", "pid")
        self._host_start_ticks: int | None = None
        self._by_namespaces: OrderedDict[tuple[int, int], _Known] = OrderedDict()
        self._containers: OrderedDict[ContainerKey, Container] = OrderedDict()
        self._dropped: list[Container] = []
        #: Readers that could not be told apart and were given the host's content.
        self.unresolved = 0

    @property
    def known(self) -> int:
        """How many containers, and cgroups of host processes, have asked and are still there."""
        return len(self._containers)

    def knows(self, key: ContainerKey) -> bool:
        """Tell whether a container with this key is known at present."""
        return key in self._containers

    def resolve(self, pid: int) -> Container | None:
        """Return the container that `pid` (a thread, in our pid namespace) is in; None for the host.

        None also where it cannot be found out: pid 0 is a process that our namespace does not see, and a
        process may vanish while it is looked at.
        """
        try:
            if pid > 0:
                return self._resolve_visible(pid)
        except (OSError, ParseError):
            # Gone, hidden from us by a security module, or no descriptor left: all the same to the reader.
            pass
        self.unresolved += 1
        return None

    def is_linux32(self, pid: int) -> bool:
        """Tell whether a reader has a 32-bit personality; not if gone, or not to be traced (Yama)."""
        try:
            return self._processes.is_linux32(pid)
        except (OSError, ParseError):
            return False

    def boottime_offset(self, pid: int) -> int:
        """Return how far a reader's CLOCK_BOOTTIME is ahead of ours, microseconds; 0 if it cannot be told."""
        try:
            return self._processes.boottime_offset(pid)
        except (OSError, ParseError):
            return 0

    def forget(self, container: Container) -> None:
        """Resolve `container`'s processes anew: its cgroup has gone."""
        for namespaces in [n for n, known in self._by_namespaces.items() if known.container is container]:
            self._forget_namespaces(namespaces)
        if self._containers.pop(container.key, None) is not None:
            self._dropped.append(container)

    def prune(self) -> list[Container]:
        """Forget what has died; return every container dropped since the last time."""
        for namespaces in [n for n, known in self._by_namespaces.items() if not is_alive(known.init_pidfd)]:
            self._forget_namespaces(namespaces)
        for container in [c for c in self._containers.values() if not self._reader.exists(c.paths)]:
            self.forget(container)
        dropped, self._dropped = self._dropped, []
        return dropped

    def find_container_pid(self, container_id: str) -> int:
        """Return a process of the container whose id begins with `container_id`, by its cgroup's name.

        Raises LookupError where none or more than one container matches.
        """
        host_mounts = self._processes.namespace("self", "mnt")
        found: dict[str, int] = {}
        for pid in psutil.pids():
            try:
                if self._processes.namespace(pid, "mnt") == host_mounts:
                    continue
                with self._processes.hold(pid) as process:
                    membership = process.membership()
            except (*PROCESS_GONE, PermissionError):
                continue
            for _, path in membership:
                # systemd's cgroup driver names them docker-ID.scope, cgroupfs' just ID.
                names = (part.removesuffix(".scope").rpartition("-")[2] for part in path.split("/"))
                found.update({name: pid for name in names if name.startswith(container_id)})
        if len(found) != 1:
            what = "several containers have" if found else "no running container has"
            raise LookupError(f"{what} an id that begins with {container_id!r}")
        return found.popitem()[1]

    def _resolve_visible(self, pid: int) -> Container | None:
        pid_namespace = self._processes.namespace(pid, "pid")
        if pid_namespace == self._host_pid_namespace:
            return self._resolve_host_process(pid)
        namespaces = (self._processes.namespace(pid, "mnt"), pid_namespace)
        known = self._by_namespaces.get(namespaces)
        if known is not None and is_alive(known.init_pidfd):
            if time.monotonic() < known.until:
                return known.container
            if self._is_still_so(pid, namespaces, known):
                self._by_namespaces[namespaces] = replace(
                    known, until=time.monotonic() + _RESOLVE_AGAIN_SECONDS
                )
                return self._intern(known.container)
        return self._resolve_member(pid)

    def _is_still_so(self, pid: int, namespaces: tuple[int, int], known: _Known) -> bool:
        """Tell whether to resolve `pid` would give the same again, at half the cost."""
        try:
            with self._processes.hold(pid) as caller:
                same_caller = (caller.namespace("mnt"), caller.namespace("pid")) == namespaces
                membership = caller.read("cgroup")
            with self._processes.hold(known.container.init_pid) as init:
                same_mounts = init.namespace("mnt") == namespaces[0]
                init_membership = init.read("cgroup")
        except PROCESS_GONE:
            return False
        same_memberships = (membership, init_membership) == known.memberships
        # Alive after all that, so it was init which had this number.
        return same_caller and same_mounts and same_memberships and is_alive(known.init_pidfd)

    def _resolve_host_process(self, pid: int) -> Container | None:
        """Services share the host's namespaces and differ in cgroup, so each is asked for its own."""
        with self._processes.hold(pid) as process:
            paths = own_paths(self._reader.known(process.membership()))
        if all(self._reader.at_root(paths, controller) for controller in Controller):
            return None
        if self._host_start_ticks is None:
            with self._processes.hold(_HOST_INIT) as init:
                self._host_start_ticks = init.start_ticks()
        return self._intern(Container(paths, _HOST_INIT, self._host_start_ticks, in_host_pid_namespace=True))

    def _resolve_member(self, pid: int) -> Container:
        with self._processes.hold(pid) as caller:
            namespaces = (caller.namespace("mnt"), caller.namespace("pid"))
            membership = caller.read("cgroup")
            init_pid = self._processes.find_init(caller)
            pidfd = os.pidfd_open(init_pid)
            try:
                with self._processes.hold(init_pid) as init:
                    if init.namespace("pid") != namespaces[1]:
                        raise ProcessLookupError(errno.ESRCH, "init went away while it was looked for")
                    init_membership = init.read("cgroup")
                    init_mounts = init.namespace("mnt")
                    start_ticks = init.start_ticks()
                caller_paths = self._parse(membership)
                if init_membership == membership:
                    init_membership, init_paths = membership, caller_paths
                else:
                    init_paths = self._parse(init_membership)
            except BaseException:
                os.close(pidfd)
                raise
        paths = container_paths(caller_paths, init_paths)
        container = self._intern(Container(paths, init_pid, start_ticks, in_host_pid_namespace=False))
        self._forget_namespaces(namespaces)
        if namespaces[0] == init_mounts and shares_init_cgroup(caller_paths, init_paths):
            until = time.monotonic() + _RESOLVE_AGAIN_SECONDS
            self._remember(namespaces, _Known(container, pidfd, (membership, init_membership), until))
        else:
            # Several containers share this pid namespace, or may: nothing cheaper than /proc/PID/cgroup tells
            # them apart for certain. Another mount namespace than init's may end before init does, and its
            # number be that of another container's.
            os.close(pidfd)
        return container

    def _parse(self, membership: bytes) -> CgroupPaths:
        return self._reader.known(parse_membership("/proc/PID/cgroup", membership))

    def _intern(self, container: Container) -> Container:
        """Return the one object for this container, so that caches can be keyed by it."""
        identity = container.key
        known = self._containers.setdefault(identity, container)
        self._containers.move_to_end(identity)
        if len(self._containers) > _MAX_CONTAINERS:
            self.forget(next(iter(self._containers.values())))
        return known

    def _remember(self, namespaces: tuple[int, int], known: _Known) -> None:
        self._by_namespaces[namespaces] = known
        if len(self._by_namespaces) > _MAX_CONTAINERS:
            self._forget_namespaces(next(iter(self._by_namespaces)))

    def _forget_namespaces(self, namespaces: tuple[int, int]) -> None:
        known = self._by_namespaces.pop(namespaces, None)
        if known is not None:
            os.close(known.init_pidfd)
