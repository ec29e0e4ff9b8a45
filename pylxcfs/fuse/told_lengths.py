"""What stat(2) has told whom, and which open file it may have been about: what was told has to be read.

fstat(2) does not say which open file it is about (vfs_statx_fd() in fs/stat.c hands the file system a path).
The thread that asks is all that is known.
"""

import time
from collections import OrderedDict
from collections.abc import Callable
from typing import Final

from pylxcfs.containers.container import Container
from pylxcfs.fuse.handles import OpenFile
from pylxcfs.fuse.partial_reads import Handle

#: A file, the container that sees it, and whether it sees the host.
Whose = tuple[int, Container | None, bool]
_ANYBODY: Final = 0
#: Askers that are remembered; more than that within the cache's lifetime are told what may have changed.
_MOST: Final = 1024


class ToldLengths:
    """Remembers it. Owned by the serving thread."""

    def __init__(self, now: Callable[[], float] = time.monotonic) -> None:
        """Begin with nothing told and nothing open."""
        self._now = now
        self._told: OrderedDict[tuple[Whose, int], tuple[float, bytes]] = OrderedDict()
        #: The latest last. Not a dict, which takes long to find its last entry when many were removed there.
        self._open: dict[tuple[Whose, int], OrderedDict[Handle, OpenFile]] = {}
        self._keys: dict[Handle, tuple[Whose, int]] = {}

    def note(self, whose: Whose, pid: int, content: bytes, lifetime_seconds: float) -> None:
        """Remember for a time, which is always the same, what thread `pid` was told the length of."""
        now = self._now()
        # Every entry lives equally long, so the oldest are in front.
        while self._told and (len(self._told) > _MOST or next(iter(self._told.values()))[0] <= now):
            self._told.popitem(last=False)
        if lifetime_seconds:
            for asker in {pid, _ANYBODY}:
                self._told[whose, asker] = (now + lifetime_seconds, content)
                self._told.move_to_end((whose, asker))

    def promised(self, whose: Whose, pid: int) -> bytes | None:
        """Return what thread `pid`, or else anybody in its container, was told the length of, if anything."""
        if not self._told:
            return None
        now = self._now()
        candidates = (self._told.get((whose, asker)) for asker in (pid, _ANYBODY))
        return next((content for until, content in filter(None, candidates) if now < until), None)

    def opened(self, whose: Whose, pid: int, handle: Handle, file: OpenFile) -> None:
        """Take note of what thread `pid` has opened."""
        self._keys[handle] = whose, pid
        for asker in {pid, _ANYBODY}:
            self._open.setdefault((whose, asker), OrderedDict())[handle] = file

    def closed(self, handle: Handle) -> None:
        """Forget an open file."""
        known = self._keys.pop(handle, None)
        if known is None:
            return
        whose, pid = known
        for asker in {pid, _ANYBODY}:
            others = self._open[whose, asker]
            del others[handle]
            if not others:
                del self._open[whose, asker]

    def opened_by(self, whose: Whose, pid: int = _ANYBODY) -> OpenFile | None:
        """Return what thread `pid`, or anybody in the container, has opened last."""
        own = self._open.get((whose, pid))
        return None if own is None else own[next(reversed(own))]
