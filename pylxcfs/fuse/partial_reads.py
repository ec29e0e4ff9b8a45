"""The rest of what readers are in the middle of, for the server after this one.

A reader with a small buffer takes several reads for one pass over a file, and a server may die in between.
Most readers take one, and cost nothing here.
"""

import contextlib
import logging
from pathlib import Path
from typing import Final

from pylxcfs.fuse.wire import Handle
from pylxcfs.rundir.files import replace_file

_log = logging.getLogger(__name__)
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
    """Keeps content by handle, one file each. Owned by the serving thread."""

    def __init__(self, directory: Path) -> None:
        """Keep it in `directory`, which need not exist yet."""
        self._directory = directory
        self._kept: set[Handle] = set()
        self._complained = False

    def keep(self, handle: Handle, content: bytes) -> None:
        """Replace what is kept for `handle`; a failure is logged once, and costs no more than consistency."""
        try:
            self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            replace_file(self._path(handle), content)
        except OSError as error:
            if not self._complained:
                _log.warning("who reads while a server is replaced may see two states: %s", error)
            self._complained = True
        else:
            self._kept.add(handle)

    def take(self, handle: Handle) -> bytes | None:
        """Return what an earlier server has kept for `handle`, and keep it from now on ourselves."""
        try:
            content = self._path(handle).read_bytes()
        except OSError:
            return None
        self._kept.add(handle)
        return content

    def drop(self, handle: Handle, *, foreign: bool = False) -> None:
        """Forget what is kept for `handle`, which was closed; `foreign` if an earlier server gave it."""
        if foreign or handle in self._kept:
            self._kept.discard(handle)
            with contextlib.suppress(OSError):
                self._path(handle).unlink(missing_ok=True)

    def clear(self) -> None:
        """Forget everything: the mount is new, and nobody has a file open."""
        with contextlib.suppress(OSError):
            for path in self._directory.iterdir():
                path.unlink(missing_ok=True)

    def _path(self, handle: Handle) -> Path:
        return self._directory / f"{handle:016x}"
