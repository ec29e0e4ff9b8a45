"""One 64-bit number in memory that processes share; it outlives whoever has written it."""

import mmap
import os
from typing import Final

_SIZE: Final = mmap.PAGESIZE


class SharedWord:
    """The number; writing it costs no system call, and it is never half written."""

    def __init__(self, fd: int | None = None) -> None:
        """Make one that is 0, or map the one that `fd` is; raises OSError."""
        if fd is None:
            fd = os.memfd_create("pylxcfs", os.MFD_CLOEXEC)
            os.ftruncate(fd, _SIZE)
        self.fd = fd
        self._memory = mmap.mmap(fd, _SIZE)
        #: An aligned store of 8 bytes.
        self.cell = memoryview(self._memory).cast("Q")

    @property
    def value(self) -> int:
        """What was written last."""
        return self.cell[0]

    def close(self) -> None:
        """Let go of it."""
        self.cell.release()
        self._memory.close()
        os.close(self.fd)
