"""PSI triggers (Documentation/accounting/psi.rst), set on the pressure files of the containers' cgroups.

docs/adr/0011-psi-triggers.md has who may set what, and how an event goes from one poll(2) to another.
"""

import os
import re
import select
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from errno import EBUSY, EINVAL, ENOSPC, EOPNOTSUPP
from typing import Final, Protocol

from pylxcfs.cgroup.types import CgroupError, Pressure
from pylxcfs.containers.container import Container
from pylxcfs.content.service import ContentService
from pylxcfs.fuse.gate import Sleeper
from pylxcfs.fuse.partial_reads import Handle

#: What poll(2) says of every file in /proc (DEFAULT_POLLMASK).
NO_EVENTS: Final = select.POLLIN | select.POLLOUT | select.POLLRDNORM | select.POLLWRNORM
#: There is no trigger, or its cgroup is gone (psi_trigger_poll() in kernel/sched/psi.c).
_NO_TRIGGER: Final = NO_EVENTS | select.POLLERR | select.POLLPRI

_TEXT: Final = re.compile(rb"\s*(some|full)\s+(\d{1,8})\s+(\d{1,8})\s*(?:\0.*)?", re.DOTALL)
#: The kernel allows others only to those with CAP_SYS_RESOURCE: each of these costs a real-time thread.
_WINDOW_STEP_USEC: Final = 2_000_000
_LONGEST_WINDOW_USEC: Final = 10_000_000

#: Each costs a descriptor (assembly.py sets as many aside).
_MAX_TRIGGERS: Final = 1024
_MAX_PER_CONTAINER: Final = 32


class TriggerError(Exception):
    """An errno for whoever sets a trigger."""

    def __init__(self, number: int) -> None:
        """Take the errno."""
        super().__init__(os.strerror(number))
        self.number = number


class Watcher(Protocol):
    """Waits for events in the serving thread."""

    def watch(self, fd: int, call: Callable[[int], None]) -> None:
        """Have `call` called with the events whenever `fd` has urgent data or an error (poll(2))."""

    def unwatch(self, fd: int) -> None:
        """Stop watching `fd`, before it is closed."""


@dataclass(slots=True)
class _Trigger:
    """A trigger of one open file."""

    container: Container
    #: The cgroup's file; None once the cgroup is gone.
    fd: int | None
    #: An event that nobody was told of yet.
    fired: bool = False
    #: Those who wait for it, if there are any.
    sleeper: Sleeper | None = None


class Triggers:
    """The triggers of all open files. Owned by the serving thread."""

    def __init__(self, content: ContentService, watcher: Watcher, wake: Callable[[Sleeper], None]) -> None:
        """Set triggers where `content` says; learn of events from `watcher`, and tell them by `wake`."""
        self._content = content
        self._watcher = watcher
        self._wake = wake
        self._triggers: dict[Handle, _Trigger] = {}
        self._per_container: Counter[Container] = Counter()

    def set(self, handle: Handle, resource: Pressure, container: Container | None, text: bytes) -> None:
        """Set a trigger on the pressure of `container`, which opened the file; raises TriggerError."""
        trigger = parse_trigger(text)
        if handle in self._triggers:
            raise TriggerError(EBUSY)
        if container is None:
            # The host, or somebody who could not be told from it.
            raise TriggerError(EOPNOTSUPP)
        if len(self._triggers) >= _MAX_TRIGGERS or self._per_container[container] >= _MAX_PER_CONTAINER:
            raise TriggerError(ENOSPC)
        try:
            fd = self._content.open_pressure(resource, container)
        except CgroupError as error:
            raise TriggerError(EOPNOTSUPP) from error
        try:
            os.write(fd, trigger)
        except OSError as error:
            os.close(fd)
            raise TriggerError(error.errno or EINVAL) from error
        self._triggers[handle] = _Trigger(container, fd)
        self._per_container[container] += 1
        self._watcher.watch(fd, lambda events: self._fired(handle, events))

    def poll(self, handle: Handle, sleeper: Sleeper | None) -> int:
        """Return the events of an open file, each once; wake `sleeper` at the next, unless None."""
        trigger = self._triggers.get(handle)
        if trigger is None or trigger.fd is None:
            return _NO_TRIGGER
        if sleeper is not None:
            trigger.sleeper = sleeper
        events = NO_EVENTS | select.POLLPRI if trigger.fired else NO_EVENTS
        trigger.fired = False
        return events

    def remove(self, handle: Handle) -> None:
        """Remove the trigger of a file that was closed, if it had one."""
        trigger = self._triggers.pop(handle, None)
        if trigger is None:
            return
        self._close(trigger)
        self._per_container[trigger.container] -= 1
        if not self._per_container[trigger.container]:
            del self._per_container[trigger.container]

    def _fired(self, handle: Handle, events: int) -> None:
        """Keep the event, which the kernel tells only once, and wake those who wait for it."""
        trigger = self._triggers[handle]
        trigger.fired = True
        if events & select.POLLERR:
            self._close(trigger)
        if trigger.sleeper is not None:
            self._wake(trigger.sleeper)
            trigger.sleeper = None

    def _close(self, trigger: _Trigger) -> None:
        if trigger.fd is not None:
            self._watcher.unwatch(trigger.fd)
            os.close(trigger.fd)
            trigger.fd = None


def parse_trigger(text: bytes) -> bytes:
    """Check ``some|full STALL_USEC WINDOW_USEC`` as the kernel does for users without privileges.

    Return it as it can be passed on; raises TriggerError.
    """
    found = _TEXT.fullmatch(text)
    if found is None:
        raise TriggerError(EINVAL)
    stall_usec, window_usec = int(found[2]), int(found[3])
    if window_usec % _WINDOW_STEP_USEC or not 0 < stall_usec <= window_usec <= _LONGEST_WINDOW_USEC:
        raise TriggerError(EINVAL)
    return b"%b %d %d" % (found[1], stall_usec, window_usec)
