"""From the pid in a FUSE request to the container that asks (docs/adr/0002-container-identity.md)."""

import logging
from collections import Counter, OrderedDict
from collections.abc import Collection
from typing import Final

from pylxcfs.cgroup.membership import (
    common_paths,
    container_paths,
    find_strange,
    own_paths,
    parse_membership,
)
from pylxcfs.cgroup.reader import CgroupFiles
from pylxcfs.cgroup.types import ROOT, CgroupPaths, CgroupReader, Controller, ParseError
from pylxcfs.containers.askers import Askers
from pylxcfs.containers.container import Container, ContainerKey
from pylxcfs.containers.inits import Init, Inits
from pylxcfs.containers.limits import is_limited
from pylxcfs.containers.processes import Processes
from pylxcfs.linux.files import WANT_OF_RESOURCES

_log = logging.getLogger(__name__)
MAX_CONTAINERS: Final = 4096
#: How many texts of /proc/TID/cgroup have their container remembered: in each pid namespace, the host's too.
_MAX_MEMBERSHIPS: Final = 64
_MAX_HOST_MEMBERSHIPS: Final = 1024
_HOST_INIT: Final = 1


class Resolver:
    """Finds the container of a process. Owned by the serving thread.

    What is remembered saves work and decides nothing: the asker's cgroups and its init's are read every time.
    """

    def __init__(
        self, processes: Processes, reader: CgroupReader, files: CgroupFiles, deciding: Collection[str]
    ) -> None:
        """Take the daemon's own pid namespace as the host's.

        `deciding` are the hierarchies whose cgroups tell containers apart. What is open in `files` is closed
        with its container.
        """
        self._processes = processes
        self._reader = reader
        self._files = files
        self._deciding = deciding
        self._askers = Askers(processes)
        self._inits = Inits(processes)
        self._host_pid_namespace = processes.namespace("self", "pid")
        self._host_start_ticks: int | None = None
        self._by_key: dict[ContainerKey, Container] = {}
        #: Each container with the init of its pid namespace, None for the host's; who asked last is last.
        self._recent: OrderedDict[Container, Init | None] = OrderedDict()
        self._host_memberships: dict[bytes, Container | None] = {}
        self._dropped: list[Container] = []
        files.give_up_too(self._askers.close_all)
        #: Readers that could not be told apart and were given the host's content.
        self.unresolved = 0
        #: Readers of whom only the pid namespace could be told, for want of descriptors or memory: they were
        #: given the content of the only container known in it.
        self.guessed = 0

    @property
    def known(self) -> int:
        """How many containers, and cgroups of host processes, have asked and are still there."""
        return len(self._by_key)

    def knows(self, key: ContainerKey) -> bool:
        """Tell whether a container with this key is known at present."""
        return key in self._by_key

    def resolve(self, pid: int) -> Container | None:
        """Return the container that `pid` (a thread, in our pid namespace) is in; None for the host.

        None also where it cannot be found out: pid 0 is a process that our namespace does not see, and a
        process may vanish while it is looked at. The asker waits for the answer; if it is killed instead,
        nobody gets it.
        """
        if pid > 0:
            try:
                return self._find(pid)
            except ParseError:
                pass
            except OSError as error:
                # Gone, or hidden from us by a security module, all the same to the reader; or:
                if error.errno in WANT_OF_RESOURCES:
                    return self._find_in_want(pid, error)
        self.unresolved += 1
        return None

    def make_room(self) -> None:
        """Close every descriptor that is only kept to save work."""
        self._files.make_room()

    def is_linux32(self, pid: int) -> bool:
        """Tell whether a reader has a 32-bit personality; not if gone, or not to be traced (Yama)."""
        try:
            return self._processes.is_linux32(pid)
        except (OSError, ParseError):
            return False

    def is_io_worker(self, pid: int) -> bool:
        """Tell whether a reader is a thread that the kernel has made for io_uring; not if gone."""
        try:
            return self._processes.is_io_worker(pid)
        except (OSError, ParseError):
            return False

    def boottime_offset(self, pid: int) -> int:
        """Return how far a reader's CLOCK_BOOTTIME is ahead of ours, microseconds; 0 if it cannot be told."""
        try:
            return self._processes.boottime_offset(pid)
        except (OSError, ParseError):
            return 0

    def forget(self, container: Container) -> None:
        """Resolve `container`'s processes anew: it has ended, or its cgroup has gone."""
        if container not in self._recent:
            return
        init = self._recent.pop(container)
        _log.debug("forgotten: %s", container)
        del self._by_key[container.key]
        self._dropped.append(container)
        self._files.forget_all(container.paths)
        if init is None:
            texts = [text for text, each in self._host_memberships.items() if each is container]
            for text in texts:
                del self._host_memberships[text]
            return
        init.containers = {text: each for text, each in init.containers.items() if each is not container}
        init.owned.discard(container)
        if not init.owned:
            self._inits.drop(init)

    def prune(self) -> list[Container]:
        """Forget what has ended; return every container dropped since the last time."""
        self._askers.prune()
        self._forget_ended()
        for container in [c for c in self._recent if not self._files.any_exists(c.paths)]:
            self.forget(container)
        dropped, self._dropped = self._dropped, []
        return dropped

    def _find(self, task: int) -> Container | None:
        pid_namespace, membership = self._askers.look(task)
        if pid_namespace == self._host_pid_namespace:
            container = self._find_host_group(membership)
        else:
            container = self._find_member(task, membership, pid_namespace)
        if container is not None:
            self._recent.move_to_end(container)
        return container

    def _find_in_want(self, task: int, error: OSError) -> Container | None:
        """Try again without our caches, which are what holds most descriptors."""
        _log.warning("who asks cannot be found out, and caches are given up for it: %s", error.strerror)
        self._files.make_room()
        try:
            return self._find(task)
        except (OSError, ParseError):
            container = self._guess(task)
        if container is None:
            self.unresolved += 1
        else:
            self.guessed += 1
        return container

    def _guess(self, task: int) -> Container | None:
        """Return the only container that is known in the asker's pid namespace; needs no descriptor."""
        try:
            init = self._inits.get(self._processes.namespace(task, "pid"))
        except OSError:
            return None
        return next(iter(init.owned)) if init is not None and len(init.owned) == 1 else None

    def _find_host_group(self, membership: bytes) -> Container | None:
        """Services share the host's namespaces and differ in cgroup, so each is shown its own."""
        if membership in self._host_memberships:
            return self._host_memberships[membership]
        paths = own_paths(self._parse(membership))
        container = None
        if not all(self._reader.at_root(paths, controller) for controller in Controller):
            if self._host_start_ticks is None:
                with self._processes.hold(_HOST_INIT) as init:
                    self._host_start_ticks = init.start_ticks()
            host = Container(paths, _HOST_INIT, self._host_start_ticks, in_host_pid_namespace=True)
            container = self._intern(host, None)
        if len(self._host_memberships) >= _MAX_HOST_MEMBERSHIPS:
            self._host_memberships.clear()
        self._host_memberships[membership] = container
        return container

    def _find_member(self, task: int, membership: bytes, pid_namespace: int) -> Container:
        init = self._inits.get(pid_namespace)
        if init is None:
            init = self._inits.find(task, pid_namespace)
        try:
            now = self._inits.membership(init)
            if now != init.membership:
                init.membership = now
                init.containers.clear()
            container = init.containers.get(membership)
            return self._place(task, membership, init) if container is None else container
        finally:
            if not init.owned:
                self._inits.drop(init)

    def _place(self, task: int, membership: bytes, init: Init) -> Container:
        """Choose the container of a task of `init`'s pid namespace."""
        caller, first = self._parse(membership), self._parse(init.membership)
        strange = find_strange(caller, first, self._deciding, self._files.is_root)
        has_group = any(not self._files.is_root(name, first.get(name) or ROOT) for name in strange)
        if strange and not (has_group and self._has_entered(task, caller, first, init)):
            paths = container_paths(caller, first, self._files.is_root)
        else:
            paths = own_paths(first)
        container = Container(paths, init.pid, init.start_ticks, in_host_pid_namespace=False)
        container = self._intern(container, init)
        if not strange:
            if len(init.containers) >= _MAX_MEMBERSHIPS:
                init.containers.clear()
            init.containers[membership] = container
        return container

    def _has_entered(self, task: int, caller: CgroupPaths, first: CgroupPaths, init: Init) -> bool:
        """Tell whether a task in a cgroup beside init's is of init's container all the same.

        A container of its own in a shared pid namespace has mounts of its own, and a cgroup that a process of
        this one was put in has limits. An administrator's session (nsenter(1)) has neither.
        """
        with self._processes.hold(task) as process:
            mounts = process.namespace("mnt")
        with self._processes.hold(init.pid) as process:
            if process.mount_namespace() != mounts:
                return False
        return not is_limited(self._reader, own_paths(caller), common_paths(caller, first))

    def _parse(self, membership: bytes) -> CgroupPaths:
        return self._files.known(parse_membership("/proc/PID/cgroup", membership))

    def _intern(self, container: Container, init: Init | None) -> Container:
        """Return the one object for this container, so that caches can be keyed by it."""
        known = self._by_key.setdefault(container.key, container)
        if known is container:
            _log.debug("new: %s", container)
            self._recent[container] = init
            if init is not None:
                init.owned.add(container)
            if len(self._recent) > MAX_CONTAINERS:
                self._make_room(container)
        return known

    def _make_room(self, newest: Container) -> None:
        """Forget who has ended, else those that have the most beside them in one cgroup, oldest first.

        So a container that makes pid namespaces without end pushes out its own.
        """
        self._forget_ended(newest)
        while len(self._recent) > MAX_CONTAINERS:
            ((crowded, _),) = Counter(container.paths for container in self._recent).most_common(1)
            crowd = [each for each in self._recent if each.paths == crowded and each is not newest]
            for container in crowd[: len(crowd) // 2 + 1] or [next(iter(self._recent))]:
                self.forget(container)

    def _forget_ended(self, newest: Container | None = None) -> None:
        for init in self._inits.ended():
            for container in init.owned - {newest}:
                self.forget(container)
