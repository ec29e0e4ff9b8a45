"""Open files and directories: what their reader was shown, kept so that one pass sees one state."""

import errno
from collections.abc import Iterator, Sequence
from itertools import count
from typing import Generic, Protocol, TypeVar

from pyfuse3 import EntryAttributes

from pylxcfs.cgroup.types import CgroupGone
from pylxcfs.containers.container import Container
from pylxcfs.content.service import ContentService
from pylxcfs.fuse.partial_reads import Handle
from pylxcfs.linux.hosttree import HostReadError, HostTree, HostTreeError
from pylxcfs.procfiles.table import VirtualFile

T = TypeVar("T")

#: The names in a directory, and what the kernel is told about each.
Listing = Sequence[tuple[bytes, EntryAttributes]]


class Readable(Protocol):
    """An open file."""

    @property
    def unkept(self) -> bytes | None:
        """Content that a server after us would need to go on with this pass, if it has not been told yet."""

    def read(self, offset: int, size: int, pid: int) -> bytes:
        """Return a slice to `pid`; a read from the start begins a new pass with new content, as in /proc."""


class FixedFile:
    """An open file whose content never changes, whoever reads it."""

    __slots__ = ("_content", "unkept")

    def __init__(self, content: bytes) -> None:
        """Have this content."""
        self._content = content
        self.unkept: bytes | None = None

    def read(self, offset: int, size: int, pid: int) -> bytes:
        """Return a slice."""
        del pid
        self.unkept = self._content if offset == 0 and size < len(self._content) else None
        return self._content[offset : offset + size]


class OpenFile:
    """An open virtual file, with the content of its present pass."""

    __slots__ = (
        "_content",
        "_has_begun_at_0",
        "_is_kept",
        "_is_under_way",
        "_promised",
        "_service",
        "container",
        "file",
        "unkept",
    )

    def __init__(
        self,
        service: ContentService,
        file: VirtualFile,
        container: Container | None,
        promised: bytes | None = None,
    ) -> None:
        """Show `container` the file, at its first read as much of it as `promised` has, if that is given."""
        self._service = service
        self.file = file
        #: Who opened it.
        self.container = container
        self._promised = promised
        self._content: bytes | None = None
        #: Whether the start of that content was read; who reads backwards comes to it last.
        self._has_begun_at_0 = False
        #: Whether the last read has left something to be read.
        self._is_under_way = False
        self.unkept: bytes | None = None
        self._is_kept = False

    def go_on(self, begun: bytes) -> None:
        """Take over from an earlier server, with the content of the present pass."""
        self._content = begun
        self._has_begun_at_0 = True
        self._is_under_way = self._is_kept = bool(begun)

    def promise(self, pid: int) -> bytes:
        """Return what the reads of the present pass give, or as much as the next one will have."""
        if self._is_under_way and self._content is not None:
            return self._content
        if self._promised is None:
            self._promised = self._render(pid)
        return self._promised

    def promise_others(self, content: bytes) -> None:
        """Have the first read give as much as `content` has, unless it has been, or was promised."""
        if self._content is None and self._promised is None:
            self._promised = content

    def read(self, offset: int, size: int, pid: int) -> bytes:
        """Return a slice to `pid`; a read from the start begins a new pass with new content, as in /proc.

        The new content is rendered now, and is what was promised only if it would have another length.
        """
        content, begins = self._content, False
        if content is None or (offset == 0 and self._has_begun_at_0):
            content, begins = self._next(pid), True
        self._content = content
        self._has_begun_at_0 = offset == 0 or (self._has_begun_at_0 and not begins)
        end = offset + size
        self._is_under_way = end < len(content)
        self.unkept = None
        if begins and (self._is_under_way or offset):
            self.unkept = content
        elif begins and self._is_kept:
            # It was given the whole at once. There is nothing to go on with.
            self.unkept = b""
        if self.unkept is not None:
            self._is_kept = bool(self.unkept)
        return content[offset:end]

    def _next(self, pid: int) -> bytes:
        promised, fresh = self._promised, self._render(pid)
        self._promised = None
        return fresh if promised is None or len(promised) == len(fresh) else promised

    def _render(self, pid: int) -> bytes:
        try:
            return self._service.read(self.file, self.container)
        except CgroupGone:
            # A container that has ended meanwhile keeps what it last said.
            last = self._content if self._promised is None else self._promised
            if last is not None:
                return last
        self.container, content = self._service.open(self.file, pid)
        return content


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

    def read(self, offset: int, size: int, pid: int) -> bytes:
        """Return a slice; a read from the start reads the host's file again. Raises HostTreeError."""
        del pid
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

    def __init__(self, first: int) -> None:
        """Begin with nothing open; numbers begin at `first`."""
        self._numbers: Iterator[int] = count(first)
        self._open: dict[Handle, T] = {}

    def __len__(self) -> int:
        """Return how many are open."""
        return len(self._open)

    def add(self, opened: T) -> Handle:
        """Number what was opened."""
        handle = Handle(next(self._numbers))
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
