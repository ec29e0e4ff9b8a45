"""The process that holds the connection: starts the server, watches it, and replaces it.

A FUSE connection lives as long as somebody has its descriptor open. This process has, does nothing else that
could fail, and imports little; the server does everything else (docs/adr/0019-supervisor.md).
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
from pylxcfs.fuse.connection import (
    Connection,
    find_connection,
    open_connection,
    parse_mount_options,
    prepare_mount_point,
)
from pylxcfs.rundir.files import make_state_directory
from pylxcfs.rundir.pidfile import PidFile
from pylxcfs.rundir.supervisor_state import RunState, is_server
from pylxcfs.supervision.announcer import Announcer
from pylxcfs.supervision.children import ServerProcess, describe_end, wait_for_end
from pylxcfs.supervision.crash_loop import HOST_VIEW_SECONDS, YOUNG_SECONDS, Deaths
from pylxcfs.supervision.departure import Departure
from pylxcfs.supervision.holder_client import Hold
from pylxcfs.supervision.protocol import ALIVE, READY, STORE_NAME
from pylxcfs.supervision.rebinding import PLANT, Rebinding
from pylxcfs.supervision.signals import received_signals
from pylxcfs.supervision.systemd import Notifier, inherited_descriptors

_log = logging.getLogger(__name__)

_TICK_SECONDS: Final = 0.25
#: A server that says nothing for so many ticks hangs: it says something in each.
_HUNG_TICKS: Final = 5
#: How long a server may take to start, to answer what it has taken, and to end once it was killed.
_START_SECONDS: Final = 60.0
_DRAIN_SECONDS: Final = 2.0
#: Until it is tried again to start one, where the system let us start none.
_RETRY_SECONDS: Final = 1.0
_REAP_SECONDS: Final = 0.2
_MEMORY_SECONDS: Final = 5.0
_STOP_SIGNALS: Final = frozenset({signal.SIGTERM, signal.SIGINT, signal.SIGHUP})
_SIGNALS: Final = (*_STOP_SIGNALS, signal.SIGUSR1, signal.SIGUSR2, signal.SIGCHLD)


def run(config: Config, arguments: Sequence[str]) -> int:
    """Mount, or take over a mount; have it served until told to stop. `arguments` are ours and the server's.

    Returns the exit status; raises StartupError.
    """
    options = parse_mount_options(",".join(config.mount_options))
    if config.state_directory.is_relative_to(config.mount_point):
        # Whoever writes there would wait for the server, and that is us.
        raise StartupError(
            f"the mount point {config.mount_point} would hide {config.state_directory}: "
            "choose another --runtime-dir"
        )
    if config.hold_seconds and os.getpid() == 1:
        raise StartupError("--hold needs the host's pid namespace: what keeps the mount would end with ours")
    with contextlib.ExitStack() as cleanup:
        cleanup.enter_context(PidFile(config.pidfile or config.runtime_dir / "pylxcfs.pid"))
        make_state_directory(config.state_directory)
        cleanup.enter_context(PidFile(config.state_directory / "lock"))
        if config.mount_point.parent == config.state_directory:
            # Not Path.mkdir: it asks whoever serves what is there.
            with contextlib.suppress(FileExistsError):
                os.mkdir(config.mount_point)  # noqa: PTH102
        signals = cleanup.enter_context(received_signals(_SIGNALS))

        def mount() -> Connection:
            prepare_mount_point(config.mount_point)
            return open_connection(config.mount_point, options)

        return Supervisor(config, arguments, signals, mount).run()


class Supervisor:
    """Who serves one mount point: the current server, and the one that takes over from it.

    How it comes to an end is another matter (`Departure`), what others are told of it a third (`Announcer`).
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
        self._arguments = arguments
        self._signals = signals
        self._mount = mount
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
        #: Whether any server of ours has ever served.
        self._has_served = False
        self._deaths = Deaths()
        self._current: ServerProcess | None = None
        #: Started while the current one serves, to take over from it.
        self._successor: ServerProcess | None = None
        #: When to start the next server, if nobody serves.
        self._start_at: float | None = None
        #: Why the current one is to be replaced, and until when it has to end for that.
        self._planned = ""
        self._drained_by: float | None = None
        #: Killed, but not seen to end.
        self._lingering: list[ServerProcess] = []
        self._memory_at = self._host_until = 0.0
        self._rebinding = Rebinding(arguments, enabled=config.reattach)
        self._departure = Departure(self._announcer, self._hold, self._rebinding)
        #: Whether binds in containers are of an earlier mount.
        self._has_mounted = False

    def run(self) -> int:
        """Supervise until told to stop or unmounted; return the exit status. Raises StartupError."""
        try:
            if self._connection is not None:
                self._announcer.nobody_serves("new supervisor")
                self._start_current()
            elif self._config.leave:
                return 0
            else:
                self._current = self._start_server()
            tick_at = time.monotonic() + _TICK_SECONDS
            while self._departure.exit_status is None:
                self._wait(tick_at - time.monotonic())
                if time.monotonic() >= tick_at:
                    tick_at = time.monotonic() + _TICK_SECONDS
                    self._tick(time.monotonic())
            return self._departure.exit_status
        finally:
            self._end()

    # What happens.

    def _wait(self, seconds: float) -> None:
        """Handle what happens within the next `seconds`."""
        poller = select.poll()
        poller.register(self._signals, select.POLLIN)
        servers = [server for server in (self._current, self._successor) if server is not None]
        for server in servers:
            # Its end is told by SIGCHLD; a closed socket would be ready all the time.
            if not server.hung_up:
                poller.register(server.control, select.POLLIN)
        ready = {fd for fd, _ in poller.poll(max(0.0, seconds) * 1000)}
        for server in servers:
            if server.control.fileno() in ready:
                self._hear(server)
        if self._signals.fileno() in ready:
            for number in self._signals.recv(64):
                self._handle(signal.Signals(number))

    def _hear(self, server: ServerProcess) -> None:
        for word in server.receive():
            if word == ALIVE:
                server.unresponsive_ticks = 0
                if not server.serves:
                    server.serves = True
                    self._serves(server)
            elif word == READY:
                server.ready = True
                if server is self._current:
                    self._let_serve(server)
                else:
                    self._drain_current()

    def _handle(self, number: signal.Signals) -> None:
        if number in _STOP_SIGNALS:
            _log.info("%s: stopping", number.name)
            self._departure.begin(self._connection)
        elif number == signal.SIGUSR1:
            self._replace("SIGUSR1")
        elif number == signal.SIGUSR2:
            self._host_view = not self._host_view
            self._tell_view()
        elif number == signal.SIGCHLD:
            self._reap()

    def _reap(self) -> None:
        """Take note of every child that has ended, ours or not: in a container orphans come to us."""
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            if self._rebinding.has_ended(pid):
                self._departure.rebinding_ended(self._connection)
            for server in (self._current, self._successor, *self._lingering):
                if server is not None and server.pid == pid:
                    self._ended(server, os.waitstatus_to_exitcode(status))

    def _ended(self, server: ServerProcess, code: int) -> None:
        server.close()
        if server in self._lingering:
            self._lingering.remove(server)
            if self._connection is not None:
                # In its last moment it may have taken a request after these were asked for the last time.
                device.resend(self._connection.fd)
        elif server is self._successor:
            self._successor = None
            _log.error("the new server %s; %s goes on", describe_end(code), self._name_current())
        elif self._connection is None and not self._has_served:
            # Never got as far as serving: it has said why, or died without a word.
            if code != 1:
                _log.error("the server %s at its start", describe_end(code))
            self._departure.exit_status = 1
        elif self._successor is not None and self._successor.ready:
            self._promote()
        elif self._is_unmounted():
            self._current = None
        else:
            why = describe_end(code)
            _log.warning("%s %s", self._name_current(), why)
            self._lost(server, why)

    def _tick(self, now: float) -> None:
        """Look after what no event tells of."""
        self._hold.keep(self._connection)
        if self._current is not None:
            self._look_at(self._current, now)
        elif self._start_at is not None and now >= self._start_at:
            self._start_at = None
            self._start_current()
        self._rebinding.start_wanted()
        successor = self._successor
        if successor is not None and not successor.ready and now - successor.started_at > _START_SECONDS:
            successor.kill()
        if self._host_until and now >= self._host_until:
            # Looked at again after as long once more, should this one not come to serve.
            self._host_until = now + HOST_VIEW_SECONDS
            self._deaths = Deaths()
            self._replace("containers are looked at again")
        self._departure.tick(self._connection, now)
        self._announcer.tick(now)

    def _look_at(self, current: ServerProcess, now: float) -> None:
        """Find out whether the current server is unresponsive, or takes too much memory."""
        if current.serving_since is None:
            if now - current.started_at > _START_SECONDS:
                self._give_up(current, f"did not start within {_START_SECONDS:.0f} s")
            return
        if self._drained_by is not None:
            if now > self._drained_by:
                self._give_up(current, "did not stop in time")
            return
        current.unresponsive_ticks += 1
        if current.unresponsive_ticks >= _HUNG_TICKS:
            self._give_up(current, f"did nothing for {_HUNG_TICKS * _TICK_SECONDS:.2f} s")
        elif now >= self._memory_at:
            self._memory_at = now + _MEMORY_SECONDS
            resident = current.resident_bytes()
            if resident > self._config.max_memory:
                self._replace(f"{resident >> 20} MiB of memory")

    # What is done about it.

    def _start_server(self) -> ServerProcess:
        self._generation += 1
        try:
            return ServerProcess(self._generation, self._arguments)
        except OSError as error:
            # Most likely no memory, or the interpreter is being upgraded at this moment.
            raise StartupError(f"cannot start a server: {error}") from error

    def _start_current(self) -> None:
        """Start the server for a connection that nobody serves; readers wait for as long as it takes."""
        try:
            self._current = self._start_server()
        except StartupError as error:
            if self._config.leave:
                # Nobody comes after us: reads shall fail, and not hang.
                raise
            if not self._has_served and self._announcer.is_heard:
                # The service manager keeps the connection, and tries again.
                _log.error("%s", error)
                self._departure.exit_status = 1
                return
            _log.error("%s; next try in %.1f s", error, _RETRY_SECONDS)
            self._announcer.trouble(str(error))
            self._start_at = time.monotonic() + _RETRY_SECONDS

    def _let_serve(self, server: ServerProcess) -> None:
        """Give the connection to a server that is ready; the first one finds nothing mounted yet."""
        mounted = self._connection is None
        if self._connection is None:
            self._connection = self._mount()
            self._has_mounted = True
        fd = self._connection.fd
        start = self._deaths.next_start
        host_view = self._host_view or start.host_view
        if device.resend(fd):
            server.go(fd, host_view=host_view)
        else:
            # Through a descriptor of its own: what it has taken when it dies then fails, and does not hang.
            own = device.clone(fd)
            server.go(own, host_view=host_view)
            os.close(own)
        self._host_until = time.monotonic() + HOST_VIEW_SECONDS if start.host_view else 0.0
        self._write_state()
        self._hold.keep(self._connection)
        if mounted:
            self._announcer.store(self._connection)

    def _serves(self, server: ServerProcess) -> None:
        """Make known that a server has begun to serve."""
        self._has_served = True
        if self._connection is not None:
            self._announcer.serves(server, self._connection, host_view=self._host_view)
        if self._config.leave:
            if not self._departure.has_begun:
                self._departure.begin(self._connection)
        elif self._has_mounted and not self._departure.has_begun:
            self._has_mounted = False
            self._rebinding.want(PLANT)

    def _replace(self, why: str) -> None:
        """Start a server from the installed code, to take over when it is ready."""
        if self._start_at is not None:
            _log.info("%s: starting a server", why)
            self._start_at = 0.0
        if self._successor is not None or self._current is None or self._current.serving_since is None:
            return
        _log.info("%s: replacing %s", why, self._name_current())
        try:
            self._successor = self._start_server()
        except StartupError as error:
            _log.error("%s; %s goes on", error, self._name_current())
            return
        self._planned = why

    def _drain_current(self) -> None:
        """Have the current server end; its successor is ready."""
        if self._current is None:
            self._promote()
        elif self._drained_by is None:
            lived_seconds = time.monotonic() - (self._current.serving_since or self._current.started_at)
            if lived_seconds >= YOUNG_SECONDS:
                self._deaths = Deaths()
            self._announcer.nobody_serves(self._planned)
            self._drained_by = time.monotonic() + _DRAIN_SECONDS
            self._current.drain()

    def _promote(self) -> None:
        """Let the successor serve."""
        self._drained_by = None
        self._current, self._successor = self._successor, None
        if self._current is not None and self._current.ready:
            self._let_serve(self._current)

    def _give_up(self, server: ServerProcess, why: str) -> None:
        """Replace a server that does not answer, whether or not it can be killed."""
        _log.warning("%s %s; killing it", self._name_current(), why)
        server.kill()
        self._lingering.append(server)
        if wait_for_end(server.pid, _REAP_SECONDS):
            self._ended(server, -signal.SIGKILL)
        self._lost(server, why)

    def _lost(self, server: ServerProcess, why: str) -> None:
        """Go on after a server that ended without being asked to."""
        now = time.monotonic()
        self._drained_by = None
        self._deaths = self._deaths.after(now - server.serving_since if server.serving_since else 0.0)
        self._announcer.nobody_serves(why)
        if self._successor is not None:
            self._promote()
            return
        self._current = None
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
        if start.delay_seconds:
            self._start_at = now + start.delay_seconds
        else:
            self._start_current()

    def _is_unmounted(self) -> bool:
        """Tell whether the connection has ended, and say what follows from it."""
        connection = self._connection
        if connection is None or device.is_connected(connection.fd):
            return False
        os.close(connection.fd)
        self._connection = None
        if connection.is_mounted():
            # Aborted through /sys/fs/fuse: the mount is dead.
            _log.warning("the connection was aborted; mounting anew")
            self._announcer.nobody_serves("connection aborted")
            self._start_at = time.monotonic()
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
        for server in (self._current, self._successor, *self._lingering):
            if server is None:
                continue
            if server is not self._current or not wait_for_end(server.pid, patience):
                server.kill()
                wait_for_end(server.pid, _REAP_SECONDS)
            server.close()
        if self._connection is not None and exit_status is None and not self._hold.is_kept:
            self._connection.unmount()

    def _tell_view(self) -> None:
        if self._current is not None:
            self._current.show(host_view=self._host_view or self._deaths.next_start.host_view)
        self._write_state()

    def _name_current(self) -> str:
        return "no server" if self._current is None else self._current.name

    def _write_state(self) -> None:
        if self._connection is not None and self._current is not None:
            self._announcer.write_state(self._connection, self._current, host_view=self._host_view)


_NOTHING_BEFORE: Final = RunState(0, 0.0, "", "", 0, 0, host_view=False, replaced=0)


def _left_descriptors() -> dict[str, int]:
    """Return what was kept for us, by the minor number of the mount's device."""
    kept = inherited_descriptors()
    return {name.removeprefix(STORE_NAME): fd for name, fd in kept.items() if name.startswith(STORE_NAME)}


def _end_orphan(before: RunState | None) -> None:
    """Kill the server of a supervisor that has died, if it is still there: nobody watches it."""
    # We hold the lock, so that supervisor has gone. We may be it, after it was executed again by its server.
    if before is not None and before.server_pid != os.getpid() and is_server(before.server_pid):
        _log.warning("killing server %d, which an earlier supervisor has left", before.server_pid)
        with contextlib.suppress(ProcessLookupError):
            os.kill(before.server_pid, signal.SIGKILL)
