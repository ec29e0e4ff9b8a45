"""The rest of what readers are in the middle of, for the server after this one.

A reader with a small buffer takes several reads for one pass over a file, and a server may die in between.
Most readers take one, and cost nothing here.
"""

from collections.abc import Hashable
from pathlib import Path
from typing import Final, NewType

from pylxcfs.rundir.kept_reads import KeptReads

Handle = NewType("Handle", int)

_LENGTH_BITS: Final = 18
#: Longer content, and content of unknown length, is kept from the beginning.
UNKNOWN_LENGTH: Final = (1 << _LENGTH_BITS) - 1
#: Serial numbers begin with the time since boot in these units, so that a later server's are higher: nobody
#: opens files faster. 46 bits of them are 36 years.
_SERIAL_UNIT_NS: Final = 1 << 14


def first_serial(boottime_ns: int) -> int:
    """Return the serial number for the first handle of a server that starts now (CLOCK_BOOTTIME)."""
    return boottime_ns // _SERIAL_UNIT_NS


def number_handle(serial: int, length: int) -> Handle:
    """Return a handle that tells how long the content is that its first pass shows."""
    return Handle(serial << _LENGTH_BITS | min(length, UNKNOWN_LENGTH))


def length_of(handle: Handle) -> int:
    """Return the length that a handle tells, `UNKNOWN_LENGTH` if it does not."""
    return handle & UNKNOWN_LENGTH


class Passes:
    """Keeps content by handle. Owned by the serving thread, but for the properties."""

    def __init__(self, directory: Path) -> None:
        """Keep it in `directory`, which need not exist yet."""
        self._kept = KeptReads(directory)

    @property
    def lost(self) -> int:
        """How many reads in pieces would not survive their server, since it began."""
        return self._kept.lost

    def keep(self, handle: Handle, content: bytes, owner: Hashable) -> None:
        """Replace what is kept for `handle` of a container; without room, only consistency is lost."""
        self._kept.keep(handle, content, owner)

    def take(self, handle: Handle, owner: Hashable) -> bytes | None:
        """Return what an earlier server has kept for `handle`, and keep it from now on ourselves."""
        return self._kept.take(handle, owner)

    def drop(self, handle: Handle) -> None:
        """Forget what is kept for `handle`, which was closed."""
        self._kept.drop(handle)

    def clear(self) -> None:
        """Forget everything: the mount is new, and nobody has a file open."""
        self._kept.clear()
