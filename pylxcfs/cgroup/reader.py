"""cgroup files, kept open and read with pread: the kernel writes them anew at every read from offset 0."""

import contextlib
import errno
import os
from collections import OrderedDict
from collections.abc import Iterator, Mapping
from typing import Final

from pylxcfs.cgroup.types import CgroupGone, CgroupPath, ControllerUnavailable, ParseError

#: kernfs gives at most one buffer per read; usage_all with 512 CPUs is some 20 kB.
_CHUNK: Final = 1 << 17
#: A removed cgroup's files say ENODEV; its directory, and what would be below it, ENOENT.
_GONE: Final = frozenset({errno.ENODEV, errno.ENOENT, errno.ENOTDIR})
_DIRECTORY: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
_LINKS_OF_A_LEAF: Final = 2
#: A seq_file's first buffer, and the longest line in a list of ids: what leaves that much room is complete.
_PAGE: Final = 4096
_LONGEST_ID: Final = 12
#: Remembered in place of a descriptor: the cgroup is there, this kernel has no such file.
_ABSENT: Final = -1


class CgroupFiles:
    """Reads files below the roots of the mounted hierarchies, relative to held descriptors.

    Owned by one thread: closing a descriptor while another thread reads it could show it another
    container's file.
    """

    def __init__(self, mount_points: Mapping[str, str], max_open: int) -> None:
        """Open each hierarchy's root: name in /proc/PID/cgroup → mount point."""
        self._roots = {name: os.open(point, _DIRECTORY) for name, point in mount_points.items()}
        self._mount_points = mount_points
        self._max_open = max_open
        self._open = 0
        self._directories: OrderedDict[tuple[str, CgroupPath], dict[str, int]] = OrderedDict()

    def has(self, hierarchy: str) -> bool:
        """Tell whether `hierarchy` is mounted."""
        return hierarchy in self._roots

    def describe(self, hierarchy: str, path: CgroupPath, name: str) -> str:
        """Return the full path of a file, for messages."""
        return f"{self._mount_points[hierarchy]}{path.rstrip('/')}/{name}"

    def read(self, hierarchy: str, path: CgroupPath, name: str) -> bytes:
        """Return a file's content; raises ControllerUnavailable, CgroupGone or ParseError."""
        key = (hierarchy, path)
        directory = self._directories.get(key)
        if directory is None:
            directory = self._directories[key] = {}
        else:
            self._directories.move_to_end(key)
        fd = directory.get(name)
        if fd is None:
            fd = directory[name] = self._open_file(hierarchy, path, name)
        if fd == _ABSENT:
            raise ControllerUnavailable(self.describe(hierarchy, path, name))
        try:
            content = os.pread(fd, _CHUNK, 0)
        except OSError as error:
            self.forget(hierarchy, path)
            if error.errno in _GONE:
                raise CgroupGone(self.describe(hierarchy, path, name)) from error
            if error.errno in {errno.EOPNOTSUPP, errno.EINVAL, errno.EIO}:
                raise ControllerUnavailable(self.describe(hierarchy, path, name)) from error
            raise
        if len(content) == _CHUNK:
            raise ParseError(self.describe(hierarchy, path, name), b"longer than any kernel file known")
        return content

    def walk(self, hierarchy: str, path: CgroupPath) -> Iterator[int]:
        """Yield a descriptor of the cgroup's directory and of every one below it, each open until the next.

        Raises ControllerUnavailable or CgroupGone about the first; others may vanish meanwhile.
        """
        root = self._roots.get(hierarchy)
        if root is None:
            raise ControllerUnavailable(hierarchy)
        pending = [path]
        while pending:
            current = pending.pop()
            try:
                directory = os.open("." + current, _DIRECTORY | os.O_NOFOLLOW, dir_fd=root)
            except OSError as error:
                if current != path:
                    continue
                if error.errno in _GONE:
                    raise CgroupGone(self.describe(hierarchy, path, "")) from error
                raise ControllerUnavailable(self.describe(hierarchy, path, "")) from error
            try:
                yield directory
                # kernfs counts subdirectories, and only those, as links.
                if os.fstat(directory).st_nlink > _LINKS_OF_A_LEAF:
                    # Removed meanwhile: then nothing is below it.
                    with contextlib.suppress(OSError), os.scandir(directory) as entries:
                        names = [entry.name for entry in entries if entry.is_dir(follow_symlinks=False)]
                        pending += [CgroupPath(f"{current}/{name}") for name in names]
            finally:
                os.close(directory)

    def exists(self, hierarchy: str, path: CgroupPath) -> bool:
        """Tell whether the cgroup's directory is there."""
        try:
            os.stat("." + path, dir_fd=self._roots[hierarchy])
        except OSError:
            return False
        return True

    def forget(self, hierarchy: str, path: CgroupPath) -> None:
        """Close the files of one cgroup."""
        for fd in self._directories.pop((hierarchy, path), {}).values():
            if fd != _ABSENT:
                os.close(fd)
                self._open -= 1

    def _open_file(self, hierarchy: str, path: CgroupPath, name: str) -> int:
        root = self._roots.get(hierarchy)
        if root is None:
            raise ControllerUnavailable(hierarchy)
        flags = os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW
        try:
            fd = os.open(f".{path}/{name}", flags, dir_fd=root)
        except OSError as error:
            if error.errno not in _GONE:
                raise ControllerUnavailable(self.describe(hierarchy, path, name)) from error
            if not self.exists(hierarchy, path):
                self.forget(hierarchy, path)
                raise CgroupGone(self.describe(hierarchy, path, name)) from error
            return _ABSENT
        self._open += 1
        self._close_surplus((hierarchy, path))
        return fd

    def _close_surplus(self, in_use: tuple[str, CgroupPath]) -> None:
        while self._open > self._max_open:
            oldest = next(iter(self._directories))
            if oldest == in_use:
                return
            self.forget(*oldest)


def read_ids(directory: int, name: str) -> list[int]:
    """Read a file that lists the tasks of the cgroup whose directory is open; raises OSError."""
    fd = os.open(name, os.O_RDONLY | os.O_CLOEXEC, dir_fd=directory)
    try:
        content = os.read(fd, _CHUNK)
        if len(content) > _PAGE - _LONGEST_ID:
            # One page at a time, in whole lines.
            while part := os.read(fd, _CHUNK):
                content += part
    finally:
        os.close(fd)
    return list(map(int, content.split()))
