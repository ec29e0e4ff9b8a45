"""What readers are in the middle of, one small file each, within a budget: for the server after this one.

A reader that takes several reads for one file, and stops in between, can do so with as many files as it has
descriptors. So there is a bound for all of them together, and the bound is shared: when there is no room, the
container that takes the most loses what it has kept longest. Whose content is lost, and whose server is
replaced before they have read on, get an error: an empty file in its place says so. Nobody sees another's.
"""

import contextlib
import logging
import os
from collections import OrderedDict
from collections.abc import Hashable
from pathlib import Path
from typing import Final

from pylxcfs.rundir.files import read_file, replace_file

_log = logging.getLogger(__name__)
#: Of all files together, in whole blocks: room for 500 readers in the middle of a file.
BUDGET_BYTES: Final = 2 << 20
#: A file takes whole pages of a tmpfs.
_BLOCK: Final = 4096
_HANDLE_DIGITS: Final = 16
#: Whose content is lost; an empty file takes no block.
_MOST_LOST: Final = 4096


class LostReadError(Exception):
    """What a reader is in the middle of was not kept."""


class KeptReads:
    """The files, by handle. Owned by one thread; the properties may be read by any."""

    def __init__(self, directory: Path, budget_bytes: int = BUDGET_BYTES) -> None:
        """Keep them in `directory`, which need not exist yet and is not looked at before the first use."""
        self._directory = directory
        self._budget = budget_bytes
        #: Whose each is; None: an earlier server's.
        self._owners: dict[int, Hashable] = {}
        #: What each takes, by owner, the one kept longest first.
        self._sizes: dict[Hashable, OrderedDict[int, int]] = {}
        self._held = 0
        #: Whose content is lost, the longest ago first.
        self._lost_handles: OrderedDict[int, None] = OrderedDict()
        self._lost = 0
        self._is_adopted = False
        self._complained = False

    @property
    def held_bytes(self) -> int:
        """How much of the runtime directory they take."""
        return self._held

    @property
    def lost(self) -> int:
        """How many reads could not be kept, or had to make way, since the server began."""
        return self._lost

    def keep(self, handle: int, content: bytes, owner: Hashable) -> None:
        """Replace what is kept for a handle; if that cannot be done, it is lost.

        Never raises; a failure is logged once.
        """
        self._adopt()
        self._lost_handles.pop(handle, None)
        # What was kept before stays until it is replaced: the server may die at any moment.
        if handle in self._owners:
            self._forget(handle)
        size = max(1, -(-len(content) // _BLOCK)) * _BLOCK
        if size > self._budget:
            self._fail(handle)
            return
        while self._held + size > self._budget:
            self._make_way()
        try:
            self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            replace_file(self._path(handle), content, most=size)
        except OSError as error:
            self._fail(handle)
            if not self._complained:
                _log.warning("who reads while a server is replaced may get an error: %s", error)
            self._complained = True
        else:
            self._note(handle, size, owner)

    def take(self, handle: int, owner: Hashable) -> bytes | None:
        """Return what an earlier server has kept for a handle, and keep it from now on for `owner`.

        None where it has kept nothing; raises LostReadError where it had something to keep, and could not.
        """
        self._adopt()
        if handle in self._lost_handles:
            raise LostReadError
        if handle not in self._owners:
            return None
        try:
            content = read_file(self._path(handle), self._budget)
        except OSError as error:
            raise LostReadError from error
        size = self._forget(handle)
        self._note(handle, size, owner)
        return content

    def drop(self, handle: int) -> None:
        """Forget what is kept for a handle, if anything is."""
        self._adopt()
        if handle in self._owners:
            self._forget(handle)
            self._remove(self._path(handle))
        elif handle in self._lost_handles:
            del self._lost_handles[handle]
            self._remove(self._path(handle))

    def clear(self) -> None:
        """Forget everything: the mount is new, and nobody has a file open."""
        self._adopt()
        for handle in (*self._owners, *self._lost_handles):
            self.drop(handle)

    def _adopt(self) -> None:
        """Count what an earlier server has left, once; remove what is beyond the budget, or no read."""
        if self._is_adopted:
            return
        self._is_adopted = True
        with contextlib.suppress(OSError), os.scandir(self._directory) as entries:
            for entry in entries:
                handle = _handle_of(entry.name)
                status = entry.stat(follow_symlinks=False)
                size = status.st_blocks * 512
                is_file = entry.is_file(follow_symlinks=False)
                if handle is None or not is_file or self._held + size > self._budget:
                    self._remove(Path(entry.path))
                elif not status.st_size:
                    self._lost_handles[handle] = None
                else:
                    self._note(handle, size, None)

    def _fail(self, handle: int) -> None:
        self._lost += 1
        self._lost_handles[handle] = None
        path = self._path(handle)
        try:
            replace_file(path, b"")
        except OSError:
            self._remove(path)
        while len(self._lost_handles) > _MOST_LOST:
            oldest, _ = self._lost_handles.popitem(last=False)
            self._remove(self._path(oldest))

    def _make_way(self) -> None:
        """Drop what was kept longest of the owner that takes the most."""
        owner = max(self._sizes, key=lambda each: sum(self._sizes[each].values()))
        handle = next(iter(self._sizes[owner]))
        self._forget(handle)
        self._fail(handle)

    def _note(self, handle: int, size: int, owner: Hashable) -> None:
        self._owners[handle] = owner
        self._sizes.setdefault(owner, OrderedDict())[handle] = size
        self._held += size

    def _forget(self, handle: int) -> int:
        owner = self._owners.pop(handle)
        size = self._sizes[owner].pop(handle)
        if not self._sizes[owner]:
            del self._sizes[owner]
        self._held -= size
        return size

    def _path(self, handle: int) -> Path:
        return self._directory / f"{handle:0{_HANDLE_DIGITS}x}"

    @staticmethod
    def _remove(path: Path) -> None:
        with contextlib.suppress(OSError):
            path.unlink(missing_ok=True)


def _handle_of(name: str) -> int | None:
    """Return the handle that a file is named after; None for the rest of a server that died in the middle."""
    with contextlib.suppress(ValueError):
        if len(name) == _HANDLE_DIGITS:
            return int(name, 16)
    return None
