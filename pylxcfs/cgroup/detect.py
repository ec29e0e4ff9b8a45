"""Which cgroup hierarchies this host has mounted, from /proc/self/mountinfo (proc_pid_mountinfo(5))."""

from collections.abc import Iterable
from dataclasses import dataclass

from pylxcfs.cgroup.mountroot import MountRoot
from pylxcfs.cgroup.types import V2

#: Options of a v1 superblock that are not controllers (mount(8), cgroup-v1/cgroups.rst).
_NOT_CONTROLLERS = frozenset({"rw", "ro", "none", "noprefix", "clone_children", "xattr", "cpuset_v2_mode"})
#: Before the optional ones: id, parent's id, device, root, mount point, options.
_FIELDS = 6
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


def _unescape(word: str) -> str:
    """Undo mountinfo's octal escapes of space, tab, newline and backslash."""
    for escape, character in (("\\040", " "), ("\\011", "\t"), ("\\012", "\n"), ("\\134", "\\")):
        word = word.replace(escape, character)
    return word


def _v1_names(super_options: str) -> tuple[str, ...]:
    options = super_options.split(",")
    controllers = [o for o in options if o not in _NOT_CONTROLLERS and not o.startswith(_VALUED)]
    return tuple(controllers or [o for o in options if o.startswith("name=")])


def parse_hierarchies(mountinfo: Iterable[str]) -> tuple[Hierarchy, ...]:
    """Return the hierarchies in mount order; of several mounts of one, the one that shows most of it.

    A mount that another one lies on is left out: its mount point leads to the other's files.
    """
    mounts = [(*line.rstrip("\n").partition(" - ")[::2],) for line in mountinfo]
    split = [
        (fields, kind.split(" ")) for mount, kind in mounts if len(fields := mount.split(" ")) >= _FIELDS
    ]
    covered = {(fields[1], fields[4]) for fields, _ in split}
    found: dict[tuple[str, ...], Hierarchy] = {}
    for fields, words in split:
        if words[0] not in {"cgroup", "cgroup2"} or (fields[0], fields[4]) in covered:
            continue
        names = (V2,) if words[0] == "cgroup2" else _v1_names(words[-1])
        hierarchy = Hierarchy(names, _unescape(fields[4]), _unescape(fields[3]))
        known = found.get(names)
        if known is None or MountRoot(hierarchy.root).shows < MountRoot(known.root).shows:
            found[names] = hierarchy
    return tuple(found.values())
