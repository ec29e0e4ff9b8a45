"""Which cgroups a mount shows: from the paths of /proc/PID/cgroup to paths below the mount point. Pure.

Both /proc/PID/cgroup and the root field of mountinfo name cgroups relative to the reader's cgroup
namespace, with one leading ``/..`` for every step above it (cgroup_namespaces(7); kernfs_path_from_node()
in fs/kernfs/dir.c). A path is only ever made from names: ``..`` never reaches the kernel.
"""

from dataclasses import dataclass, field
from typing import Final

from pylxcfs.cgroup.types import ROOT, CgroupPath

_UP: Final = ".."


def _split(path: str) -> tuple[int, tuple[str, ...]]:
    """Return how many steps `path` goes up from the namespace's root, and the names that it goes down."""
    parts = tuple(part for part in path.split("/") if part)
    ups = next((n for n, part in enumerate(parts) if part != _UP), len(parts))
    return ups, parts[ups:]


@dataclass(frozen=True, slots=True)
class MountRoot:
    """The cgroup that a mount shows as its top.

    `home` names the way from the top down to our namespace's root where `path` is above it, which no file
    tells; empty where it was not found or is not needed.
    """

    path: str = ROOT
    home: tuple[str, ...] = ()
    _ups: int = field(init=False)
    _names: tuple[str, ...] = field(init=False)

    def __post_init__(self) -> None:
        """Take the path apart once; it is asked for at every read."""
        ups, names = _split(self.path)
        object.__setattr__(self, "_ups", ups)
        object.__setattr__(self, "_names", names)

    @property
    def ups(self) -> int:
        """How far above our namespace's root the top is."""
        return self._ups

    @property
    def shows(self) -> tuple[int, int]:
        """Sorts mounts of one hierarchy: the smallest shows most of it."""
        return len(self._names), -self._ups

    def locate(self, path: CgroupPath) -> CgroupPath | None:
        """Return where `path` is below the mount point, or None where the mount does not show it."""
        if self.path == ROOT and "/.." not in path:
            return path
        ups, names = _split(path)
        if _UP in names:
            return None
        if ups < self._ups:
            # Down through our namespace's root; a top beside that way does not show it.
            if self._names or len(self.home) != self._ups:
                return None
            names = self.home[: self._ups - ups] + names
        elif ups > self._ups or names[: len(self._names)] != self._names:
            return None
        else:
            names = names[len(self._names) :]
        return CgroupPath("/" + "/".join(names))

    def is_root(self, path: CgroupPath) -> bool:
        """Tell whether `path` is the top of all that we can know of the hierarchy."""
        return self.locate(path) == ROOT if self._ups else path == ROOT
