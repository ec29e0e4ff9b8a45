"""Has binds in running containers planted anew, or taken away, by a process of its own (docs/adr/0016)."""

import logging
import os
import signal
from collections.abc import Sequence
from typing import Final

from pylxcfs.supervision.children import python_command, start_process, wait_for_end

_log = logging.getLogger(__name__)
_REAP_SECONDS: Final = 0.2

#: What `pylxcfs.reattach` takes as its first argument.
PLANT: Final = "plant"
DETACH: Final = "detach"


class Rebinding:
    """At most one such process at a time, and at most one more that is wanted after it."""

    def __init__(self, arguments: Sequence[str], *, enabled: bool) -> None:
        """Give the process the daemon's own `arguments`; without `enabled` none is ever started."""
        self._arguments = arguments
        self.is_enabled = enabled
        self._pid: int | None = None
        self._wanted: str | None = None

    @property
    def is_running(self) -> bool:
        """Whether such a process has been started and not been reaped."""
        return self._pid is not None

    def want(self, verb: str | None) -> None:
        """Have `verb` done as soon as nothing else is being done, in place of what was wanted before."""
        self._wanted = verb if self.is_enabled else None
        self.start_wanted()

    def start_wanted(self) -> None:
        """Start what is wanted if nothing is being done; what could not be started stays wanted."""
        if self._wanted is None or self._pid is not None:
            return
        try:
            self._pid = start_process(python_command("pylxcfs.reattach", self._wanted, *self._arguments))
        except OSError as error:
            _log.error("binds in running containers are left as they are for now: %s", error)
            return
        self._wanted = None

    def has_ended(self, pid: int) -> bool:
        """Take note of a child that was reaped; return whether it was this process."""
        if pid != self._pid:
            return False
        self._pid = None
        return True

    def kill(self) -> None:
        """End the process, however far it has come."""
        if self._pid is not None:
            # Not reaped yet, so the pid is still its own.
            os.kill(self._pid, signal.SIGKILL)
            wait_for_end(self._pid, _REAP_SECONDS)
