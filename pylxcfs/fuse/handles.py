"""Open files and directories: what their reader was shown, kept so that one pass sees one state."""

import errno
from collections.abc import Iterator, Sequence
from contextlib import suppress
from itertools import count
from typing import Generic, Protocol, TypeVar

from pylxcfs.cgroup.types import CgroupGone
from pylxcfs.containers import Container
from pylxcfs.content import ContentService
from pylxcfs.fuse.wire import Attributes, Handle
from pylxcfs.hosttree import HostReadError, HostTree, HostTreeError
from pylxcfs.procfiles.table import VirtualFile

T = TypeVar("T")

#: The names in a directory, and what the kernel is told about each.
Listing = Sequence[tuple[bytes, Attributes]]


class Readable(Protocol):
    """An open file."""

    def read(self, offset: int, size: int) -> bytes:
        """Return a slice; a read from the start begins a new pass with new content, as in /proc."""


class OpenFile:
    """An open virtual file, with the content of its present pass."""

    __slots__ = ("_content", "_fresh", "_service", "container", "file")

    def __init__(
        self, service: ContentService, file: VirtualFile, container: Container | None, content: bytes
    ) -> None:
        """Keep what was rendered when the file was opened."""
        self._service = service
        self.file = file
        #: Who opened it.
        self.container = container
        self._content = content
        self._fresh = True

    def read(self, offset: int, size: int) -> bytes:
        """Return a slice; a read from the start begins a new pass with new content, as in /proc."""
        if offset == 0 and not self._fresh:
            # A container that has ended meanwhile keeps what it last said.
            with suppress(CgroupGone):
                self._content = self._service.read(self.file, self.container)
        self._fresh = False
        return self._content[offset : offset + size]


class OpenHostFile:
    """An open file of the host's tree. No descriptor is kept: how many there are is up to containers."""

    __slots__ = ("_content", "_error", "_fresh", "_path", "_tree")

    def __init__(self, tree: HostTree, path: str) -> None:
        """Read `path`; raises HostTreeError where it cannot be opened."""
        self._tree = tree
        self._path = path
        self._fresh = True
        self._read_host()

    def read(self, offset: int, size: int) -> bytes:
        """Return a slice; a read from the start reads the host's file again. Raises HostTreeError."""
        if offset == 0 and not self._fresh:
            try:
                self._read_host()
            except HostTreeError as error:
                # What a file that is still open answers when its CPU or driver is gone.
                raise HostTreeError(errno.ENODEV) from error
        self._fresh = False
        if self._error:
            raise HostReadError(self._error)
        return self._content[offset : offset + size]

    def _read_host(self) -> None:
        self._content, self._error = b"", 0
        try:
            self._content = self._tree.read(self._path)
        except HostReadError as error:
            # The host opens it all the same: it is the read that fails.
            self._error = error.number


class Handles(Generic[T]):
    """What is open, by its number."""

    def __init__(self) -> None:
        """Begin with nothing open."""
        self._numbers: Iterator[int] = count(1)
        self._open: dict[Handle, T] = {}

    def add(self, opened: T) -> Handle:
        """Number what was opened."""
        handle = Handle(next(self._numbers))
        self._open[handle] = opened
        return handle

    def get(self, handle: Handle) -> T | None:
        """Return what has this number, if there is anything."""
        return self._open.get(handle)

    def remove(self, handle: Handle) -> None:
        """Forget what was closed."""
        self._open.pop(handle, None)
