"""How a supervisor leaves: the mount goes, then binds in containers, then the server; or all stays.

In this order, so that no container is created with a dead file: whoever comes too late finds nothing mounted,
whoever has looked up our files just before has them served until his binds are found and taken away.
"""

import logging
import time
from pathlib import Path
from typing import Final

from pylxcfs.fuse.mounting import Connection
from pylxcfs.supervision.announcer import Announcer
from pylxcfs.supervision.holder_client import Hold
from pylxcfs.supervision.rebinding import LEAVE, Rebinding
from pylxcfs.supervision.systemd import is_being_restarted

_log = logging.getLogger(__name__)
#: How long the end may be put off for binds that are attached in containers, or taken out of them.
_REBIND_SECONDS: Final = 20.0
#: The same where nobody serves: readers hang until then.
_HOPELESS_SECONDS: Final = 5.0


class Departure:
    """The second life of a supervisor, from the signal to stop until its exit status is known.

    States: not begun; waiting for binds that are being attached; detaching; left (`exit_status` is set).
    """

    def __init__(self, announcer: Announcer, hold: Hold, rebinding: Rebinding) -> None:
        """Leave by means of these; nothing is begun yet."""
        self._announcer = announcer
        self._hold = hold
        self._rebinding = rebinding
        self._is_detaching = False
        #: Whether the mount stays when we go.
        self._is_kept = False
        #: Until when binds are waited for (monotonic clock); None while nothing was begun.
        self._leave_by: float | None = None
        self._status_at_end = 0
        #: The status to exit with; None until there is nothing left to wait for.
        self.exit_status: int | None = None

    @property
    def has_begun(self) -> bool:
        """Whether the supervisor was told to stop, or has given up."""
        return self._leave_by is not None

    def begin(self, connection: Connection | None) -> None:
        """Begin to leave, for good or with the connection kept for whoever is started next.

        A second call does not wait for binds any longer.
        """
        if connection is None or self.has_begun:
            self._leave(connection)
            return
        self._leave_by = time.monotonic() + _REBIND_SECONDS
        self._is_kept = self._announcer.is_heard and is_being_restarted(Path("/proc/self/cgroup").read_text())
        if self._is_kept:
            _log.info("the service manager keeps the connection for the next start")
        elif self._hold.is_kept:
            _log.info("the mount is held for the next start, for %g s", self._hold.seconds)
            self._is_kept = True
        else:
            self._announcer.stopping("giving containers the kernel's files back")
        self._go_on(connection)

    def give_up(self, connection: Connection, why: str) -> None:
        """Begin to leave for good, as no server can be had: `why`. The exit status will be 1."""
        _log.error("%s: giving containers the kernel's files back, and ending", why)
        self._leave_by = time.monotonic() + _HOPELESS_SECONDS
        self._status_at_end = 1
        self._announcer.stopping(f"{why}: giving containers the kernel's files back")
        self._hold.release()
        self._go_on(connection)

    def rebinding_ended(self, connection: Connection | None) -> None:
        """Go on after the process that works on binds has ended."""
        if self._is_detaching:
            self._leave(connection)
        elif self.has_begun:
            self._detach(connection)

    def tick(self, connection: Connection | None, now: float) -> None:
        """Give up waiting for binds if it is time; `now` is of the monotonic clock."""
        if self._leave_by is not None and self.exit_status is None and now > self._leave_by:
            _log.error("binds in containers: not done in time; leaving")
            self._leave(connection)

    def _go_on(self, connection: Connection | None) -> None:
        self._rebinding.want(None)
        # Binds that are just being attached are attached to the end: those that it misses and those that come
        # too late to be taken away, would be nobody's any more.
        if not self._rebinding.is_running:
            self._detach(connection)

    def _detach(self, connection: Connection | None) -> None:
        """Have our binds taken away if the mount is not to stay, and leave after that."""
        self._is_detaching = not self._is_kept and self._rebinding.is_enabled
        if self._is_detaching:
            self._rebinding.want(LEAVE)
        else:
            self._leave(connection)

    def _leave(self, connection: Connection | None) -> None:
        """Unmount, now that no container has a file of ours, or leave the mount to the next supervisor."""
        self.exit_status = self._status_at_end
        if connection is not None and not self._is_kept:
            self._announcer.connection_ends(connection)
            connection.unmount()
        if not self._status_at_end:
            self._announcer.stopped()
