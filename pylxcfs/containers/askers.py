"""The tasks that ask: which pid namespace they are in, and which cgroups, at this moment."""

import os
from typing import Final, NamedTuple

from pylxcfs.cgroup.types import ParseError
from pylxcfs.containers.processes import Processes

MAX_HELD: Final = 512
#: More than a path in each of twelve hierarchies can take (PATH_MAX, 4096).
_CHUNK: Final = 1 << 16


class _Held(NamedTuple):
    """A task whose /proc/TID/cgroup is open, which can be read for as long as that task lives."""

    membership_fd: int
    #: A task never leaves it (pid_namespaces(7)).
    pid_namespace: int


class Askers:
    """Looks at tasks by number. Owned by the serving thread.

    Readers that come again soon are asked with one system call: an open /proc/TID/cgroup is written anew at
    every read from its start, and says ESRCH when its task has gone, whoever has the number now.
    """

    def __init__(self, processes: Processes) -> None:
        """Look through `processes`."""
        self._processes = processes
        #: Those who have asked since the last `prune`, and those who had asked before it.
        self._held: dict[int, _Held] = {}
        self._idle: dict[int, _Held] = {}

    def look(self, task: int) -> tuple[int, bytes]:
        """Return a task's pid namespace and its /proc/TID/cgroup; raises OSError or ParseError."""
        held = self._held.get(task)
        if held is None and task in self._idle:
            held = self._held[task] = self._idle.pop(task)
        if held is not None:
            try:
                return held.pid_namespace, read_membership(held.membership_fd)
            except ProcessLookupError:
                # The number has gone to another task, or to none.
                os.close(self._held.pop(task).membership_fd)
        return self._hold(task)

    def prune(self) -> None:
        """Close what has not been asked for since the last time."""
        for held in self._idle.values():
            os.close(held.membership_fd)
        self._held, self._idle = {}, self._held

    def close_all(self) -> None:
        """Close everything; who asks next is looked at anew."""
        self.prune()
        self.prune()

    def _hold(self, task: int) -> tuple[int, bytes]:
        while len(self._held) + len(self._idle) >= MAX_HELD:
            self.prune()
        fd = self._processes.open_membership(task)
        try:
            # In this order: what can be read afterwards belongs to the task that has this namespace.
            pid_namespace = self._processes.namespace(task, "pid")
            membership = read_membership(fd)
        except BaseException:
            os.close(fd)
            raise
        self._held[task] = _Held(fd, pid_namespace)
        return pid_namespace, membership


def read_membership(fd: int) -> bytes:
    """Read an open /proc/TID/cgroup; raises ProcessLookupError once its task has gone, or ParseError."""
    text = os.pread(fd, _CHUNK, 0)
    if len(text) == _CHUNK:
        raise ParseError("/proc/TID/cgroup", text)
    return text
