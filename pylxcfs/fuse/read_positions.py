"""Where readers through io_uring stand that leave that to the kernel (an offset of -1).

The kernel does not advance the position of such a file: fuse_direct_IO() in fs/fuse/file.c works on a copy.
So each of their reads comes from the start, as if its reader had gone back there, and would never end. They
are known by the threads that the kernel makes for them; a read made in the process itself (without SQPOLL)
cannot be told from pread(2) at 0.
"""

import time
from collections.abc import Callable
from typing import Final, NamedTuple

from pylxcfs.fuse.partial_reads import Handle

#: Who reads from the start again later than that has gone back there.
_AT_ONCE_SECONDS: Final = 1


class _Place(NamedTuple):
    offset: int
    reached: float


class ReadPositions:
    """Keeps the position in the kernel's place. Owned by the serving thread."""

    def __init__(self, now: Callable[[], float] = time.monotonic) -> None:
        """Begin with nobody standing anywhere."""
        self._now = now
        self._places: dict[Handle, _Place] = {}

    def place(self, handle: Handle, offset: int, pid: int, is_io_worker: Callable[[int], bool]) -> int:
        """Return where thread `pid` is to read that asks for `offset`.

        `is_io_worker` tells whether the kernel has made a thread for io_uring. It is asked about those who
        read from the start twice.
        """
        if offset:
            self._places.pop(handle, None)
            return offset
        last = self._places.get(handle)
        if last is None or self._now() - last.reached > _AT_ONCE_SECONDS or not is_io_worker(pid):
            return 0
        return last.offset

    def note(self, handle: Handle, asked: int, place: int, length: int) -> None:
        """Take note that a read that `asked` for an offset was given `length` bytes from `place` on."""
        if length and not asked:
            self._places[handle] = _Place(place + length, self._now())
        else:
            self._places.pop(handle, None)

    def closed(self, handle: Handle) -> None:
        """Forget an open file."""
        self._places.pop(handle, None)
