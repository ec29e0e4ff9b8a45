"""Keeps the connection while nobody serves it: ``python -m pylxcfs.holder SECONDS ARGUMENTS…``.

The end of a container is the end of all that runs in it, but for a process that has left the container's
cgroups and shares the host's pid namespace. This is one. The supervisor in the next container finds it by its
socket, which it is given as descriptor `LISTEN_FD`. If for SECONDS none comes, containers are given the
kernel's own files back (pylxcfs/reattach/abandon.py), and the connection ends (docs/adr/0022-holder.md).

A supervisor talks to the holder that one of another version has started: words may be added here but never
change their meaning. A word that is not known is passed over.
"""

import contextlib
import ctypes
import os
import select
import signal
import socket
import struct
import sys
import time
from collections.abc import Sequence
from typing import Final

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

#: cgroup v2: its real root may hold processes beside groups, the root of a nested one may not.
_GROUP: Final = "pylxcfs-holder"
_CLONE_NEWCGROUP: Final = 0x02000000
#: How long giving the files back may take.
_ABANDON_SECONDS: Final = 120.0
#: Where the file system's type is in a line of mountinfo, after its optional fields.
_MARK: Final = " - "


def main(argv: Sequence[str] | None = None) -> int:
    """Keep what a supervisor gives until it is released, or for long enough after nobody serves it."""
    seconds, *arguments = sys.argv[1:] if argv is None else argv
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    # Whatever the container was started with: somebody may wait until nobody has it open.
    os.closerange(LISTEN_FD + 1, os.sysconf("SC_OPEN_MAX"))
    _leave_cgroup_namespace()
    tops = _tops()
    holder = _Holder(socket.socket(fileno=LISTEN_FD), float(seconds), _leave_cgroups(tops))
    minor = holder.run()
    if minor:
        _abandon(minor, arguments)
    _remove_group(tops)
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
        listener.setblocking(False)  # noqa: FBT003 - the socket's own interface

    def run(self) -> str:
        """Return what is kept when nobody has come to serve it; nothing if released."""
        poller = select.poll()
        poller.register(self._listener, select.POLLIN)
        while True:
            left = None if self._serve_by is None else self._serve_by - time.monotonic()
            if left is not None and left <= 0:
                return self._minor.decode()
            for fd, _ in poller.poll(None if left is None else left * 1000 + 1):
                client = self._clients.get(fd)
                if client is None:
                    client = self._accept()
                    if client is not None:
                        poller.register(client, select.POLLIN)
                elif not self._hear(client):
                    return ""
                elif client.fileno() < 0:
                    poller.unregister(fd)

    def _accept(self) -> socket.socket | None:
        """Tell root what is kept, and nobody else."""
        try:
            client, _ = self._listener.accept()
        except OSError:
            return None
        _pid, uid, _gid = struct.unpack("3i", client.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))
        client.setblocking(False)  # noqa: FBT003 - as above
        try:
            if uid != 0:
                raise PermissionError
            socket.send_fds(client, [HELD + self._minor], [] if self._fd is None else [self._fd])
        except OSError:
            client.close()
            return None
        self._clients[client.fileno()] = client
        self._serve_by = None
        return client

    def _hear(self, client: socket.socket) -> bool:
        """Do what a client says; False if that is to end."""
        try:
            word, fds, _, _ = socket.recv_fds(client, MAX_MESSAGE, 1, socket.MSG_CMSG_CLOEXEC)
        except OSError:
            word, fds = b"", []
        if word.startswith(KEEP) and fds:
            if self._fd is not None:
                os.close(self._fd)
            self._fd, self._minor = fds[0], word.removeprefix(KEEP)
            with contextlib.suppress(OSError):
                client.send(KEPT + self._problem)
        elif not word:
            self._clients.pop(client.fileno()).close()
            if not self._clients:
                self._serve_by = time.monotonic() + self._seconds
        return word != RELEASE


def _leave_cgroups(tops: Sequence[tuple[bool, str]]) -> str:
    """Go to the top of every hierarchy; return what went wrong, as one line."""
    problems = []
    for is_v2, top in tops:
        try:
            _enter(_make_group(top) if is_v2 else top)
        except OSError as error:
            problems.append(f"{error.filename}: {error.strerror}")
    return "; ".join(problems)


def _remove_group(tops: Sequence[tuple[bool, str]]) -> None:
    """Leave no group behind, but for the holder after us, and where the top may not hold processes."""
    with contextlib.suppress(OSError):
        for is_v2, top in tops:
            if is_v2:
                _enter(top)
                os.rmdir(f"{top}/{_GROUP}")  # noqa: PTH106 - pathlib is large


def _leave_cgroup_namespace() -> None:
    """Go to that of process 1: where cgroup2 is mounted with nsdelegate, nobody can leave it from inside."""
    with contextlib.suppress(OSError):
        namespace = os.open("/proc/1/ns/cgroup", os.O_RDONLY | os.O_CLOEXEC)
        # If it is not allowed, and was needed, entering cgroups fails.
        ctypes.CDLL(None).setns(namespace, _CLONE_NEWCGROUP)
        os.close(namespace)


def _tops() -> list[tuple[bool, str]]:
    """Return for each hierarchy whether it is v2, and the mount point that shows most of it."""
    best: dict[str, tuple[int, int, bool, str]] = {}
    with open("/proc/self/mountinfo", errors="surrogateescape") as mounts:  # noqa: PTH123 - pathlib is large
        lines = mounts.readlines()
    for line in lines:
        front, _, back = line.partition(_MARK)
        fs_type, *_, options = back.split()
        if fs_type in {"cgroup", "cgroup2"}:
            root, mount_point = front.split()[3:5]
            # Above our cgroup namespace's root there is one ".." for every step.
            steps = [step for step in root.split("/") if step]
            ups = steps.count("..")
            shows = (ups - len(steps), ups, fs_type == "cgroup2", mount_point)
            hierarchy = fs_type if fs_type == "cgroup2" else options.removeprefix("rw,").removeprefix("ro,")
            best[hierarchy] = max(shows, best.get(hierarchy, shows))
    return [shows[2:] for shows in best.values()]


def _make_group(top: str) -> str:
    group = f"{top}/{_GROUP}"
    with contextlib.suppress(FileExistsError):
        os.mkdir(group)  # noqa: PTH102 - pathlib is large
    return group


def _enter(group: str) -> None:
    path = f"{group}/cgroup.procs"
    fd = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
    try:
        os.write(fd, b"0")
    except OSError as error:
        raise OSError(error.errno, error.strerror, path) from error
    finally:
        os.close(fd)


def _abandon(minor: str, arguments: Sequence[str]) -> None:
    """Have the binds in containers taken away, and the mount; what is not taken away is dead when we end."""
    command = [sys.executable, "-P", "-m", "pylxcfs.reattach.abandon", minor, *arguments]
    print("nobody serves; giving containers the kernel's files", file=sys.stderr, flush=True)  # noqa: T201 - the log
    try:
        pid = os.posix_spawn(command[0], command, os.environ)
    except OSError as error:
        # The image that we were started from has been removed.
        print(f"{command[0]}: {error.strerror}", file=sys.stderr)  # noqa: T201
        return
    give_up = time.monotonic() + _ABANDON_SECONDS
    while not os.waitpid(pid, os.WNOHANG)[0]:
        if time.monotonic() > give_up:
            os.kill(pid, signal.SIGKILL)
        time.sleep(0.05)


if __name__ == "__main__":
    sys.exit(main())
