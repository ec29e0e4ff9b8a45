"""The supervisor's side of pylxcfs/holder.py: what an earlier holder has kept, and one of our own."""

import contextlib
import logging
import os
import socket
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from pylxcfs.fuse.mounting import Connection
from pylxcfs.supervision.children import python_environment
from pylxcfs.supervision.holder import HELD, KEEP, KEPT, LISTEN_FD, MAX_MESSAGE, RELEASE

_log = logging.getLogger(__name__)
#: By this name in its command line it is known.
HOLDER_MODULE: Final = "pylxcfs.supervision.holder"
#: How long an earlier holder may take to answer.
_ANSWER_SECONDS: Final = 5.0
#: One that ends at once is started again, but not in a loop.
_RETRY_SECONDS: Final = 10.0


class Hold:
    """The connection, kept by a process that outlives our container."""

    def __init__(self, directory: Path, seconds: float, arguments: Sequence[str]) -> None:
        """Keep it for `seconds` after our end, 0 for not at all; `arguments` are the daemon's own."""
        self._directory = directory
        self.seconds = seconds
        # A daemon that the holder starts finds no /run of the container any more.
        self._arguments = (*arguments, "--pidfile", os.fspath(directory / "holder.pid"))
        self._earlier: socket.socket | None = None
        self._own: socket.socket | None = None
        self._sent: Connection | None = None
        self._is_kept = False
        self._start_at = 0.0

    @property
    def is_kept(self) -> bool:
        """Whether the connection outlives us."""
        self._hear()
        return self._is_kept

    def inherited(self) -> dict[str, int]:
        """Return what an earlier holder keeps, by the minor number of the mount's device."""
        earlier = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        earlier.settimeout(_ANSWER_SECONDS)
        try:
            earlier.connect(os.fspath(self._path))
            word, fds, _, _ = socket.recv_fds(earlier, MAX_MESSAGE, 1, socket.MSG_CMSG_CLOEXEC)
        except OSError:
            word, fds = b"", []
        if not word.startswith(HELD):
            earlier.close()
            return {}
        self._earlier = earlier
        return dict(zip([word.removeprefix(HELD).decode()], fds, strict=False))

    def keep(self, connection: Connection | None) -> None:
        """See to it that a holder of our own keeps this, and none from before; costs little if that is so."""
        if connection is None:
            return
        if not self.seconds:
            if self._sent is not connection:
                self._sent = connection
                self._release_earlier()
                self._path.unlink(missing_ok=True)
            return
        self._hear()
        if self._own is None and time.monotonic() >= self._start_at:
            self._start_at = time.monotonic() + _RETRY_SECONDS
            try:
                self._start()
            except OSError as error:
                _log.error("cannot start a holder: %s", error)
        if self._own is not None and self._sent is not connection:
            self._sent = connection
            # What it cannot be told, it will not confirm.
            with contextlib.suppress(OSError):
                socket.send_fds(self._own, [KEEP + connection.minor.encode()], [connection.fd])

    def release(self) -> None:
        """Have nobody keep the connection any more."""
        self._release_earlier()
        if self._own is not None:
            with contextlib.suppress(OSError):
                self._own.send(RELEASE)

    @property
    def _path(self) -> Path:
        return self._directory / "holder.sock"

    def _hear(self) -> None:
        """Take note of what our holder has said."""
        if self._own is None:
            return
        try:
            while word := self._own.recv(MAX_MESSAGE):
                if word.startswith(KEPT):
                    self._is_kept = True
                    self._release_earlier()
                    if problem := word.removeprefix(KEPT).decode():
                        _log.warning("the holder will not survive this container: %s", problem)
        except BlockingIOError:
            return
        except OSError:
            pass
        _log.warning("the holder of the connection has ended")
        self._own.close()
        self._own = self._sent = None
        self._is_kept = False

    def _start(self) -> None:
        """Start a holder, in place of an earlier one: that one's program may be removed with its image."""
        new = self._path.with_name(f"{self._path.name}.new")
        new.unlink(missing_ok=True)
        with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as listener:
            listener.bind(os.fspath(new))
            new.chmod(0o600)
            listener.listen()
            # No site: it should stay small. The package is found by PYTHONPATH.
            command = [sys.executable, "-SPm", HOLDER_MODULE, f"{self.seconds:g}", *self._arguments]
            log = os.fspath(self._directory / "holder.log")
            os.posix_spawn(
                command[0],
                command,
                python_environment(),
                file_actions=[
                    # A runtime waits until nobody has the container's output open.
                    (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
                    (os.POSIX_SPAWN_OPEN, 1, log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644),
                    (os.POSIX_SPAWN_DUP2, 1, 2),
                    (os.POSIX_SPAWN_DUP2, listener.fileno(), LISTEN_FD),
                ],
                setsid=True,
                setsigmask=(),
            )
            new.replace(self._path)
        self._own = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._own.setblocking(False)  # noqa: FBT003 - the socket's own interface
        self._own.connect(os.fspath(self._path))

    def _release_earlier(self) -> None:
        if self._earlier is not None:
            with contextlib.suppress(OSError):
                self._earlier.send(RELEASE)
            self._earlier.close()
            self._earlier = None
