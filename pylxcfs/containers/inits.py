"""The pid namespaces of containers, each by its init: process 1."""

import errno
import os
import select
from dataclasses import dataclass, field

from pylxcfs.containers.askers import read_membership
from pylxcfs.containers.container import Container
from pylxcfs.containers.processes import PROCESS_GONE, Processes


@dataclass(slots=True, eq=False)
class Init:
    """Process 1 of a pid namespace, for as long as it is held: the number is that of no other until then."""

    pid: int
    #: When it began, in clock ticks since boot.
    start_ticks: int
    pid_namespace: int
    pidfd: int
    #: An open cgroup file in /proc of a thread of it that lived when it was opened.
    membership_fd: int
    #: What that said when `containers` were found.
    membership: bytes = b""
    #: The containers of this namespace's tasks, by their /proc/TID/cgroup.
    containers: dict[bytes, Container] = field(default_factory=dict)
    #: All containers of this namespace that are known.
    owned: set[Container] = field(default_factory=set)


class Inits:
    """Knows namespaces by their numbers. Owned by the serving thread."""

    def __init__(self, processes: Processes) -> None:
        """Look through `processes`."""
        self._processes = processes
        self._by_number: dict[int, Init] = {}
        self._by_pidfd: dict[int, Init] = {}
        self._ends = select.poll()

    def get(self, pid_namespace: int) -> Init | None:
        """Return the init of a namespace that is held.

        A pidfd keeps the number of its process's namespace from being used again (put_pid() in kernel/pid.c),
        so whoever is in a namespace of this number is in this one, and its init is there.
        """
        return self._by_number.get(pid_namespace)

    def find(self, task: int, pid_namespace: int) -> Init:
        """Find the init of the namespace that `task` is in, and hold it; raises OSError or ParseError."""
        with self._processes.hold(task) as member:
            pid = self._processes.find_init(member)
        pidfd = os.pidfd_open(pid)
        try:
            with self._processes.hold(pid) as process:
                if process.namespace("pid") != pid_namespace:
                    raise ProcessLookupError(errno.ESRCH, "init went away while it was looked for")
                start_ticks = process.start_ticks()
                membership_fd = process.open_membership()
        except BaseException:
            os.close(pidfd)
            raise
        init = Init(pid, start_ticks, pid_namespace, pidfd, membership_fd)
        self._by_number[pid_namespace] = self._by_pidfd[pidfd] = init
        # Told when all threads have ended; a leader may end before (pidfd_poll() in fs/pidfs.c).
        self._ends.register(pidfd, select.POLLIN)
        return init

    def membership(self, init: Init) -> bytes:
        """Return the cgroups of init, by a thread that lives; raises OSError or ParseError."""
        try:
            membership = read_membership(init.membership_fd)
            if membership == init.membership:
                return membership
        except PROCESS_GONE:
            pass
        # Moved, or this thread is ending: v1 then says root for it.
        with self._processes.hold(init.pid) as process:
            if process.namespace("pid") != init.pid_namespace:
                raise ProcessLookupError(errno.ESRCH, "init has ended")
            fd = process.open_membership()
        os.close(init.membership_fd)
        init.membership_fd = fd
        return read_membership(fd)

    def ended(self) -> list[Init]:
        """Return those that have ended, and with them every process of their namespaces."""
        return [self._by_pidfd[pidfd] for pidfd, _events in self._ends.poll(0)]

    def drop(self, init: Init) -> None:
        """Hold it no longer."""
        if self._by_number.pop(init.pid_namespace, None) is not None:
            self._ends.unregister(init.pidfd)
            del self._by_pidfd[init.pidfd]
            os.close(init.pidfd)
            os.close(init.membership_fd)
