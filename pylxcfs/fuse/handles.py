"""Open files: what their reader was shown, kept so that every read of one pass sees the same."""

from collections.abc import Iterator
from contextlib import suppress
from itertools import count

import pyfuse3

from pylxcfs.cgroup.types import CgroupGone
from pylxcfs.containers import Container
from pylxcfs.content import ContentService
from pylxcfs.procfiles.table import VirtualFile


class OpenFile:
    """One open file, with the content of its present pass."""

    __slots__ = ("_container", "_content", "_file", "_fresh")

    def __init__(self, file: VirtualFile, container: Container | None, content: bytes) -> None:
        """Keep what was rendered when the file was opened."""
        self._file = file
        self._container = container
        self._content = content
        self._fresh = True

    def read(self, service: ContentService, offset: int, size: int) -> bytes:
        """Return a slice; a read from the start begins a new pass with new content, as in /proc."""
        if offset == 0 and not self._fresh:
            # A container that has ended meanwhile keeps what it last said.
            with suppress(CgroupGone):
                self._content = service.read(self._file, self._container)
        self._fresh = False
        return self._content[offset : offset + size]


class Handles:
    """The open files by their number."""

    def __init__(self) -> None:
        """Begin with none open."""
        self._numbers: Iterator[int] = count(1)
        self._open: dict[pyfuse3.FileHandleT, OpenFile] = {}

    def add(self, file: OpenFile) -> pyfuse3.FileHandleT:
        """Number an open file."""
        handle = pyfuse3.FileHandleT(next(self._numbers))
        self._open[handle] = file
        return handle

    def get(self, handle: pyfuse3.FileHandleT) -> OpenFile | None:
        """Return the open file with this number, if there is one."""
        return self._open.get(handle)

    def remove(self, handle: pyfuse3.FileHandleT) -> None:
        """Forget a file that was closed."""
        self._open.pop(handle, None)
