"""Which binds a container has, whether they are seen, and whom a change would reach. Pure."""

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from pylxcfs.linux.mountinfo import Mount
from pylxcfs.reattach.namespaces import Namespace

#: How mountinfo marks what has lost its name in its file system; a dead server's names all do in time.
_DELETED: Final = "//deleted"
_PEERS: Final = re.compile(rb"^\S+ \S+ \S+ \S+ \S+ \S+(?P<fields>(?: \w+:\d+)+)", re.MULTILINE)


class State(StrEnum):
    """What is at a place in a container."""

    #: Our file, of the connection that is mounted now.
    ALIVE = "alive"
    #: A file whose server is gone: "Transport endpoint is not connected".
    DEAD = "dead"
    #: A file that another server answers for.
    OTHER = "other"
    #: A file whose server is there and does not answer.
    SILENT = "silent"
    #: A file that is not seen: something else is mounted over it.
    HIDDEN = "hidden"
    #: Taken away by detach, and not planted since.
    MISSING = "missing"
    #: The kernel's own file.
    NONE = "none"


@dataclass(frozen=True, slots=True)
class Bind:
    """All that is bound from trees like ours on one place of one container."""

    target: str
    #: Below the root of our tree: of the mount that is seen, or else of the last one.
    file: str
    #: The mount that is seen; None if something else covers it.
    seen: Mount | None
    mounts: tuple[Mount, ...]


def find_binds(mounts: Iterable[Mount], *, is_wanted: Callable[[Mount], bool]) -> list[Bind]:
    """Find the binds that `is_wanted` is true of, each place once, in the order of mounting."""
    by_id = {mount.mount_id: mount for mount in mounts}
    places: dict[str, list[Mount]] = {}
    for mount in by_id.values():
        if is_wanted(mount):
            places.setdefault(str(mount.mount_point), []).append(mount)
    binds = []
    for target, here in places.items():
        seen = next((mount for mount in here if not _is_covered(mount, by_id)), None)
        file = (seen or here[-1]).root.removesuffix(_DELETED).strip("/")
        binds.append(Bind(target, file, seen, tuple(here)))
    return binds


def _is_covered(mount: Mount, by_id: Mapping[int, Mount]) -> bool:
    """Tell whether walking to the mount point ends somewhere else: in a later mount on the way or on top."""
    way = {mount.mount_id}
    above = by_id.get(mount.parent_id)
    while above is not None and above.mount_id not in way:
        way.add(above.mount_id)
        above = by_id.get(above.parent_id)
    return any(
        other.parent_id in way
        and other.mount_id not in way
        and mount.mount_point.is_relative_to(other.mount_point)
        for other in by_id.values()
    )


class Reach:
    """Who receives what is mounted in a peer group (mount_namespaces(7)), over all namespaces."""

    def __init__(self, namespaces: Iterable[Namespace]) -> None:
        """Read the peer groups of all namespaces."""
        self._members: dict[int, list[Namespace]] = {}
        self._passed_on: dict[int, set[int]] = {}
        for namespace in namespaces:
            for line in _PEERS.finditer(namespace.mountinfo):
                groups = dict(field.split(b":") for field in line["fields"].split())
                numbers = {tag: int(groups[tag]) for tag in (b"shared", b"master") if tag in groups}
                for number in numbers.values():
                    self._members.setdefault(number, []).append(namespace)
                if len(numbers) > 1:
                    self._passed_on.setdefault(numbers[b"master"], set()).add(numbers[b"shared"])

    def own_groups(self, mounts: Iterable[Mount], namespace: Namespace) -> tuple[int, ...]:
        """Return the peer groups among `mounts` that reach nobody outside of the namespace's container."""
        groups = {mount.shared for mount in mounts if mount.shared is not None}
        return tuple(sorted(group for group in groups if self._stays_inside(group, namespace)))

    def _stays_inside(self, group: int, namespace: Namespace) -> bool:
        reached, new = set(), {group}
        while new:
            reached |= new
            new = set[int]().union(*(self._passed_on.get(number, set()) for number in new)) - reached
        return all(
            is_same_container(namespace, member)
            for number in reached
            for member in self._members.get(number, ())
        )


def is_same_container(one: Namespace, other: Namespace) -> bool:
    """Tell whether two mount namespaces are of one container: they share a pid namespace, not the host's."""
    return one.inode == other.inode or (
        one.pid_namespace == other.pid_namespace and not one.in_host_pid_namespace
    )
