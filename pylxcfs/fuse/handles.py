"""Open files and directories: what their reader was shown, kept so that one pass sees one state."""

import errno
import time
from collections.abc import Callable, Iterator, Sequence
from itertools import count
from typing import Final, Generic, Protocol, TypeVar

from pyfuse3 import EntryAttributes

from pylxcfs.cgroup.types import CgroupGone
from pylxcfs.containers.container import Container
from pylxcfs.content.service import ContentService
from pylxcfs.fuse.partial_reads import Handle
from pylxcfs.linux.hosttree import HostReadError, HostTree, HostTreeError
from pylxcfs.procfiles.table import VirtualFile

T = TypeVar("T")

#: Who reads from the start again later than that has gone back there.
_AT_ONCE_SECONDS: Final = 1
#: Who asks for the length and reads at once, as cat(1) does, has it rendered once.
_SAME_MOMENT_SECONDS: Final = 0.05

#: Tells the thread whose request is being answered.
WhoAsks = Callable[[], int]
#: A file, the container that sees it, and whether it sees the host.
Whose = tuple[int, Container | None, bool]

#: The names in a directory, and what the kernel is told about each.
Listing = Sequence[tuple[bytes, EntryAttributes]]


class Readable(Protocol):
    """An open file."""

    @property
    def unkept(self) -> bytes | None:
        """Content that a server after us would need to go on with this pass, if it has not been told yet."""

    def read(self, offset: int, size: int, who_asks: WhoAsks) -> bytes:
        """Return a slice; a read from the start begins a new pass with new content, as in /proc."""


class FixedFile:
    """An open file whose content never changes, whoever reads it."""

    __slots__ = ("_content", "unkept")

    def __init__(self, content: bytes) -> None:
        """Have this content."""
        self._content = content
        self.unkept: bytes | None = None

    def read(self, offset: int, size: int, who_asks: WhoAsks) -> bytes:
        """Return a slice."""
        del who_asks
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
        "_promised_at",
        "_reached",
        "_reached_at",
        "_service",
        "container",
        "file",
        "pid",
        "unkept",
        "whose",
    )

    def __init__(
        self,
        service: ContentService,
        file: VirtualFile,
        whose: Whose,
        pid: int,
        promised: bytes | None = None,
    ) -> None:
        """Show the file, which thread `pid` has opened; at its first read as much as `promised`, if given."""
        self._service = service
        self.file = file
        self.whose = whose
        self.container = whose[1]
        self.pid = pid
        self._promised = promised
        #: When that was rendered, if it was for this open file.
        self._promised_at = 0.0
        self._content: bytes | None = None
        #: Whether the start of that content was read; who reads backwards comes to it last.
        self._has_begun_at_0 = False
        #: Whether the last read has left something to be read.
        self._is_under_way = False
        #: Where the last read has ended, if that was one from the start and gave anything; and when.
        self._reached = 0
        self._reached_at = 0.0
        self.unkept: bytes | None = None
        self._is_kept = False

    def go_on(self, begun: bytes) -> None:
        """Take over from an earlier server, with the content of the present pass."""
        self._content = begun
        self._has_begun_at_0 = True
        self._is_under_way = self._is_kept = bool(begun)

    def promise(self, who_asks: WhoAsks) -> bytes:
        """Return what the reads of the present pass give, or as much as the next one will have."""
        if self._is_under_way and self._content is not None:
            return self._content
        if self._promised is None:
            self._promised, self._promised_at = self._render(who_asks), time.monotonic()
        return self._promised

    def promise_others(self, content: bytes) -> None:
        """Have the first read give as much as `content` has, unless it has been, or was promised."""
        if self._content is None and self._promised is None:
            self._promised = content

    def read(self, offset: int, size: int, who_asks: WhoAsks) -> bytes:
        """Return a slice; a read from the start begins a new pass with new content, as in /proc.

        The new content is rendered now, and is what was promised only if it would have another length.
        """
        content = self._content
        if content is None or not offset:
            return self._read_anew(content, offset, size, who_asks)
        # Most reads but the first come here.
        self.unkept = None
        self._reached = 0
        end = offset + size
        self._is_under_way = end < len(content)
        return content[offset:end]

    def _read_anew(self, content: bytes | None, offset: int, size: int, who_asks: WhoAsks) -> bytes:
        place, begins = offset, False
        if self._reached and self._leaves_position_to_kernel(who_asks):
            place = self._reached
        elif content is None or self._has_begun_at_0:
            self._content, begins = self._next(who_asks), True
            self._has_begun_at_0 = not offset
        else:
            self._has_begun_at_0 = True
        content = self._content or b""
        end = place + size
        self._is_under_way = end < len(content)
        self.unkept = None
        if begins and (self._is_under_way or place):
            self.unkept, self._is_kept = content, True
        elif begins and self._is_kept:
            # It was given the whole at once. There is nothing to go on with.
            self.unkept, self._is_kept = b"", False
        part = content[place:end]
        if not offset:
            self._reached, self._reached_at = place + len(part) if part else 0, time.monotonic()
        return part

    def _leaves_position_to_kernel(self, who_asks: WhoAsks) -> bool:
        """Tell whether it is io_uring that reads from the start again, at an offset of -1.

        The kernel does not advance the position then: fuse_direct_IO() in fs/fuse/file.c works on a copy. So
        each of these reads comes from the start, and would never end. A read that io_uring makes in the
        process itself (without SQPOLL) cannot be told from pread(2) at 0.
        """
        is_at_once = time.monotonic() - self._reached_at < _AT_ONCE_SECONDS
        return is_at_once and self._service.is_io_worker(who_asks())

    def _next(self, who_asks: WhoAsks) -> bytes:
        promised, self._promised = self._promised, None
        if promised is not None and time.monotonic() - self._promised_at < _SAME_MOMENT_SECONDS:
            return promised
        fresh = self._render(who_asks)
        return fresh if promised is None or len(promised) == len(fresh) else promised

    def _render(self, who_asks: WhoAsks) -> bytes:
        try:
            return self._service.read(self.file, self.container)
        except CgroupGone:
            # A container that has ended meanwhile keeps what it last said.
            last = self._content if self._promised is None else self._promised
            if last is not None:
                return last
        self.container, content = self._service.open(self.file, who_asks())
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

    def read(self, offset: int, size: int, who_asks: WhoAsks) -> bytes:
        """Return a slice; a read from the start reads the host's file again. Raises HostTreeError."""
        del who_asks
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

    def remove(self, handle: Handle) -> T | None:
        """Forget and return what was closed; None if it was opened, and never used here."""
        return self._open.pop(handle, None)
