"""Which cgroup hierarchies this host has mounted."""

from collections.abc import Iterable
from dataclasses import dataclass

from pylxcfs.cgroup.mountroot import MountRoot
from pylxcfs.cgroup.types import V2
from pylxcfs.linux.mountinfo import Mount

#: Options of a v1 superblock that are not controllers (mount(8), cgroup-v1/cgroups.rst).
_NOT_CONTROLLERS = frozenset({"rw", "ro", "none", "noprefix", "clone_children", "xattr", "cpuset_v2_mode"})
_VALUED = ("release_agent=", "name=")


@dataclass(frozen=True, slots=True)
class Hierarchy:
    """One mounted hierarchy.

    `names` are the words by which /proc/PID/cgroup calls it: v1 controllers or ``name=…``; the empty
    string for cgroup v2. `root` is the cgroup that the mount shows as its top (``/`` on a host), seen from
    our cgroup namespace (mountroot.py).
    """

    names: tuple[str, ...]
    mount_point: str
    root: str

    @property
    def is_v2(self) -> bool:
        """Tell a cgroup2 mount from a v1 hierarchy."""
        return self.names == (V2,)


def _v1_names(super_options: str) -> tuple[str, ...]:
    options = super_options.split(",")
    controllers = [o for o in options if o not in _NOT_CONTROLLERS and not o.startswith(_VALUED)]
    return tuple(controllers or [o for o in options if o.startswith("name=")])


def find_hierarchies(mounts: Iterable[Mount]) -> tuple[Hierarchy, ...]:
    """Return the hierarchies in mount order; of several mounts of one, the one that shows most of it.

    A mount that another one lies on is left out: its mount point leads to the other's files.
    """
    mounts = list(mounts)
    covered = {(mount.parent_id, mount.mount_point) for mount in mounts}
    found: dict[tuple[str, ...], Hierarchy] = {}
    for mount in mounts:
        if mount.fs_type not in {"cgroup", "cgroup2"} or (mount.mount_id, mount.mount_point) in covered:
            continue
        names = (V2,) if mount.fs_type == "cgroup2" else _v1_names(mount.super_options)
        known = found.get(names)
        if known is None or MountRoot(mount.root).shows < MountRoot(known.root).shows:
            found[names] = Hierarchy(names, str(mount.mount_point), mount.root)
    return tuple(found.values())
