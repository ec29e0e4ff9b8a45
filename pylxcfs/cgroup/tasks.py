"""The tasks of a container, one cgroup of its tree after the other.

A container chooses how many cgroups and tasks it has. So a walk goes in steps, each of one cgroup, and keeps
nothing open between two of them. It can go on in another thread than it began in.
"""

import contextlib
import os
from array import array
from collections.abc import Sequence
from typing import Final

from pylxcfs.cgroup.parse import to_ids
from pylxcfs.cgroup.reader import GONE, CgroupFiles
from pylxcfs.cgroup.taskstats import CgroupStats
from pylxcfs.cgroup.types import (
    CgroupGone,
    CgroupPath,
    ControllerUnavailable,
    ParseError,
    TaskCounts,
    TaskGroup,
    TooLarge,
)

#: How many cgroups a walk remembers to go to. Each costs the kernel some 10 kB, and us its name.
MOST_PENDING: Final = 1 << 16
_LINKS_OF_A_LEAF: Final = 2
#: A seq_file's first buffer, and the longest line in a list of ids: what leaves that much room is complete.
_PAGE: Final = 4096
_LONGEST_ID: Final = 12
#: Larger than any piece that the kernel gives.
_CHUNK: Final = 1 << 16


class GroupWalk:
    """Goes through a cgroup and all below it. Used by one thread at a time."""

    def __init__(
        self,
        files: CgroupFiles,
        hierarchy: str,
        located: CgroupPath,
        list_name: str,
        stats: CgroupStats | None = None,
    ) -> None:
        """Walk from `located`, whose tasks are in `list_name`; let the kernel count through `stats`.

        Raises ControllerUnavailable where this kernel has no such list, CgroupGone where the cgroup has gone.
        """
        self._files = files
        self._hierarchy = hierarchy
        self._top = located
        self._list_name = list_name
        self._stats = stats
        #: Cgroups still to look at, by parent and name: a path of its own for each could be 4 kB.
        self._pending: list[tuple[CgroupPath, str]] = [(located, "")]
        self.is_cut = False
        if not files.exists_file(hierarchy, located, list_name):
            name = files.describe(hierarchy, located, list_name)
            raise ControllerUnavailable(name) if files.exists(hierarchy, located) else CgroupGone(name)

    def step(self, most: int | None = None) -> TaskGroup | None:
        """Look at the next cgroup; None after the last one.

        With `most`, raises TooLarge about one that has more tasks or nested cgroups than that, which stays
        the next. Raises CgroupGone about the first, ParseError, and OSError for want of resources.
        """
        while self._pending:
            parent, name = self._pending[-1]
            current = CgroupPath(f"{parent.rstrip('/')}/{name}") if name else parent
            try:
                directory = self._files.open_directory(self._hierarchy, current)
            except OSError as error:
                if error.errno not in GONE:
                    raise
                if current == self._top:
                    raise CgroupGone(self._files.describe(self._hierarchy, current, "")) from error
                # Removed meanwhile, with all its tasks.
                self._pending.pop()
                continue
            try:
                nested = self._list_nested(directory, most)
                group = self._look(directory, most)
            finally:
                os.close(directory)
            self._pending.pop()
            room = MOST_PENDING - len(self._pending)
            self.is_cut |= len(nested) > room
            self._pending += [(current, each) for each in nested[:room]]
            return group
        return None

    def _look(self, directory: int, most: int | None) -> TaskGroup:
        try:
            ids = read_ids(directory, self._list_name, most)
        except OSError as error:
            if error.errno not in GONE:
                raise
            return TaskGroup(())
        except (ValueError, OverflowError) as error:
            name = self._files.describe(self._hierarchy, self._top, self._list_name)
            raise ParseError(name, b"not an id") from error
        return TaskGroup(ids, self._count(directory, ids))

    def _count(self, directory: int, ids: Sequence[int]) -> TaskCounts | None:
        """Let the kernel count; None where that is not exact.

        It counts plain states only: a task in a killable wait is in none of its counts, and since Linux 6.1
        neither is one in a freezable sleep. Before 6.1, frozen ones are among the uninterruptible.
        """
        if self._stats is None or not ids:
            return None
        try:
            states = self._stats.count(directory)
        except OSError:
            return None
        if sum(states) < len(ids) or (states.uninterruptible and self._files.has("freezer")):
            return None
        return TaskCounts(states.running, states.uninterruptible, len(ids))

    def _list_nested(self, directory: int, most: int | None) -> list[str]:
        # kernfs counts subdirectories, and only those, as links.
        count = os.fstat(directory).st_nlink - _LINKS_OF_A_LEAF
        if count <= 0:
            return []
        if most is not None and count > most:
            raise TooLarge(count)
        names: list[str] = []
        # Removed meanwhile: then nothing is below it.
        with contextlib.suppress(FileNotFoundError), os.scandir(directory) as entries:
            names.extend(entry.name for entry in entries if entry.is_dir(follow_symlinks=False))
        return names


def read_ids(directory: int, name: str, most: int | None = None) -> Sequence[int]:
    """Read a file that lists the tasks of the cgroup whose directory is open; raises OSError, ValueError.

    Raises TooLarge if there are more than `most`.
    """
    ids = array("i")
    fd = os.open(name, os.O_RDONLY | os.O_CLOEXEC, dir_fd=directory)
    try:
        rest = b""
        while part := os.read(fd, _CHUNK):
            lines, newline, rest = (rest + part).rpartition(b"\n")
            ids.extend(to_ids(lines + newline))
            # The kernel gives one page at a time, in whole lines.
            if len(part) <= _PAGE - _LONGEST_ID or (most is not None and len(ids) > most):
                break
        ids.extend(to_ids(rest))
    finally:
        os.close(fd)
    if most is not None and len(ids) > most:
        raise TooLarge(len(ids))
    return ids
