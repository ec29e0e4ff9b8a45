"""The process that holds the connection: has it served, watches whoever serves, and replaces it.

A FUSE connection lives as long as somebody has its descriptor open. This process has, does nothing else that
could fail, and imports little; servers do everything else (docs/adr/0019-supervisor.md).
"""

import contextlib
import logging
import os
import select
import signal
import socket
import time
from collections.abc import Callable, Sequence
from typing import Final

from pylxcfs.config import Config
from pylxcfs.errors import StartupError
from pylxcfs.fuse import device
from pylxcfs.fuse.mounting import Connection, find_connection
from pylxcfs.linux.processes import adopt_orphans
from pylxcfs.rundir.supervisor_state import Reserve, RunState, is_server
from pylxcfs.supervision.announcer import Announcer, Situation
from pylxcfs.supervision.children import ServerProcess, wait_for_end
from pylxcfs.supervision.crash_loop import HOPELESS_SECONDS, HOST_VIEW_SECONDS, YOUNG_SECONDS, Deaths
from pylxcfs.supervision.departure import Departure
from pylxcfs.supervision.holder_client import Hold
from pylxcfs.supervision.protocol import ALIVE, STORE_NAME
from pylxcfs.supervision.rebinding import ATTACH, Rebinding
from pylxcfs.supervision.spares import Spares
from pylxcfs.supervision.suspects import Suspects
from pylxcfs.supervision.systemd import Notifier, inherited_descriptors

_log = logging.getLogger(__name__)

_TICK_SECONDS: Final = 0.25
#: A server that says nothing for so many ticks hangs: it says something in each.
_HUNG_TICKS: Final = 5
#: How long a server may take to answer what it has taken, and to end once it was killed.
_DRAIN_SECONDS: Final = 2.0
_REAP_SECONDS: Final = 0.2
_MEMORY_SECONDS: Final = 5.0
STOP_SIGNALS: Final = frozenset({signal.SIGTERM, signal.SIGINT, signal.SIGHUP})
SIGNALS: Final = (*STOP_SIGNALS, signal.SIGUSR1, signal.SIGUSR2, signal.SIGCHLD)


class Supervisor:
    """Who serves one mount point: the current server, and the one in reserve that takes over from it.

    Where servers come from (`Spares`), how all comes to an end (`Departure`), and what others are told of it
    (`Announcer`) are other matters.
    """

    def __init__(
        self,
        config: Config,
        arguments: Sequence[str],
        signals: socket.socket,
        mount: Callable[[], Connection],
    ) -> None:
        """Take over the connection that an earlier supervisor has left, if there is one."""
        self._config = config
        self._signals = signals
        self._mount = mount
        adopt_orphans()
        self._announcer = Announcer(config, Notifier(os.environ.get("NOTIFY_SOCKET")))
        before = self._announcer.left_state()
        _end_orphan(before)
        self._hold = Hold(config.state_directory, config.hold_seconds, arguments)
        self._connection = find_connection(config.mount_point, _left_descriptors() | self._hold.inherited())
        if before is None or self._connection is None:
            before = _NOTHING_BEFORE
        self._announcer.go_on_from(before)
        self._generation = before.generation
        #: What the operator has asked for (SIGUSR2).
        self._host_view = before.host_view
        self._spares = Spares(arguments)
        #: Whether any server of ours has ever served.
        self._has_served = False
        self._deaths = Deaths()
        self._suspects = Suspects()
        self._current: ServerProcess | None = None
        #: When somebody may serve, if nobody does (monotonic clock).
        self._serve_at = 0.0
        #: Why the current one is to be replaced, "" if it is not, and until when it has to end for that.
        self._planned = ""
        self._drained_by: float | None = None
        #: Killed, but not seen to end.
        self._lingering: list[ServerProcess] = []
        self._memory_at = self._host_until = 0.0
        self._rebinding = Rebinding(arguments, lambda: self._spares.template, enabled=config.reattach)
        self._departure = Departure(self._announcer, self._hold, self._rebinding)
        #: Whether binds in containers are of an earlier mount.
        self._has_mounted = False

    def run(self) -> int:
        """Supervise until told to stop or unmounted; return the exit status. Raises StartupError."""
        try:
            if self._connection is not None:
                self._announcer.nobody_serves("new supervisor")
            elif self._config.leave:
                return 0
            tick_at = time.monotonic() + _TICK_SECONDS
            while self._departure.exit_status is None:
                now = time.monotonic()
                if now >= tick_at:
                    tick_at = now + _TICK_SECONDS
                    self._tick(now)
                self._advance(now)
                self._wait(tick_at - time.monotonic())
            return self._departure.exit_status
        finally:
            self._end()

    # What happens.

    def _sources(self) -> dict[int, Callable[[], None]]:
        """Return the descriptors to wait for, each with what is to be called when it is ready."""
        sources = self._spares.sources() | self._rebinding.sources()
        # The end of a child is told by SIGCHLD; a closed socket would be ready all the time.
        if self._current is not None and not self._current.hung_up:
            sources[self._current.control.fileno()] = self._hear
        return sources

    def _wait(self, seconds: float) -> None:
        """Handle what happens within the next `seconds`."""
        if self._departure.exit_status is not None:
            return
        sources = self._sources()
        poller = select.poll()
        poller.register(self._signals, select.POLLIN)
        for fd in sources:
            poller.register(fd, select.POLLIN)
        ready = {fd for fd, _ in poller.poll(max(0.0, seconds) * 1000)}
        for fd in ready & sources.keys():
            sources[fd]()
        if self._signals.fileno() in ready:
            for number in self._signals.recv(64):
                self._handle(signal.Signals(number))

    def _hear(self) -> None:
        server = self._current
        if server is not None and ALIVE in server.receive():
            server.unresponsive_ticks = 0
            if not server.serves:
                server.serves = True
                self._serves(server)

    def _handle(self, number: signal.Signals) -> None:
        if number in STOP_SIGNALS:
            _log.info("%s: stopping", number.name)
            self._departure.begin(self._connection)
        elif number == signal.SIGUSR1:
            _log.info("SIGUSR1: loading the installed code")
            self._spares.load(asked_at=time.time())
        elif number == signal.SIGUSR2:
            self._host_view = not self._host_view
            if self._current is not None:
                self._current.show(host_view=self._shows_host)
        elif number == signal.SIGCHLD:
            self._reap()

    def _reap(self) -> None:
        """Take note of every child that has ended, ours or not: orphans come to us."""
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            # Which child it was, it may have told us at its end only.
            for hear in self._sources().values():
                hear()
            code = os.waitstatus_to_exitcode(status)
            self._spares.reaped(pid, code)
            if self._rebinding.has_ended(pid):
                self._departure.rebinding_ended(self._connection)
            for server in (self._current, *self._lingering):
                if server is not None and server.pid == pid:
                    self._ended(server, code)

    def _ended(self, server: ServerProcess, code: int) -> None:
        if server in self._lingering:
            self._lingering.remove(server)
            if self._connection is not None:
                # In its last moment it may have taken a request after these were asked for the last time.
                device.resend(self._connection.fd)
        elif self._is_unmounted() or self._drained_by is not None:
            self._current = None
        else:
            server.receive()
            why = server.describe_end(code)
            _log.warning("%s %s", server.name, why)
            self._lost(server, why)
        server.close()

    def _tick(self, now: float) -> None:
        """Look after what no event tells of."""
        self._hold.keep(self._connection)
        if self._current is not None:
            self._look_at(self._current, now)
        self._rebinding.start_wanted(now)
        if self._host_until and now >= self._host_until:
            # Looked at again after as long once more, should this one not come to serve.
            self._host_until = now + HOST_VIEW_SECONDS
            self._deaths = Deaths()
            self._plan("containers are looked at again")
        self._departure.tick(self._connection, now)
        self._announcer.tick(now)

    def _look_at(self, current: ServerProcess, now: float) -> None:
        """Find out whether the current server is unresponsive, or takes too much memory."""
        if self._drained_by is not None:
            if now > self._drained_by:
                self._give_up_on(current, "did not stop in time")
            return
        current.unresponsive_ticks += 1
        if current.unresponsive_ticks >= _HUNG_TICKS:
            self._give_up_on(current, f"did nothing for {_HUNG_TICKS * _TICK_SECONDS:.2f} s")
        elif now >= self._memory_at:
            self._memory_at = now + _MEMORY_SECONDS
            resident = current.resident_bytes()
            if resident > self._config.max_memory:
                self._plan(f"{resident >> 20} MiB of memory")

    # What is done about it.

    def _advance(self, now: float) -> None:
        """Do what follows from how things stand now (monotonic clock)."""
        if self._spares.has_renewed():
            self._plan("SIGUSR1")
        if self._current is None or self._current.serves:
            # Not while somebody begins to serve: readers wait for that.
            self._spares.advance(now, is_urgent=self._current is None)
        # After that: code that was long in coming serves at once.
        if self._current is None:
            if now >= self._serve_at and (server := self._spares.take()):
                self._let_serve(server)
        elif self._planned and self._drained_by is None and self._spares.is_ready:
            self._drain(self._current)
        self._check_hope(now)
        self._announcer.tell(
            Situation(
                connection=self._connection,
                server=self._current,
                host_view=self._host_view,
                reserve=Reserve(*self._spares.pids, self._spares.problem),
                reload=self._spares.reload,
                next_try_at=self._next_try_at(),
            )
        )

    def _next_try_at(self) -> float | None:
        """Return when what is missing is tried again (monotonic clock), None if that is under way."""
        if self._spares.is_ready:
            return self._serve_at if self._current is None else None
        if self._spares.is_loading or not self._spares.problem:
            return None
        return max(self._serve_at, self._spares.next_try_at(is_urgent=self._current is None))

    def _check_hope(self, now: float) -> None:
        """End if no server can be had, however long it is waited."""
        problem, gap = self._spares.problem, self._announcer.gap
        if problem and not self._has_served:
            if self._connection is None or self._config.leave:
                # Nobody waits, or nobody comes after us and reads shall fail, and not hang.
                raise StartupError(self._spares.why_not)
            if self._announcer.is_heard:
                # The service manager keeps the connection, and tries again.
                _log.error("%s", problem)
                self._departure.exit_status = 1
                return
        if gap is not None and self._connection is not None and not self._departure.has_begun:
            since, why = gap
            # On a busy machine code that is being loaded for the first time, and a server that has just been
            # told to serve, may take their time.
            has_failed = self._current is None and (problem or not self._spares.is_loading)
            if has_failed and now - since >= HOPELESS_SECONDS:
                why = f"no server for {HOPELESS_SECONDS:.0f} s ({problem or why})"
                self._departure.give_up(self._connection, why)

    def _let_serve(self, server: ServerProcess) -> None:
        """Give the connection to a server that is ready; the first one finds nothing mounted yet."""
        mounted = self._connection is None
        if self._connection is None:
            self._connection = self._mount()
            self._has_mounted = True
        self._current = server
        self._generation += 1
        self._planned, self._drained_by = "", None
        fd = self._connection.fd
        if device.resend(fd):
            doubted = self._suspects.convicted
            server.go(fd, self._generation, host_view=self._shows_host, doubted=doubted)
        else:
            # Through a descriptor of its own: what it has taken when it dies then fails, and does not hang.
            own = device.clone(fd)
            server.go(own, self._generation, host_view=self._shows_host)
            os.close(own)
        host_view = self._deaths.next_start.host_view
        self._host_until = time.monotonic() + HOST_VIEW_SECONDS if host_view else 0.0
        if mounted:
            self._hold.keep(self._connection)
            self._announcer.store(self._connection)

    def _serves(self, server: ServerProcess) -> None:
        """Make known that a server has begun to serve."""
        self._has_served = True
        self._announcer.serves(server)
        if self._departure.has_begun:
            return
        if self._config.leave:
            self._departure.begin(self._connection)
        elif self._has_mounted:
            self._has_mounted = False
            self._rebinding.want(ATTACH)

    def _plan(self, why: str) -> None:
        """Have the current server replaced as soon as another one is ready."""
        if self._current is not None and not self._planned:
            _log.info("%s: replacing %s", why, self._current.name)
            self._planned = why

    def _drain(self, current: ServerProcess) -> None:
        """Have the current server end, for one that is ready."""
        lived_seconds = time.monotonic() - (current.serving_since or current.started_at)
        if lived_seconds >= YOUNG_SECONDS:
            self._deaths = Deaths()
        self._announcer.nobody_serves(self._planned)
        self._drained_by = time.monotonic() + _DRAIN_SECONDS
        current.drain()

    def _give_up_on(self, server: ServerProcess, why: str) -> None:
        """Replace a server that does not answer, whether or not it can be killed."""
        _log.warning("%s %s; killing it", server.name, why)
        # One that somebody has stopped is none that could not go on.
        hung = not server.is_stopped()
        server.kill()
        self._lingering.append(server)
        if server.pid is not None and wait_for_end(server.pid, _REAP_SECONDS):
            self._ended(server, -signal.SIGKILL)
        self._lost(server, why, hung=hung)

    def _lost(self, server: ServerProcess, why: str, *, hung: bool = False) -> None:
        """Go on after a server that ended without being asked to."""
        now = time.monotonic()
        self._current = None
        self._planned, self._drained_by = "", None
        lived_seconds = now - server.serving_since if server.serving_since else 0.0
        self._deaths = self._deaths.after(lived_seconds, hung=hung)
        self._suspects.ended(server.last_request)
        self._announcer.nobody_serves(why)
        start = self._deaths.next_start
        if start.host_view and not self._has_served and self._announcer.is_heard:
            # The service manager keeps the connection, tries again, and knows what to do when it gives up.
            _log.error("no server of the installed code comes to serve; ending")
            self._departure.exit_status = 1
            return
        if start.host_view:
            _log.error(
                "servers keep dying at once: all see the host for %.0f s; next try in %.1f s",
                HOST_VIEW_SECONDS,
                start.delay_seconds,
            )
        self._serve_at = now + start.delay_seconds

    def _is_unmounted(self) -> bool:
        """Tell whether the connection has ended, and do what follows from it."""
        connection = self._connection
        if connection is None or device.is_connected(connection.fd):
            return False
        os.close(connection.fd)
        self._connection = None
        if connection.is_mounted():
            # Aborted through /sys/fs/fuse: the mount is dead.
            _log.warning("the connection was aborted; mounting anew")
            self._announcer.nobody_serves("connection aborted")
        else:
            _log.info("%s was unmounted", self._config.mount_point)
            self._departure.exit_status = 0
        return True

    def _end(self) -> None:
        """Leave no process behind."""
        exit_status = self._departure.exit_status
        patience = _DRAIN_SECONDS if exit_status == 0 else 0.0
        if self._current is not None and exit_status == 0:
            self._current.drain()
        self._rebinding.kill()
        for server in (self._current, *self._lingering):
            if server is None or server.pid is None:
                continue
            if server is not self._current or not wait_for_end(server.pid, patience):
                server.kill()
                wait_for_end(server.pid, _REAP_SECONDS)
            server.close()
        self._spares.end()
        if self._connection is not None and exit_status is None and not self._hold.is_kept:
            self._connection.unmount()

    @property
    def _shows_host(self) -> bool:
        return self._host_view or self._deaths.next_start.host_view


_NOTHING_BEFORE: Final = RunState(0, 0.0, "", "", 0, 0, host_view=False, replaced=0)


def _left_descriptors() -> dict[str, int]:
    """Return what was kept for us, by the minor number of the mount's device."""
    kept = inherited_descriptors()
    return {name.removeprefix(STORE_NAME): fd for name, fd in kept.items() if name.startswith(STORE_NAME)}


def _end_orphan(before: RunState | None) -> None:
    """Kill the server of a supervisor that has died, if it is still there: nobody watches it."""
    # We hold the lock, so that supervisor has gone. We may be it, after it was executed again by its server.
    if before is not None and before.server_pid not in {0, os.getpid()} and is_server(before.server_pid):
        _log.warning("killing server %d, which an earlier supervisor has left", before.server_pid)
        with contextlib.suppress(ProcessLookupError):
            os.kill(before.server_pid, signal.SIGKILL)
