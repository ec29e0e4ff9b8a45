"""cgroup files, kept open and read with pread: the kernel writes them anew at every read from offset 0."""

import errno
import os
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping
from typing import Final

from pylxcfs.cgroup.effective import with_ancestors
from pylxcfs.cgroup.mountroot import MountRoot
from pylxcfs.cgroup.types import (
    ROOT,
    V2,
    CgroupGone,
    CgroupPath,
    CgroupPaths,
    ControllerUnavailable,
    ParseError,
)
from pylxcfs.linux.files import WANT_OF_RESOURCES

#: kernfs gives at most one buffer per read; usage_all with 512 CPUs is some 20 kB. From 128 KiB on, malloc(3)
#: asks the kernel for each buffer and gives it back: 28 us a read instead of 1.
_CHUNK: Final = 1 << 16
#: A removed cgroup's files say ENODEV; its directory, and what would be below it, ENOENT.
GONE: Final = frozenset({errno.ENODEV, errno.ENOENT, errno.ENOTDIR})
_DIRECTORY: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
#: Remembered in place of a descriptor: the cgroup is there, this kernel has no such file.
_ABSENT: Final = -1


class CgroupFiles:
    """Reads files below the roots of the mounted hierarchies, relative to held descriptors.

    `located` is a path below a mount point, as `locate` returns it.

    Owned by one thread: closing a descriptor while another thread reads it could show it another
    container's file.
    """

    def __init__(
        self,
        mount_points: Mapping[str, str],
        max_open: int,
        mount_roots: Mapping[str, MountRoot] | None = None,
    ) -> None:
        """Open each hierarchy: name in /proc/PID/cgroup → mount point, and what that shows if not all."""
        self._roots = {name: os.open(point, _DIRECTORY) for name, point in mount_points.items()}
        self._mount_points = mount_points
        self._mount_roots = dict.fromkeys(mount_points, MountRoot()) | dict(mount_roots or {})
        self._limited_tops = frozenset(name for name in mount_points if self._top_can_be_limited(name))
        self._max_open = max_open
        self._open = 0
        self._releases: list[Callable[[], None]] = []
        self._directories: OrderedDict[tuple[str, CgroupPath], dict[str, int]] = OrderedDict()

    def has(self, hierarchy: str) -> bool:
        """Tell whether `hierarchy` is mounted."""
        return hierarchy in self._roots

    def locate(self, hierarchy: str, path: CgroupPath | None) -> CgroupPath:
        """Return where `path` of /proc/PID/cgroup is; raises ControllerUnavailable if no mount shows it."""
        root = self._mount_roots.get(hierarchy)
        if root is None or path is None:
            raise ControllerUnavailable(hierarchy)
        located = root.locate(path)
        if located is None:
            raise ControllerUnavailable(f"{path} is not below {self._mount_points[hierarchy]}")
        return located

    def upwards(self, hierarchy: str, located: CgroupPath) -> Iterator[CgroupPath]:
        """Yield every cgroup that can limit `located`, nearest first."""
        yield from with_ancestors(located)
        if hierarchy in self._limited_tops:
            yield ROOT

    def is_root(self, hierarchy: str, path: CgroupPath | None) -> bool:
        """Tell whether `path` of /proc/PID/cgroup is the hierarchy's root, or in no such hierarchy."""
        root = self._mount_roots.get(hierarchy)
        return path is None or path == ROOT if root is None else path is None or root.is_root(path)

    def describe(self, hierarchy: str, located: CgroupPath, name: str) -> str:
        """Return the full path of a file, for messages."""
        return f"{self._mount_points[hierarchy]}{located.rstrip('/')}/{name}"

    def read(self, hierarchy: str, located: CgroupPath, name: str) -> bytes:
        """Return a file's content; raises ControllerUnavailable, CgroupGone, ParseError, OSError for want."""
        key = (hierarchy, located)
        directory = self._directories.get(key)
        if directory is None:
            directory = self._directories[key] = {}
        else:
            self._directories.move_to_end(key)
        fd = directory.get(name)
        if fd is None:
            fd = self._open_file(hierarchy, located, name)
            if fd != _ABSENT or hierarchy != V2:
                # On v2 a controller can be enabled at any time, and its files appear.
                directory[name] = fd
        if fd == _ABSENT:
            raise ControllerUnavailable(self.describe(hierarchy, located, name))
        try:
            content = os.pread(fd, _CHUNK, 0)
        except OSError as error:
            self.forget(hierarchy, located)
            if error.errno in GONE:
                if hierarchy == V2 and self._lost_only_file(located, name):
                    raise ControllerUnavailable(self.describe(hierarchy, located, name)) from error
                raise CgroupGone(self.describe(hierarchy, located, name)) from error
            if error.errno in {errno.EOPNOTSUPP, errno.EINVAL, errno.EIO}:
                raise ControllerUnavailable(self.describe(hierarchy, located, name)) from error
            raise
        if len(content) == _CHUNK:
            raise ParseError(self.describe(hierarchy, located, name), b"longer than any kernel file known")
        return content

    def open_for_writing(self, hierarchy: str, located: CgroupPath, name: str) -> int:
        """Open a file that the caller keeps and closes; raises ControllerUnavailable or CgroupGone."""
        flags = os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOFOLLOW
        try:
            return os.open(f".{located}/{name}", flags, dir_fd=self._roots[hierarchy])
        except OSError as error:
            if error.errno in GONE and not self.exists(hierarchy, located):
                raise CgroupGone(self.describe(hierarchy, located, name)) from error
            raise ControllerUnavailable(self.describe(hierarchy, located, name)) from error

    def open_directory(self, hierarchy: str, located: CgroupPath) -> int:
        """Open a cgroup's directory, which the caller closes; raises OSError. Safe in every thread."""
        return os.open("." + located, _DIRECTORY | os.O_NOFOLLOW, dir_fd=self._roots[hierarchy])

    def read_once(self, hierarchy: str, located: CgroupPath, name: str) -> bytes:
        """Return a file's content, and keep nothing; raises OSError. Safe in every thread."""
        flags = os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW
        fd = os.open(f".{located}/{name}", flags, dir_fd=self._roots[hierarchy])
        try:
            return os.read(fd, _CHUNK)
        finally:
            os.close(fd)

    def exists_file(self, hierarchy: str, located: CgroupPath, name: str) -> bool:
        """Tell whether a cgroup has such a file."""
        return self.exists(hierarchy, CgroupPath(f"{located}/{name}"))

    def exists(self, hierarchy: str, located: CgroupPath) -> bool:
        """Tell whether the cgroup's directory is there."""
        try:
            os.stat("." + located, dir_fd=self._roots[hierarchy])
        except OSError:
            return False
        return True

    def known(self, paths: CgroupPaths) -> CgroupPaths:
        """Leave out hierarchies that are not ours to read: they come and go while we run."""
        if all(name in self._roots for name, _ in paths):
            return paths
        return CgroupPaths.of({name: path for name, path in paths if name in self._roots})

    def any_exists(self, paths: CgroupPaths) -> bool:
        """Tell whether any of these cgroups is still there; roots always are and do not count."""
        for name, path in paths:
            root = self._mount_roots.get(name)
            located = None if root is None else root.locate(path)
            if located is not None and not self.is_root(name, path) and self.exists(name, located):
                return True
        return False

    def forget_all(self, paths: CgroupPaths) -> None:
        """Close the files of all these cgroups, and of what is above them: it may be new too."""
        for name, path in paths:
            root = self._mount_roots.get(name)
            located = None if root is None else root.locate(path)
            if located is not None:
                for above in self.upwards(name, located):
                    self.forget(name, above)

    def give_up_too(self, release: Callable[[], None]) -> None:
        """Call `release` where descriptors are wanted: it closes others that are only kept to save work."""
        self._releases.append(release)

    def make_room(self) -> None:
        """Close every file that is kept open; each is opened again when it is read."""
        for hierarchy, located in [*self._directories]:
            self.forget(hierarchy, located)
        for release in self._releases:
            release()

    def forget(self, hierarchy: str, located: CgroupPath) -> None:
        """Close the files of one cgroup."""
        for fd in self._directories.pop((hierarchy, located), {}).values():
            if fd != _ABSENT:
                os.close(fd)
                self._open -= 1

    def _open_file(self, hierarchy: str, located: CgroupPath, name: str) -> int:
        root = self._roots.get(hierarchy)
        if root is None:
            raise ControllerUnavailable(hierarchy)
        try:
            fd = self._open_with_room(f".{located}/{name}", root)
        except OSError as error:
            if error.errno in WANT_OF_RESOURCES:
                # The file is there: what stands for one that is not would be somebody else's number.
                raise
            if error.errno not in GONE:
                raise ControllerUnavailable(self.describe(hierarchy, located, name)) from error
            if not self.exists(hierarchy, located):
                self.forget(hierarchy, located)
                raise CgroupGone(self.describe(hierarchy, located, name)) from error
            return _ABSENT
        self._open += 1
        self._close_surplus((hierarchy, located))
        return fd

    def _open_with_room(self, path: str, root: int) -> int:
        """Open a file; where no descriptor or memory is left, give up those that are kept."""
        flags = os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW
        try:
            return os.open(path, flags, dir_fd=root)
        except OSError as error:
            if error.errno not in WANT_OF_RESOURCES:
                raise
        self.make_room()
        return os.open(path, flags, dir_fd=root)

    def _lost_only_file(self, located: CgroupPath, name: str) -> bool:
        """Tell whether a controller was disabled in a cgroup that is still there (cgroup.subtree_control).

        If the file can be opened again, the cgroup is another one of the same name.
        """
        try:
            fd = self._open_file(V2, located, name)
        except CgroupGone:
            return False
        if fd == _ABSENT:
            return True
        os.close(fd)
        self._open -= 1
        return False

    def _top_can_be_limited(self, hierarchy: str) -> bool:
        """Tell whether the mount's top is not the hierarchy's root: a bind, or a cgroup namespace.

        cgroup.events is in every v2 cgroup but the root, release_agent in no v1 cgroup but the root
        (CFTYPE_NOT_ON_ROOT and CFTYPE_ONLY_ON_ROOT in kernel/cgroup).
        """
        top = self._roots[hierarchy]
        if hierarchy == V2:
            return os.access("cgroup.events", os.F_OK, dir_fd=top)
        return not os.access("release_agent", os.F_OK, dir_fd=top)

    def _close_surplus(self, in_use: tuple[str, CgroupPath]) -> None:
        while self._open > self._max_open:
            oldest = next(iter(self._directories))
            if oldest == in_use:
                return
            self.forget(*oldest)
