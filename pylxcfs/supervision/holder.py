"""Keeps the connection while nobody serves it: ``python -m pylxcfs.supervision.holder SECONDS ARGUMENTS…``.

The end of a container is the end of all that runs in it, but for a process that has left the container's
cgroups and shares the host's pid namespace. This is one. The supervisor in the next container finds it by its
socket, which it is given as descriptor `LISTEN_FD`. If for SECONDS none comes, the holder starts the daemon
itself, with ARGUMENTS, to answer those who wait and to leave in good order (docs/adr/0022-holder.md).

A supervisor talks to the holder that one of another version has started: words may be added here but never
change their meaning. A word that is not known is passed over. The name ``pylxcfs.supervision.holder`` stays:
supervisors of other versions know a holder by it.
"""

import contextlib
import ctypes
import errno
import os
import select
import signal
import socket
import struct
import sys
import time
from collections.abc import Sequence
from typing import Final

from pylxcfs.linux.mountinfo import split_line, unescape

LISTEN_FD: Final = 3
MAX_MESSAGE: Final = 256

#: Holder, to everybody who connects: what it keeps, by the minor number of the mount's device, with the
#: descriptor; a name that is empty, without one, if it keeps nothing.
HELD: Final = b"held "
#: Supervisor: keep this, by its name, with the descriptor.
KEEP: Final = b"keep "
#: Holder: it does; followed by why it will not survive the container, if it will not.
KEPT: Final = b"kept "
#: Supervisor: end, and do nothing else.
RELEASE: Final = b"release"

#: Where the top of a cgroup v2 hierarchy may not hold processes: it is not the real one.
_GROUP: Final = "pylxcfs-holder"
_CLONE_NEWCGROUP: Final = 0x02000000
#: How long a daemon that we have started may take to come.
_START_SECONDS: Final = 60.0
#: Of the second: a daemon that we have started leaves no zombie.
_IGNORED: Final = (signal.SIGHUP, signal.SIGCHLD)


def main(argv: Sequence[str] | None = None) -> int:
    """Keep what a supervisor gives until it is released, or for long enough after nobody serves it."""
    seconds, *arguments = sys.argv[1:] if argv is None else argv
    for number in _IGNORED:
        signal.signal(number, signal.SIG_IGN)
    # Whatever the container was started with: somebody may wait until nobody has it open.
    os.closerange(LISTEN_FD + 1, os.sysconf("SC_OPEN_MAX"))
    _Holder(socket.socket(fileno=LISTEN_FD), float(seconds), _leave_cgroups()).run(arguments)
    return 0


class _Holder:
    """One descriptor, and those who ask for it."""

    def __init__(self, listener: socket.socket, seconds: float, problem: str) -> None:
        self._listener = listener
        self._seconds = seconds
        self._problem = problem.encode()
        self._clients: dict[int, socket.socket] = {}
        #: Until when somebody has to come; None while one is connected, who serves or will.
        self._serve_by: float | None = time.monotonic() + seconds
        self._fd: int | None = None
        self._minor = b""
        #: A daemon that we have started, until it has ended (pidfd).
        self._daemon: int | None = None
        self._poller = select.poll()
        self._poller.register(listener, select.POLLIN)
        listener.setblocking(False)  # noqa: FBT003 - the socket's own interface

    def run(self, arguments: Sequence[str]) -> None:
        """Keep it until released, or until nobody serves it whatever we do."""
        while True:
            left = None if self._serve_by is None else self._serve_by - time.monotonic()
            ready = self._poller.poll(None if left is None else max(0.0, left) * 1000)
            if not all(self._handle(fd) for fd, _ in ready):
                return
            if not ready and not self._clients and not self._start_daemon(arguments):
                return

    def _handle(self, fd: int) -> bool:
        """Handle what has happened to a descriptor; False if that is the end."""
        if fd == self._listener.fileno():
            self._accept()
        elif fd == self._fd:
            # POLLERR: the file system is mounted nowhere any more, or was aborted.
            self._drop()
            return bool(self._clients)
        elif fd == self._daemon:
            # It has released us, or will not.
            self._forget_daemon()
            return bool(self._clients)
        elif fd in self._clients:
            return self._hear(self._clients[fd])
        return True

    def _accept(self) -> None:
        """Tell root what is kept, and nobody else."""
        try:
            client, _ = self._listener.accept()
        except OSError:
            return
        _pid, uid, _gid = struct.unpack("3i", client.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))
        client.setblocking(False)  # noqa: FBT003 - as above
        try:
            if uid != 0:
                raise PermissionError
            socket.send_fds(client, [HELD + self._minor], [] if self._fd is None else [self._fd])
        except OSError:
            client.close()
            return
        self._clients[client.fileno()] = client
        self._poller.register(client, select.POLLIN)
        self._serve_by = None

    def _hear(self, client: socket.socket) -> bool:
        """Do what a client says; False if that is to end."""
        try:
            word, fds, _, _ = socket.recv_fds(client, MAX_MESSAGE, 1, socket.MSG_CMSG_CLOEXEC)
        except OSError:
            word, fds = b"", []
        if word.startswith(KEEP) and fds:
            self._drop()
            self._fd, self._minor = fds[0], word.removeprefix(KEEP)
            # For no events but errors: whoever serves hears of the others.
            self._poller.register(self._fd, 0)
            with contextlib.suppress(OSError):
                client.send(KEPT + self._problem)
        elif not word:
            self._poller.unregister(client)
            self._clients.pop(client.fileno()).close()
            if not self._clients:
                self._serve_by = time.monotonic() + self._seconds
                return self._fd is not None
        return word != RELEASE

    def _start_daemon(self, arguments: Sequence[str]) -> bool:
        """Start one that serves and then leaves, releasing us as any other; False if that cannot be."""
        if self._fd is None or self._daemon is not None:
            return False
        _log("nobody has come to serve; starting a daemon that leaves in good order")
        command = [sys.executable, "-P", "-m", "pylxcfs.cli", *arguments, "--hold", "0", "--leave"]
        try:
            pid = os.posix_spawn(command[0], command, os.environ, setsigdef=_IGNORED)
            self._daemon = os.pidfd_open(pid)
        except OSError as error:
            # The image that we were started from has been removed.
            _log(f"{command[0]}: {error.strerror}")
            return False
        self._poller.register(self._daemon, select.POLLIN)
        self._serve_by = time.monotonic() + _START_SECONDS
        return True

    def _forget_daemon(self) -> None:
        if self._daemon is not None:
            self._poller.unregister(self._daemon)
            os.close(self._daemon)
        self._daemon = None

    def _drop(self) -> None:
        if self._fd is not None:
            self._poller.unregister(self._fd)
            os.close(self._fd)
        self._fd, self._minor = None, b""


def _leave_cgroups() -> str:
    """Go to the top of every hierarchy; return what went wrong, as one line."""
    with contextlib.suppress(OSError):
        # Where cgroup2 is mounted with nsdelegate, nobody leaves a cgroup namespace from inside. If this is
        # not allowed, and was needed, entering cgroups fails.
        namespace = os.open("/proc/1/ns/cgroup", os.O_RDONLY | os.O_CLOEXEC)
        ctypes.CDLL(None).setns(namespace, _CLONE_NEWCGROUP)
        os.close(namespace)
    problems = []
    for top, is_v2 in _tops():
        try:
            _enter(top, is_v2=is_v2)
        except OSError as error:
            problems.append(f"{top!r}: {error.strerror}")
    return "; ".join(problems)


def _tops() -> list[tuple[str, bool]]:
    """Return for each hierarchy the mount point that shows most of it, and whether it is v2."""
    best: dict[str, tuple[int, str, bool]] = {}
    with open("/proc/self/mountinfo", "rb") as mounts:  # noqa: PTH123 - pathlib is large
        lines = mounts.read().split(b"\n")
    for fields, kind in filter(None, map(split_line, lines)):
        fs_type, options = map(os.fsdecode, (kind[0], kind[2]))
        if fs_type in {"cgroup", "cgroup2"}:
            root, mount_point = unescape(fields[3]), unescape(fields[4])
            # Above the root of our cgroup namespace there is one ".." for every step.
            steps = [step for step in root.split("/") if step]
            shows = (2 * steps.count("..") - len(steps), mount_point, fs_type == "cgroup2")
            hierarchy = fs_type if fs_type == "cgroup2" else options.partition(",")[2]
            best[hierarchy] = max(shows, best.get(hierarchy, shows))
    return [shows[1:] for shows in best.values()]


def _enter(group: str, *, is_v2: bool) -> None:
    fd = os.open(f"{group}/cgroup.procs", os.O_WRONLY | os.O_CLOEXEC)
    try:
        os.write(fd, b"0")
    except OSError as error:
        if not is_v2 or error.errno != errno.EBUSY:
            raise
        group = f"{group}/{_GROUP}"
        with contextlib.suppress(FileExistsError):
            os.mkdir(group)  # noqa: PTH102 - pathlib is large
        _enter(group, is_v2=False)
    finally:
        os.close(fd)


def _log(message: str) -> None:
    print(f"pylxcfs: holder: {message}", file=sys.stderr, flush=True)  # noqa: T201 - its log


if __name__ == "__main__":
    sys.exit(main())
