"""The supervisor's side of a template: started from the installed code, then asked to fork (template.py)."""

import contextlib
import os
import signal
import socket
import time
from collections.abc import Sequence
from typing import Final

from pylxcfs.supervision.children import Child, describe_end, python_command, start_process
from pylxcfs.supervision.protocol import (
    CONTROL_FD,
    FAILED,
    FORK_REBINDING,
    FORK_SERVER,
    MAX_MESSAGE,
    READY,
    STDERR_FD,
)

#: The name by which templates are started; it stays, for the supervisors of earlier versions.
SERVER_MODULE: Final = "pylxcfs.server"
_STDERR: Final = 2
#: More of what a template prints before it is ready is not kept: its last line tells why it fails.
_MAX_PRINTED: Final = 4096


class Template:
    """A process with known-good code, once it is ready; until then it may turn out not to be."""

    def __init__(self, arguments: Sequence[str]) -> None:
        """Start it from the installed code with the daemon's own `arguments`; raises OSError."""
        self.started_at = time.monotonic()
        self.is_ready = False
        self.control, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.control.setblocking(False)  # noqa: FBT003 - the socket's own interface
        self.printed_fd, printing = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        self._printed = b""
        self._last_words = ""
        descriptors = {CONTROL_FD: theirs.fileno(), STDERR_FD: _STDERR, _STDERR: printing}
        try:
            self.pid = start_process(python_command(SERVER_MODULE, *arguments), descriptors)
        except OSError:
            self.close()
            raise
        finally:
            theirs.close()
            os.close(printing)

    def hear(self) -> None:
        """Take note of what it has said and printed since the last time."""
        with contextlib.suppress(OSError):
            while word := self.control.recv(MAX_MESSAGE):
                self.is_ready = self.is_ready or word == READY
                if word.startswith(FAILED):
                    self._last_words = word.removeprefix(FAILED).decode(errors="replace")
        with contextlib.suppress(OSError):
            while printed := os.read(self.printed_fd, _MAX_PRINTED):
                self._printed = (self._printed + printed)[-_MAX_PRINTED:]

    def fork(self, child: Child, order: bytes = FORK_SERVER) -> None:
        """Have it fork `child`; what goes wrong is heard from the child's socket."""
        with child.theirs, contextlib.suppress(OSError):
            socket.send_fds(self.control, [order], [child.theirs.fileno()])

    def fork_rebinding(self, verb: str) -> Child:
        """Have it fork a process that works on binds in containers."""
        child = Child()
        self.fork(child, FORK_REBINDING + verb.encode())
        return child

    @property
    def printed(self) -> list[str]:
        """The lines that it has printed before it was ready, the latest of them if there were many."""
        return self._printed.decode(errors="replace").splitlines()

    def describe_end(self, code: int) -> str:
        """Say why it ended if it has told, else how, with the last line that it printed."""
        return self._last_words or ": ".join((f"it {describe_end(code)}", *self.printed[-1:]))

    def kill(self) -> None:
        """End it at once; its parent has not reaped it, so its pid is its own."""
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, signal.SIGKILL)

    def close(self) -> None:
        """Let go of it: it ends by itself, whatever it has forked goes on."""
        self.control.close()
        if self.printed_fd >= 0:
            os.close(self.printed_fd)
        self.printed_fd = -1
