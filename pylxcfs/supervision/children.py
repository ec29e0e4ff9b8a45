"""The supervisor's child processes: how they start and end, and a server as its supervisor sees it."""

import fcntl
import os
import signal
import socket
import sys
import time
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Final

import pylxcfs
from pylxcfs.linux.shared_word import SharedWord
from pylxcfs.supervision.protocol import BORN, DOUBT, DRAIN, FAILED, GO, HOST_VIEW, MAX_MESSAGE, OWN_VIEW

#: What systemd tells us is not meant for the server.
_NOT_INHERITED: Final = frozenset(
    {"NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID", "LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES"}
)
_PAGE: Final = os.sysconf("SC_PAGE_SIZE")
#: Above every number at which a child expects a descriptor.
_ABOVE_ALL: Final = 16


def python_command(module: str, *arguments: str) -> list[str]:
    """Spell the command that runs a module of the installed package, whatever the working directory is."""
    return [sys.executable, "-P", "-m", module, *arguments]


def python_environment() -> dict[str, str]:
    """Return the environment in which `python_command` finds the package that this process is of."""
    environment = {name: value for name, value in os.environ.items() if name not in _NOT_INHERITED}
    package = os.fspath(Path(pylxcfs.__file__).parents[1])
    path = environment.get("PYTHONPATH")
    return {**environment, "PYTHONPATH": f"{package}:{path}" if path else package}


def start_process(command: list[str], descriptors: Mapping[int, int] | None = None) -> int:
    """Start a program of the package and return its pid; raises OSError.

    `descriptors` are what it is to find at which number, besides standard input, output and error.
    """
    # None of them may be where another one is to go.
    moved = {
        wanted: fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, _ABOVE_ALL)
        for wanted, fd in (descriptors or {}).items()
    }
    try:
        return os.posix_spawn(
            command[0],
            command,
            python_environment(),
            file_actions=[(os.POSIX_SPAWN_DUP2, fd, wanted) for wanted, fd in moved.items()],
            # Ctrl-C in a terminal is for the supervisor.
            setpgroup=0,
            setsigmask=(),
        )
    finally:
        for fd in moved.values():
            os.close(fd)


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


class Child:
    """A process that a template forks for us; once its template has let go of it, it is our child."""

    def __init__(self) -> None:
        """Make the pair of sockets that it shares with us; it is yet to be forked."""
        self.control, self.theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.control.setblocking(False)  # noqa: FBT003 - the socket's own interface
        self.started_at = time.monotonic()
        #: None until it has told.
        self.pid: int | None = None
        #: Whether its end of the socket is closed. If it has a pid, SIGCHLD tells of its end.
        self.hung_up = False
        #: Why it has ended, or could not be forked, in its own words; empty if it has said nothing.
        self.last_words = ""

    @property
    def is_stillborn(self) -> bool:
        """Whether it has ended before it had a pid that we know."""
        return self.hung_up and self.pid is None

    def receive(self) -> list[bytes]:
        """Return the words that it has said since the last time, but for those that every child says."""
        words = []
        try:
            while word := self.control.recv(MAX_MESSAGE):
                if word.startswith(BORN):
                    self.pid = int(word.removeprefix(BORN))
                elif word.startswith(FAILED):
                    self.last_words = word.removeprefix(FAILED).decode(errors="replace")
                else:
                    words.append(word)
        except BlockingIOError:
            return words
        except ConnectionError:
            pass
        self.hung_up = True
        return words

    def describe_end(self, code: int | None) -> str:
        """Say how it ended; `code` is None for one that was never born."""
        how = "could not be forked" if code is None else describe_end(code)
        return f"{how}: {self.last_words}" if self.last_words else how

    def kill(self) -> None:
        """End it, also if it is stopped; not reaped before its parent waits, its pid cannot be another's."""
        if self.pid is None:
            return
        try:
            os.kill(self.pid, signal.SIGKILL)
        except ProcessLookupError:
            return

    def close(self) -> None:
        """Let go of it. One that waits for our word ends by itself then."""
        self.control.close()
        self.theirs.close()


class ServerProcess(Child):
    """A server: forked, told to serve, watched."""

    def __init__(self) -> None:
        """Begin with one that is yet to be forked."""
        super().__init__()
        #: Whether it waits for `go`, or has been told.
        self.ready = False
        #: Its number among the servers of the mount; 0 until it is told to serve.
        self.generation = 0
        #: Whether it has been heard of since it was told to serve.
        self.serves = False
        #: When it was told to serve (monotonic clock), None before.
        self.serving_since: float | None = None
        #: How often in a row the supervisor has looked and not heard from it.
        self.unresponsive_ticks = 0
        self._busy_with: SharedWord | None = SharedWord()
        self._last_request = 0

    @property
    def last_request(self) -> int:
        """The number of the request that it has begun to answer last, 0 for none."""
        return self._last_request if self._busy_with is None else self._busy_with.value

    @property
    def name(self) -> str:
        """What it is called in the log and in the unit's status."""
        return f"server {self.pid} (generation {self.generation})"

    def go(self, device_fd: int, generation: int, *, host_view: bool, doubted: Collection[int] = ()) -> None:
        """Have it serve the connection of `device_fd`, and answer requests in `doubted` from the fallback."""
        self.show(host_view=host_view)
        self.generation = generation
        self.serving_since = time.monotonic()
        self.unresponsive_ticks = 0
        if doubted:
            self._tell(DOUBT + b" ".join(b"%d" % unique for unique in sorted(doubted)))
        fds = [device_fd] if self._busy_with is None else [device_fd, self._busy_with.fd]
        try:
            socket.send_fds(self.control, [GO + b"%d" % generation], fds)
        except OSError:
            # It has just died, as we are about to hear.
            return

    def show(self, *, host_view: bool) -> None:
        """Have it show everybody the host's files, or end that."""
        self._tell(HOST_VIEW if host_view else OWN_VIEW)

    def drain(self) -> None:
        """Have it answer what it has taken, save what the next server needs, and exit."""
        self._tell(DRAIN)

    def is_stopped(self) -> bool:
        """Tell whether somebody has stopped it by a signal (proc_pid_stat(5))."""
        try:
            return b") T " in Path(f"/proc/{self.pid}/stat").read_bytes()
        except OSError:
            return False

    def resident_bytes(self) -> int:
        """Return its resident memory, 0 if it has gone (proc_pid_statm(5))."""
        try:
            return int(Path(f"/proc/{self.pid}/statm").read_bytes().split()[1]) * _PAGE
        except (OSError, IndexError):
            return 0

    def close(self) -> None:
        """Let go of it, and of what it has noted."""
        super().close()
        self._last_request = self.last_request
        if self._busy_with is not None:
            self._busy_with.close()
        self._busy_with = None

    def _tell(self, word: bytes) -> None:
        try:
            self.control.send(word)
        except OSError:
            return
