"""The supervisor's child processes: how they are started, and a server as its supervisor sees it."""

import os
import signal
import socket
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import pylxcfs
from pylxcfs.supervision.protocol import CONTROL_FD, DRAIN, GO, HOST_VIEW, MAX_MESSAGE, OWN_VIEW

#: What systemd tells us is not meant for the server.
_NOT_INHERITED: Final = frozenset(
    {"NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID", "LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES"}
)
_PAGE: Final = os.sysconf("SC_PAGE_SIZE")


def python_command(module: str, *arguments: str) -> list[str]:
    """Spell the command that runs a module of the installed package, whatever the working directory is."""
    return [sys.executable, "-P", "-m", module, *arguments]


def python_environment() -> dict[str, str]:
    """Return the environment in which `python_command` finds the package that this process is of."""
    environment = {name: value for name, value in os.environ.items() if name not in _NOT_INHERITED}
    package = os.fspath(Path(pylxcfs.__file__).parents[1])
    path = environment.get("PYTHONPATH")
    return {**environment, "PYTHONPATH": f"{package}:{path}" if path else package}


def start_process(command: list[str], control: int | None = None) -> int:
    """Start a program of the package, `control` being its `CONTROL_FD`; return its pid. Raises OSError."""
    actions = [] if control is None else [(os.POSIX_SPAWN_DUP2, control, CONTROL_FD)]
    return os.posix_spawn(
        command[0],
        command,
        python_environment(),
        file_actions=actions,
        # Ctrl-C in a terminal is for the supervisor.
        setpgroup=0,
        setsigmask=(),
    )


def wait_for_end(pid: int, seconds: float) -> bool:
    """Reap a child; False if it has not ended within `seconds`."""
    deadline = time.monotonic() + seconds
    while True:
        try:
            if os.waitpid(pid, os.WNOHANG)[0]:
                return True
        except ChildProcessError:
            return True
        if time.monotonic() >= deadline:
            return False
        time.sleep(0.005)


def describe_end(code: int) -> str:
    """Say how a process ended, from its exit code as `os.waitstatus_to_exitcode` gives it."""
    if code >= 0:
        return f"ended with status {code}"
    try:
        return f"was killed by {signal.Signals(-code).name}"
    except ValueError:
        return f"was killed by signal {-code}"


class ServerProcess:
    """A server: started, told to serve, watched."""

    def __init__(self, generation: int, arguments: Sequence[str]) -> None:
        """Start the server of the installed code with the daemon's own arguments; raises OSError."""
        self.generation = generation
        #: Whether it waits for `go`, or has been told.
        self.ready = False
        #: Whether its end of the socket is closed: it has died, as SIGCHLD will tell.
        self.hung_up = False
        #: Whether it has been heard of since it was told to serve.
        self.serves = False
        #: When it was told to serve (monotonic clock), None before.
        self.serving_since: float | None = None
        #: How often in a row the supervisor has looked and not heard from it.
        self.unresponsive_ticks = 0
        self.started_at = time.monotonic()
        self.control, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.control.setblocking(False)  # noqa: FBT003 - the socket's own interface
        command = python_command("pylxcfs.server", str(generation), *arguments)
        with theirs:
            self.pid = start_process(command, theirs.fileno())

    @property
    def name(self) -> str:
        """What it is called in the log and in the unit's status."""
        return f"server {self.pid} (generation {self.generation})"

    def receive(self) -> list[bytes]:
        """Return the words that it has said since the last time."""
        words = []
        try:
            while word := self.control.recv(MAX_MESSAGE):
                words.append(word)
        except BlockingIOError:
            return words
        except ConnectionError:
            pass
        self.hung_up = True
        return words

    def go(self, device_fd: int, *, host_view: bool) -> None:
        """Have it serve the connection of `device_fd`."""
        self.show(host_view=host_view)
        self.serving_since = time.monotonic()
        self.unresponsive_ticks = 0
        try:
            socket.send_fds(self.control, [GO], [device_fd])
        except OSError:
            # It has just died, as we are about to hear.
            return

    def show(self, *, host_view: bool) -> None:
        """Have it show everybody the host's files, or end that."""
        self._tell(HOST_VIEW if host_view else OWN_VIEW)

    def drain(self) -> None:
        """Have it answer what it has taken, save what the next server needs, and exit."""
        self._tell(DRAIN)

    def kill(self) -> None:
        """End it, also if it is stopped; not reaped before its parent waits, its pid cannot be another's."""
        try:
            os.kill(self.pid, signal.SIGKILL)
        except ProcessLookupError:
            return

    def close(self) -> None:
        """Let go of it."""
        self.control.close()

    def resident_bytes(self) -> int:
        """Return its resident memory, 0 if it has gone (proc_pid_statm(5))."""
        try:
            return int(Path(f"/proc/{self.pid}/statm").read_bytes().split()[1]) * _PAGE
        except (OSError, IndexError):
            return 0

    def _tell(self, word: bytes) -> None:
        try:
            self.control.send(word)
        except OSError:
            return
