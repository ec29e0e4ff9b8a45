"""The rest of what readers are in the middle of, for the server after this one.

A reader with a small buffer takes several reads for one pass over a file, and a server may die in between.
Most readers take one, and cost nothing here.
"""

from collections.abc import Hashable
from pathlib import Path
from typing import NewType

from pylxcfs.rundir.kept_reads import KeptReads

Handle = NewType("Handle", int)


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
        """Replace what is kept for `handle` of a container, which may end early if there is no room.

        Of a pass that is over, nothing (b"") is kept.
        """
        if content:
            self._kept.keep(handle, content, owner)
        else:
            self._kept.drop(handle)

    def take(self, handle: Handle, owner: Hashable) -> bytes | None:
        """Return what an earlier server has kept for `handle`, and keep it from now on ourselves.

        None where its reader has had everything; raises LostReadError where it has not, and nothing is kept.
        """
        return self._kept.take(handle, owner)

    def drop(self, handle: Handle) -> None:
        """Forget what is kept for `handle`, which was closed."""
        self._kept.drop(handle)

    def clear(self) -> None:
        """Forget everything: the mount is new, and nobody has a file open."""
        self._kept.clear()
