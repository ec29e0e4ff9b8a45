"""Whom a change of mounts in one container would reach (mount_namespaces(7)). Pure."""

from collections.abc import Mapping
from typing import Final

from pylxcfs.linux.mountinfo import split_line
from pylxcfs.reattach.namespaces import Namespace

_SHARED: Final = b"shared:"
_MASTER: Final = b"master:"
_OPTIONAL: Final = 6
#: A container that may mount can make as many as it can mounts; runtimes and systemd make some dozens.
_MOST_GROUPS: Final = 4096


class Reach:
    """Who receives what is mounted in a peer group, over all namespaces.

    A container that has more than 4096 groups, or a longer table than is read, is thought to be in those that
    were found: nobody but itself can be reached by what it hides.
    """

    def __init__(self) -> None:
        """Know nobody yet."""
        self._members: dict[int, list[Namespace]] = {}
        self._passed_on: dict[int, set[int]] = {}
        self._shared: dict[int, tuple[int, ...]] = {}
        self._is_complete = True

    def add(self, namespace: Namespace, table: bytes, *, is_whole: bool) -> None:
        """Read the peer groups of a namespace from its mount table."""
        shared, members = set[int](), set[int]()
        for line in table.split(b"\n"):
            # Most tables of containers have none.
            if _SHARED not in line and _MASTER not in line:
                continue
            groups = _groups(line)
            if len(members) >= _MOST_GROUPS and not namespace.is_hosts:
                break
            members.update(groups.values())
            if _SHARED in groups:
                shared.add(groups[_SHARED])
                if _MASTER in groups:
                    self._passed_on.setdefault(groups[_MASTER], set()).add(groups[_SHARED])
        for number in members:
            self._members.setdefault(number, []).append(namespace)
        self._shared[namespace.inode] = tuple(sorted(shared))
        self._is_complete = self._is_complete and (is_whole or not namespace.is_hosts)

    def own_groups(self, namespace: Namespace) -> tuple[int, ...]:
        """Return the peer groups of a namespace that reach nobody outside of its container."""
        if not self._is_complete:
            return ()
        groups = self._shared[namespace.inode]
        reached, new = set[int](), set(groups)
        senders: dict[int, set[int]] = {}
        while new:
            reached |= new
            for sender in new:
                for receiver in self._passed_on.get(sender, ()):
                    senders.setdefault(receiver, set()).add(sender)
            new = set[int]().union(*(self._passed_on.get(number, ()) for number in new)) - reached
        leaving, new = set[int](), {number for number in reached if self._has_others(number, namespace)}
        while new:
            leaving |= new
            new = set[int]().union(*(senders.get(number, ()) for number in new)) - leaving
        return tuple(group for group in groups if group not in leaving)

    def _has_others(self, group: int, namespace: Namespace) -> bool:
        return any(not is_same_container(namespace, member) for member in self._members.get(group, ()))


def _groups(line: bytes) -> Mapping[bytes, int]:
    """Return the numbers of a line's optional fields, by their tags."""
    words = split_line(line)
    found: dict[bytes, int] = {}
    for field in words[0][_OPTIONAL:] if words else ():
        tag, colon, number = field.partition(b":")
        if colon and number.isdigit():
            found[tag + colon] = int(number)
    return {tag: found[tag] for tag in (_SHARED, _MASTER) if tag in found}


def is_same_container(one: Namespace, other: Namespace) -> bool:
    """Tell whether two mount namespaces are of one container: they share a pid namespace, not the host's."""
    return one.inode == other.inode or (
        one.pid_namespace == other.pid_namespace and not one.in_host_pid_namespace
    )
