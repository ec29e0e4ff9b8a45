"""The pid file: written and locked by one instance, never touched by another."""

import fcntl
import os
import struct
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from pylxcfs.errors import StartupError

#: struct flock (fcntl(2)): type, whence, start, length, pid.
_FLOCK: Final = struct.Struct("hhqqi0q")


def holder(path: Path) -> int | None:
    """Return who has locked a pid file, as a pid of our namespace; None for nobody. Raises OSError."""
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        asked = _FLOCK.pack(fcntl.F_WRLCK, os.SEEK_SET, 0, 0, 0)
        kind, *_, pid = _FLOCK.unpack(fcntl.fcntl(fd, fcntl.F_GETLK, asked))
    finally:
        os.close(fd)
    return None if kind == fcntl.F_UNLCK else pid


class PidFile:
    """Holds a locked pid file for the length of a ``with`` block.

    The lock is a POSIX record lock on the whole file, as lxcfs takes it, so each respects the other's. It
    belongs to the process: a forked child has none, and closing any descriptor of the file gives it up.
    """

    def __init__(self, path: Path) -> None:
        """Remember `path`; nothing is opened yet."""
        self._path = path
        self._fd: int | None = None

    def __enter__(self) -> Self:
        """Create, lock and write the file; raises StartupError."""
        try:
            self._fd = self._open_locked()
            os.ftruncate(self._fd, 0)
            os.pwrite(self._fd, b"%d\n" % os.getpid(), 0)
        except OSError as error:
            if self._fd is not None:
                # Locked, so ours, though it could not be written: a file without a pid would only mislead.
                self._path.unlink(missing_ok=True)
            self._close()
            raise StartupError(f"cannot write pid file {self._path}: {error.strerror}") from error
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Remove the file if it is still ours, then give up the lock."""
        if self._fd is not None and self._is_ours(self._fd):
            self._path.unlink(missing_ok=True)
        self._close()

    def _open_locked(self) -> int:
        while True:
            fd = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o644)
            try:
                fcntl.lockf(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except (BlockingIOError, PermissionError) as error:  # EAGAIN or EACCES: fcntl(2) allows both
                owner = os.pread(fd, 32, 0).split()
                os.close(fd)
                by = f"pid {owner[0].decode(errors='replace')}" if owner else "another process"
                raise StartupError(f"pid file {self._path} is already locked by {by}") from error
            except OSError:
                os.close(fd)
                raise
            # Its last owner may have removed the file between our open and our lock.
            if self._is_at_path(fd):
                return fd
            os.close(fd)

    def _is_at_path(self, fd: int) -> bool:
        try:
            return os.path.samestat(os.fstat(fd), os.lstat(self._path))
        except FileNotFoundError:
            return False

    def _is_ours(self, fd: int) -> bool:
        # The content too: a forked child that unwinds through here must leave its parent's file alone.
        return self._is_at_path(fd) and os.pread(fd, 32, 0) == b"%d\n" % os.getpid()

    def _close(self) -> None:
        if self._fd is not None:
            os.close(self._fd)
            self._fd = None
