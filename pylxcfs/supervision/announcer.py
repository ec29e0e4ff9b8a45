"""What others are told of a supervisor: the service manager, `pylxcfsctl status`, and the next supervisor."""

import logging
import os
import time
from collections import deque
from typing import Final

from pylxcfs import __version__
from pylxcfs.config import Config
from pylxcfs.fuse.connection import Connection
from pylxcfs.rundir import status_socket
from pylxcfs.rundir.supervisor_state import Replacement, RunState, StateFile
from pylxcfs.supervision.children import ServerProcess
from pylxcfs.supervision.protocol import STORE_NAME
from pylxcfs.supervision.systemd import Notifier, watchdog_seconds

_log = logging.getLogger(__name__)
_REMEMBERED: Final = 50


class Announcer:
    """Tells who serves; remembers who has served before."""

    def __init__(self, config: Config, notifier: Notifier) -> None:
        """Tell the service manager through `notifier`, everybody else by files in the state directory."""
        self._config = config
        self._notifier = notifier
        self._state_file = StateFile(config.state_directory)
        self._started_at = time.time()
        self._watchdog_seconds = watchdog_seconds()
        self._watchdog_at = 0.0
        #: Since when nobody serves (monotonic clock), and why; None while somebody does.
        self._gap: tuple[float, str] | None = None
        self._replaced = 0
        self._replacements: deque[Replacement] = deque(maxlen=_REMEMBERED)

    @property
    def is_heard(self) -> bool:
        """Whether there is a service manager, which keeps the connection and starts us again."""
        return self._notifier.is_heard

    def left_state(self) -> RunState | None:
        """Return what the last supervisor has written; None if there is nothing that we understand."""
        return self._state_file.read()

    def go_on_from(self, before: RunState) -> None:
        """Count on from what an earlier supervisor of the same mount has written."""
        self._replaced = before.replaced
        self._replacements.extend(before.replacements)

    def nobody_serves(self, why: str) -> None:
        """Take note that from now on readers wait; `why` the last one ended, if that is not known already."""
        if self._gap is None:
            self._gap = (time.monotonic(), why)

    def serves(self, server: ServerProcess, connection: Connection, *, host_view: bool) -> None:
        """Make known that a server has begun to serve; `host_view` was asked for by the operator."""
        if self._gap is None:
            _log.info("serving %s", self._config.mount_point)
        else:
            since, why = self._gap
            self._gap = None
            gap_seconds = time.monotonic() - since
            self._replaced += 1
            self._replacements.append(Replacement(time.time(), why, gap_seconds))
            _log.info("%s serves after %.0f ms", server.name, gap_seconds * 1000)
            self.write_state(connection, server, host_view=host_view)
        self._notifier.tell("READY=1", f"STATUS={server.name} serves")

    def trouble(self, text: str) -> None:
        """Tell the service manager's user why nobody serves."""
        self._notifier.tell(f"STATUS={text}")

    def write_state(self, connection: Connection, server: ServerProcess, *, host_view: bool) -> None:
        """Write down who serves."""
        self._state_file.write(
            RunState(
                supervisor_pid=os.getpid(),
                started_at=self._started_at,
                mount_point=os.fspath(self._config.mount_point),
                device=connection.mount.device,
                server_pid=server.pid,
                generation=server.generation,
                host_view=host_view,
                replaced=self._replaced,
                replacements=tuple(self._replacements),
                program_version=__version__,
            )
        )

    def store(self, connection: Connection) -> None:
        """Give the service manager a new mount's connection to keep, should all our processes die."""
        self._notifier.tell("FDSTORE=1", f"FDNAME={STORE_NAME}{connection.minor}", fds=(connection.fd,))

    def stopping(self) -> None:
        """Tell the service manager that we leave for good."""
        self._notifier.tell("STOPPING=1")

    def connection_ends(self, connection: Connection) -> None:
        """Have nobody find what is about to be unmounted."""
        self._notifier.tell(f"FDSTOREREMOVE=1\nFDNAME={STORE_NAME}{connection.minor}")
        self._state_file.remove()
        status_socket.remove(self._config.state_directory)

    def tick(self, now: float) -> None:
        """Feed the service manager's watchdog if it is time (monotonic clock)."""
        if self._watchdog_seconds is not None and now >= self._watchdog_at:
            self._watchdog_at = now + self._watchdog_seconds / 3
            self._notifier.tell("WATCHDOG=1")
