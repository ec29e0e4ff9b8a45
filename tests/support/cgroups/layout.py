"""Which cgroup hierarchies this machine has, and where in them the tests may make groups."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from pylxcfs.linux.mountinfo import Mount
from tests.support.mounts import mounts

#: v1 controllers in whose hierarchies a group is made, as a runtime does.
V1_CONTROLLERS: Final = ("cpu", "cpuacct", "cpuset", "memory", "blkio", "pids", "freezer", "devices")
#: Controllers by their v2 names, and what v1 calls those that it calls otherwise.
CONTROLLERS: Final = ("memory", "cpu", "cpuset", "io", "pids")
V1_NAMES: Final[Mapping[str, str]] = {"io": "blkio"}
#: The group that the tests' own processes are in where the one above it is to have groups (place.py).
LEAF: Final = "pylxcfs-suite"


@dataclass(frozen=True, slots=True)
class Unified:
    """The cgroup2 hierarchy."""

    #: Where it is mounted.
    top: Path
    #: The group below which the tests make theirs.
    base: Path

    @property
    def controllers(self) -> frozenset[str]:
        """Name the controllers that groups of the tests can have."""
        return frozenset((self.base / "cgroup.controllers").read_text().split())

    @property
    def is_whole(self) -> bool:
        """Tell a mount of the whole hierarchy from that of a container, whose top is some group."""
        return not (self.top / "cgroup.type").exists()


@dataclass(frozen=True, slots=True)
class Layout:
    """The hierarchies of this machine: v1, v2, or both (hybrid)."""

    #: v1 controller, by its v1 name -> mount point.
    v1: Mapping[str, Path]
    #: Mount points of all v1 hierarchies, those without a controller too.
    v1_tops: tuple[Path, ...]
    unified: Unified | None

    @property
    def has_v2_controllers(self) -> bool:
        """Tell whether groups are limited by cgroup v2, at least by one of its controllers."""
        return self.unified is not None and not self.unified.controllers.isdisjoint(CONTROLLERS)

    def version(self, controller: str) -> int:
        """Tell which version has the controller, named as v2 does: 1 or 2, 0 if none has."""
        if V1_NAMES.get(controller, controller) in self.v1:
            return 1
        return 2 if self.unified and controller in self.unified.controllers else 0

    @property
    def tops(self) -> list[Path]:
        """Name the top group of every hierarchy, named ones included."""
        return [*self.v1_tops, *([self.unified.top] if self.unified else [])]

    @property
    def bases(self) -> list[Path]:
        """Name, in every hierarchy, the group below which the tests make theirs."""
        return [*self.v1_tops, *([self.unified.base] if self.unified else [])]


def unified_group(mount: Mount, pid: int | str = "self") -> Path | None:
    """Return the directory of a process's group below a cgroup2 mount, None if the mount does not show it."""
    lines = Path(f"/proc/{pid}/cgroup").read_text().splitlines()
    path = next((line.removeprefix("0::") for line in lines if line.startswith("0::")), "/")
    if not Path(path).is_relative_to(mount.root):
        return None
    return mount.mount_point / Path(path).relative_to(mount.root)


def _unified(table: list[Mount]) -> Unified | None:
    mount = next((mount for mount in table if mount.fs_type == "cgroup2"), None)
    if mount is None:
        return None
    own = unified_group(mount)
    base = own.parent if own is not None and own.name == LEAF else mount.mount_point
    return Unified(mount.mount_point, base)


def find_layout() -> Layout:
    """Read this process's mount table."""
    table = mounts()
    v1: dict[str, Path] = {}
    for mount in table:
        if mount.fs_type == "cgroup":
            for option in mount.super_options.split(","):
                if option in V1_CONTROLLERS:
                    v1.setdefault(option, mount.mount_point)
    tops = tuple(mount.mount_point for mount in table if mount.fs_type == "cgroup")
    return Layout(v1, tops, _unified(table))
