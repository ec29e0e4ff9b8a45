"""A part of the host's /sys, read through a directory held open: only what is below it can be reached.

Paths are relative to that directory and walked one component at a time; no symbolic link is followed,
nothing but regular files is opened, and never for writing.
"""

import errno
import os
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

_PAGE: Final = 4096
#: Only binary attributes, like the CPU masks of a very large machine, are longer than a page.
_MOST: Final = 16 * _PAGE
_HOLD: Final = os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_LIST: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_READ: Final = os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC


class HostTreeError(Exception):
    """The host refused; the reader is told the same."""

    def __init__(self, number: int) -> None:
        """Keep the host's errno."""
        super().__init__(os.strerror(number))
        self.number = number


class HostReadError(HostTreeError):
    """The host opened the file and refused to read it."""


class HostTree:
    """One directory of the host and all that is below it, read-only."""

    def __init__(self, root: Path) -> None:
        """Hold `root`; raises OSError where it is not there."""
        self._root_fd = os.open(root, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)

    def stat(self, path: str) -> os.stat_result:
        """Describe an entry, a symbolic link itself; raises HostTreeError, as all methods do."""
        with self._directory_of(path) as (directory_fd, name):
            return os.stat(name, dir_fd=directory_fd, follow_symlinks=False)

    def list(self, path: str) -> list[tuple[str, os.stat_result]]:
        """Return the names in a directory with their descriptions, without those that vanish meanwhile."""
        entries = []
        with self._directory_of(path) as (directory_fd, name):
            fd = os.open(name, _LIST, dir_fd=directory_fd)
            try:
                for entry in os.listdir(fd):  # noqa: PTH208 - a path would be followed
                    try:
                        entries.append((entry, os.stat(entry, dir_fd=fd, follow_symlinks=False)))
                    except FileNotFoundError:
                        continue
            finally:
                os.close(fd)
        return entries

    def read(self, path: str) -> bytes:
        """Return the content of an attribute file; raises HostReadError where it can only be opened."""
        with self._directory_of(path) as (directory_fd, name):
            if not stat.S_ISREG(os.stat(name, dir_fd=directory_fd, follow_symlinks=False).st_mode):
                raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))
            fd = os.open(name, _READ, dir_fd=directory_fd)
            try:
                return _read_attribute(fd)
            except OSError as error:
                raise HostReadError(error.errno or errno.EIO) from error
            finally:
                os.close(fd)

    def read_link(self, path: str) -> str:
        """Return where a symbolic link points."""
        with self._directory_of(path) as (directory_fd, name):
            return os.readlink(name, dir_fd=directory_fd)

    def walk(self, path: str = "", is_entered: Callable[[str], bool] = lambda _: True) -> Iterator[str]:
        """Yield every path below `path`, but not what is in directories that are not entered.

        What cannot be listed is left out.
        """
        try:
            entries = self.list(path)
        except HostTreeError:
            return
        for name, status in entries:
            below = join(path, name)
            yield below
            if stat.S_ISDIR(status.st_mode) and is_entered(below):
                yield from self.walk(below, is_entered)

    @contextmanager
    def _directory_of(self, path: str) -> Iterator[tuple[int, str]]:
        """Open the directory that `path` is in; give it with the last component."""
        *directories, name = path.split("/") if path else ["."]
        if path and {"", ".", ".."} & {*directories, name}:
            raise HostTreeError(errno.ENOENT)
        fd = self._root_fd
        try:
            for directory in directories:
                below = os.open(directory, _HOLD, dir_fd=fd)
                if fd != self._root_fd:
                    os.close(fd)
                fd = below
            yield fd, name
        except OSError as error:
            raise HostTreeError(error.errno or errno.EIO) from error
        finally:
            if fd != self._root_fd:
                os.close(fd)


def join(directory: str, name: str) -> str:
    """Return the path of a name in a directory."""
    return f"{directory}/{name}" if directory else name


def _read_attribute(fd: int) -> bytes:
    """Read up to the first short read: a text attribute is written anew at every read from its start."""
    content = b""
    while len(content) < _MOST:
        part = os.read(fd, _PAGE)
        content += part
        if len(part) < _PAGE:
            break
    return content
