"""What others are told of a supervisor: the service manager, `pylxcfsctl status`, and the next supervisor."""

import logging
import os
import time
from collections import deque
from typing import Final, NamedTuple

from pylxcfs import __version__
from pylxcfs.config import Config
from pylxcfs.fuse.mounting import Connection
from pylxcfs.rundir import status_socket
from pylxcfs.rundir.supervisor_state import Reload, Replacement, Reserve, RunState, StateFile
from pylxcfs.supervision.children import ServerProcess
from pylxcfs.supervision.protocol import STORE_NAME
from pylxcfs.supervision.systemd import Notifier, watchdog_seconds

_log = logging.getLogger(__name__)
_REMEMBERED: Final = 50


class Situation(NamedTuple):
    """How things stand at one moment."""

    connection: Connection | None
    #: None: nobody serves.
    server: ServerProcess | None
    #: What the operator has asked for.
    host_view: bool
    reserve: Reserve
    reload: Reload
    #: When it is tried again to have what is missing (monotonic clock); None if a try is under way.
    next_try_at: float | None


class Announcer:
    """Tells how things stand whenever they have changed; remembers who has served before."""

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
        self._written: RunState | None = None
        self._status = ""
        self._is_ready = self._is_leaving = False

    @property
    def is_heard(self) -> bool:
        """Whether there is a service manager, which keeps the connection and starts us again."""
        return self._notifier.is_heard

    @property
    def gap(self) -> tuple[float, str] | None:
        """Since when nobody serves (monotonic clock), and why; None while somebody does."""
        return self._gap

    def left_state(self) -> RunState | None:
        """Return what the last supervisor has written; None if there is nothing that we understand."""
        return self._state_file.read()

    def go_on_from(self, before: RunState) -> None:
        """Count on from what an earlier supervisor of the same mount has written."""
        self._replaced = before.replaced
        self._replacements.extend(before.replacements)

    def nobody_serves(self, why: str) -> None:
        """Take note that from now on readers wait, and why the last one ended; since when is not changed."""
        self._gap = (time.monotonic() if self._gap is None else self._gap[0], why)

    def serves(self, server: ServerProcess) -> None:
        """Take note that a server has begun to serve."""
        if self._gap is None:
            _log.info("serving %s", self._config.mount_point)
        else:
            since, why = self._gap
            gap_seconds = time.monotonic() - since
            self._replaced += 1
            self._replacements.append(Replacement(time.time(), why, gap_seconds))
            _log.info("%s serves after %.0f ms", server.name, gap_seconds * 1000)
        self._gap = None
        self._is_ready = True

    def tell(self, situation: Situation) -> None:
        """Have everybody know how things stand; costs nothing if nothing has changed."""
        next_try_at = situation.next_try_at
        at = 0.0 if next_try_at is None else round(time.time() + next_try_at - time.monotonic(), 1)
        if situation.connection is not None:
            self._write(situation, situation.connection, at)
        status = self._describe(situation, at)
        if status != self._status and not self._is_leaving:
            self._status = status
            self._notifier.tell(*(["READY=1"] if self._is_ready else []), f"STATUS={status}")

    def store(self, connection: Connection) -> None:
        """Give the service manager a new mount's connection to keep, should all our processes die."""
        self._notifier.tell("FDSTORE=1", f"FDNAME={STORE_NAME}{connection.minor}", fds=(connection.fd,))

    def stopping(self, status: str) -> None:
        """Tell the service manager that we leave for good, and what is being done for that."""
        self._is_leaving = True
        self._notifier.tell("STOPPING=1", f"STATUS={status}")

    def stopped(self) -> None:
        """Take back the status: it would outlive us."""
        self._notifier.tell("STATUS=")

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

    def _trouble(self, situation: Situation) -> str:
        return self._gap[1] if self._gap is not None and situation.server is None else ""

    def _describe(self, situation: Situation, next_try_at: float) -> str:
        """Say how things stand in one line."""
        server, trouble, problem = situation.server, self._trouble(situation), situation.reserve.problem
        serves = "serves" if server is not None and server.serves else "is about to serve"
        words = [f"{server.name} {serves}" if server is not None else "nobody serves"]
        if trouble:
            words.append(f"the last server {trouble}")
        if problem:
            words.append(problem if server is None else f"no server in reserve: {problem}")
        if next_try_at:
            words.append(f"next try at {time.strftime('%H:%M:%S', time.localtime(next_try_at))}")
        elif problem or server is None:
            words.append("a try is under way")
        if situation.reload.error:
            words.append(f"the last reload failed: {situation.reload.error}")
        return "; ".join(words)

    def _write(self, situation: Situation, connection: Connection, next_try_at: float) -> None:
        server = situation.server
        state = RunState(
            supervisor_pid=os.getpid(),
            started_at=self._started_at,
            mount_point=os.fspath(self._config.mount_point),
            device=connection.mount.device,
            server_pid=server.pid or 0 if server is not None else 0,
            generation=server.generation if server is not None else self._last_generation,
            host_view=situation.host_view,
            replaced=self._replaced,
            replacements=tuple(self._replacements),
            program_version=__version__,
            reload=situation.reload,
            reserve=situation.reserve,
            trouble=self._trouble(situation),
            next_try_at=next_try_at,
        )
        if state != self._written:
            self._written = state
            self._state_file.write(state)

    @property
    def _last_generation(self) -> int:
        return self._written.generation if self._written is not None else 0
