"""cgroup files, kept open and read with pread: the kernel writes them anew at every read from offset 0."""

import errno
import os
from collections import OrderedDict
from collections.abc import Mapping
from typing import Final

from pylxcfs.cgroup.types import CgroupGone, CgroupPath, ControllerUnavailable, ParseError

#: kernfs gives at most one buffer per read; usage_all with 512 CPUs is some 20 kB.
_CHUNK: Final = 1 << 17
#: A removed cgroup's files say ENODEV; its directory, and what would be below it, ENOENT.
_GONE: Final = frozenset({errno.ENODEV, errno.ENOENT, errno.ENOTDIR})
#: Remembered in place of a descriptor: the cgroup is there, this kernel has no such file.
_ABSENT: Final = -1


class CgroupFiles:
    """Reads files below the roots of the mounted hierarchies, relative to held descriptors.

    Owned by one thread: closing a descriptor while another thread reads it could show it another
    container's file.
    """

    def __init__(self, mount_points: Mapping[str, str], max_open: int) -> None:
        """Open each hierarchy's root: name in /proc/PID/cgroup → mount point."""
        flags = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
        self._roots = {name: os.open(point, flags) for name, point in mount_points.items()}
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
