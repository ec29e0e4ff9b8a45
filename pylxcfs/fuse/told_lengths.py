"""What stat(2) has told whom, and which open file it may have been about: what was told has to be read.

fstat(2) does not say which open file it is about (vfs_statx_fd() in fs/stat.c hands the file system a path).
The thread that asks is all that is known.
"""

import time
from collections import OrderedDict
from collections.abc import Callable
from typing import Final

from pylxcfs.fuse.handles import OpenFile, Whose

_ANYBODY: Final = 0
#: Askers that are remembered; more than that within the cache's lifetime are told what may have changed.
_MOST: Final = 1024


class ToldLengths:
    """Remembers it. Owned by the serving thread."""

    def __init__(self, now: Callable[[], float] = time.monotonic) -> None:
        """Begin with nothing told and nothing open."""
        self._now = now
        self._told: OrderedDict[tuple[Whose, int], tuple[float, bytes]] = OrderedDict()
        #: By the thread that has opened them, and the file.
        self._own: dict[tuple[int, int], OpenFile] = {}
        self._latest: dict[Whose, OpenFile] = {}

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

    def opened(self, file: OpenFile) -> None:
        """Take note of what a thread has opened."""
        self._own[file.pid, file.whose[0]] = self._latest[file.whose] = file

    def closed(self, file: OpenFile) -> None:
        """Forget an open file."""
        own, whose = (file.pid, file.whose[0]), file.whose
        if self._own.get(own) is file:
            del self._own[own]
        if self._latest.get(whose) is file:
            del self._latest[whose]

    def opened_by(self, whose: Whose, pid: int) -> OpenFile | None:
        """Return what thread `pid` has opened last of a file, if it is still open."""
        own = self._own.get((pid, whose[0]))
        return own if own is not None and own.whose == whose else None

    def latest(self, whose: Whose) -> OpenFile | None:
        """Return what was opened last of a file in a container, if it is still open."""
        return self._latest.get(whose)
