"""Has binds in running containers planted anew, or taken away, by a process of its own (ADR 16)."""

import logging
import os
import signal
from collections.abc import Sequence
from typing import Final

from pylxcfs.supervision.children import python_command, start_process, wait_for_end

_log = logging.getLogger(__name__)
_REAP_SECONDS: Final = 0.2


class Rebinding:
    """One such process at a time."""

    def __init__(self, arguments: Sequence[str], *, enabled: bool) -> None:
        """Give it the daemon's own `arguments`; without `enabled` do nothing, ever."""
        self._arguments = arguments
        #: Whether binds are our business.
        self.is_enabled = enabled
        self._pid: int | None = None

    @property
    def is_running(self) -> bool:
        """Whether one is at work."""
        return self._pid is not None

    def start(self, verb: str) -> bool:
        """Have binds planted (``plant``) or taken away (``detach``), while we go on; False to try again."""
        if not self.is_enabled:
            return True
        try:
            self._pid = start_process(python_command("pylxcfs.reattach", verb, *self._arguments))
        except OSError as error:
            _log.error("binds in running containers are left as they are for now: %s", error)
            return False
        return True

    def has_ended(self, pid: int) -> bool:
        """Take note of a child that was reaped; tell whether it was ours."""
        if pid != self._pid:
            return False
        self._pid = None
        return True

    def kill(self) -> None:
        """End it, however far it has come."""
        if self._pid is not None:
            # Not reaped yet, so the pid is still its own.
            os.kill(self._pid, signal.SIGKILL)
            wait_for_end(self._pid, _REAP_SECONDS)
