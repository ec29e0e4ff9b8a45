"""Open files and directories: what their reader was shown, kept so that one pass sees one state."""

import errno
from collections.abc import Iterator, Sequence
from contextlib import suppress
from itertools import count
from typing import Generic, Protocol, TypeVar

from pyfuse3 import EntryAttributes

from pylxcfs.cgroup.types import CgroupGone
from pylxcfs.containers.container import Container
from pylxcfs.content.service import ContentService
from pylxcfs.fuse.partial_reads import UNKNOWN_LENGTH, Handle, number_handle
from pylxcfs.linux.hosttree import HostReadError, HostTree, HostTreeError
from pylxcfs.procfiles.table import VirtualFile

T = TypeVar("T")

#: The names in a directory, and what the kernel is told about each.
Listing = Sequence[tuple[bytes, EntryAttributes]]


class Readable(Protocol):
    """An open file."""

    @property
    def length(self) -> int:
        """The length of the content of the present pass."""

    @property
    def unkept(self) -> bytes | None:
        """Content that a server after us would need to go on with this pass, if it has not been told yet."""

    def read(self, offset: int, size: int) -> bytes:
        """Return a slice; a read from the start begins a new pass with new content, as in /proc."""


class FixedFile:
    """An open file whose content never changes, whoever reads it."""

    __slots__ = ("_content", "unkept")

    def __init__(self, content: bytes) -> None:
        """Have this content."""
        self._content = content
        #: It is not worth being kept.
        self.unkept: bytes | None = None

    @property
    def length(self) -> int:
        """The length of the content."""
        return len(self._content)

    def read(self, offset: int, size: int) -> bytes:
        """Return a slice."""
        return self._content[offset : offset + size]


class OpenFile:
    """An open virtual file, with the content of its present pass."""

    __slots__ = ("_content", "_fresh", "_service", "_told_length", "container", "file", "unkept")

    def __init__(
        self, service: ContentService, file: VirtualFile, container: Container | None, content: bytes
    ) -> None:
        """Keep what was rendered when the file was opened."""
        self.unkept: bytes | None = content if len(content) >= UNKNOWN_LENGTH else None
        self._told_length = len(content)
        self._service = service
        self.file = file
        #: Who opened it.
        self.container = container
        self._content = content
        self._fresh = True

    @property
    def length(self) -> int:
        """The length of the content of the present pass."""
        return len(self._content)

    def go_on(self, told_length: int, begun: bytes | None) -> None:
        """Take over from an earlier server, whose handle tells `told_length`; `begun` is its present pass."""
        self._told_length = told_length
        if begun is not None:
            self._content = begun
            self._fresh = False

    def read(self, offset: int, size: int) -> bytes:
        """Return a slice; a read from the start begins a new pass with new content, as in /proc."""
        if offset == 0:
            if not self._fresh:
                # A container that has ended meanwhile keeps what it last said.
                with suppress(CgroupGone):
                    self._content = self._service.read(self.file, self.container)
            length = len(self._content)
            # The whole at once needs no memory, if the handle tells how long it was.
            self.unkept = self._content if size < length or length != self._told_length else None
        elif self._fresh:
            self.unkept = self._content
        else:
            self.unkept = None
        self._fresh = False
        return self._content[offset : offset + size]


class OpenHostFile:
    """An open file of the host's tree. No descriptor is kept: how many there are is up to containers."""

    __slots__ = ("_content", "_error", "_fresh", "_path", "_tree")

    #: What describes the hardware is the same for the server after us.
    unkept: None = None

    def __init__(self, tree: HostTree, path: str) -> None:
        """Read `path`; raises HostTreeError where it cannot be opened."""
        self._tree = tree
        self._path = path
        self._fresh = True
        self._read_host()

    @property
    def length(self) -> int:
        """The length of the content of the present pass."""
        return len(self._content)

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

    def __init__(self, first_serial: int) -> None:
        """Begin with nothing open; numbers begin at `first_serial`."""
        self._serials: Iterator[int] = count(first_serial)
        self._open: dict[Handle, T] = {}

    def __len__(self) -> int:
        """Return how many are open."""
        return len(self._open)

    def add(self, opened: T, length: int = 0) -> Handle:
        """Number what was opened; the number tells `length`."""
        handle = number_handle(next(self._serials), length)
        self._open[handle] = opened
        return handle

    def get(self, handle: Handle) -> T | None:
        """Return what has this number, if there is anything."""
        return self._open.get(handle)

    def adopt(self, handle: Handle, opened: T) -> None:
        """Go on with what an earlier server has numbered."""
        self._open[handle] = opened

    def remove(self, handle: Handle) -> bool:
        """Forget what was closed; False if it was opened at an earlier server."""
        return self._open.pop(handle, None) is not None
