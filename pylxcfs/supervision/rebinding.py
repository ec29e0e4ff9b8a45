"""Has binds in running containers attached anew, or taken away, by a process of its own (docs/adr/0016)."""

import logging
import os
import signal
import time
from collections.abc import Callable, Sequence
from typing import Final

from pylxcfs.supervision.children import Child, python_command, start_process, wait_for_end
from pylxcfs.supervision.template_client import Template

_log = logging.getLogger(__name__)
_REAP_SECONDS: Final = 0.2
#: After how long it is tried again to start one that could not be.
_RETRY_SECONDS: Final = 0.25

#: What `pylxcfs.reattach` takes as its first argument.
ATTACH: Final = "attach"
LEAVE: Final = "leave"


class Rebinding:
    """At most one such process at a time, and at most one more that is wanted after it."""

    def __init__(
        self, arguments: Sequence[str], template: Callable[[], Template | None], *, enabled: bool
    ) -> None:
        """Have processes forked by the `template` there is, else started with the daemon's own `arguments`.

        Without `enabled` none ever is.
        """
        self._arguments = arguments
        self._template = template
        self.is_enabled = enabled
        #: What a template has forked, or is about to.
        self._child: Child | None = None
        self._pid: int | None = None
        self._verb = ""
        self._wanted: str | None = None
        self._try_at = 0.0

    @property
    def is_running(self) -> bool:
        """Whether such a process has been started and not been reaped."""
        return self._pid is not None or self._child is not None

    def want(self, verb: str | None) -> None:
        """Have `verb` done as soon as nothing else is being done, in place of what was wanted before."""
        self._wanted = verb if self.is_enabled else None
        self.start_wanted(time.monotonic())

    def start_wanted(self, now: float) -> None:
        """Start what is wanted if nothing is being done (monotonic clock); what could not be stays wanted."""
        if self._wanted is None or self.is_running or now < self._try_at:
            return
        self._verb, self._wanted = self._wanted, None
        if template := self._template():
            self._child = template.fork_rebinding(self._verb)
            return
        try:
            self._pid = start_process(python_command("pylxcfs.reattach", self._verb, *self._arguments))
        except OSError as error:
            self._try_again(str(error))

    def sources(self) -> dict[int, Callable[[], None]]:
        """Return the descriptors to wait for, each with what is to be called when it is ready."""
        if self._child is None or self._child.hung_up:
            return {}
        return {self._child.control.fileno(): self._hear}

    def has_ended(self, pid: int) -> bool:
        """Take note of a child that was reaped; return whether it was this process."""
        if pid != self._pid:
            return False
        self._pid = None
        self._let_go()
        return True

    def kill(self) -> None:
        """End the process, however far it has come."""
        if self._pid is not None:
            # Not reaped yet, so the pid is still its own.
            os.kill(self._pid, signal.SIGKILL)
            wait_for_end(self._pid, _REAP_SECONDS)
        self._let_go()

    def _hear(self) -> None:
        if self._child is None:
            return
        self._child.receive()
        self._pid = self._child.pid
        if self._child.is_stillborn:
            why = self._child.describe_end(None)
            self._let_go()
            self._try_again(why)

    def _try_again(self, why: str) -> None:
        _log.error("binds in running containers are left as they are for now: %s", why)
        self._wanted = self._wanted or self._verb
        self._try_at = time.monotonic() + _RETRY_SECONDS

    def _let_go(self) -> None:
        if self._child is not None:
            self._child.close()
        self._child = None
