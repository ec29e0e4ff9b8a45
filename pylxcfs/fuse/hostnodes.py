"""The nodes of the CPU tree that are the host's: directories, read-only files and symbolic links.

Inode numbers are a function of the path alone, so they outlive a server and a CPU that is taken out and put
in again. The paths behind them are never forgotten: the host's tree bounds them. A number tells in which
CPU's part of the tree its entry is: that of a machine with hundreds of CPUs is never walked as a whole.
"""

import hashlib
import os
import re
import stat
from collections.abc import Iterator
from typing import Final

from pyfuse3 import EntryAttributes

from pylxcfs.fuse.node import Inode, Node
from pylxcfs.linux.hosttree import HostTree, join

#: The host's tree changes when CPUs and drivers come and go; as rare as the list of online CPUs.
_VALID_SECONDS: Final = 1
_WRITE_BITS: Final = 0o222
#: Keeps these numbers apart from the table's, which have 32 bits.
_HOST_BIT: Final = 1 << 63
#: Directories of which there is one for each CPU, by the two bits below that one; 0 is everything else.
_KINDS: Final = {"cpu": 1, "cpufreq/policy": 2}
_PART: Final = re.compile(r"(cpu|cpufreq/policy)(0|[1-9][0-9]{0,3})(?=/|\Z)")
_KIND_SHIFT: Final = 61
#: Their numbers; NR_CPUS is at most 8192.
_NUMBER_SHIFT: Final = 48
_NUMBER_MASK: Final = (1 << _KIND_SHIFT - _NUMBER_SHIFT) - 1
_CPU: Final = re.compile(r"cpu(0|[1-9][0-9]*)(?:/.*)?", re.DOTALL)


class HostNodes:
    """Finds the host's entries by name and by inode number. Owned by the serving thread."""

    def __init__(self, tree: HostTree) -> None:
        """Serve what is in `tree`."""
        self._tree = tree
        self._paths: dict[Inode, str] = {}
        self._inodes: dict[str, Inode] = {}
        self._numbered: set[str] = set()

    def node(self, inode: Inode) -> Node | None:
        """Return the entry with this number, None if there is no such; raises HostTreeError if it is gone."""
        path = self._paths.get(inode)
        if path is None and inode & _HOST_BIT:
            # A number that the kernel got from a server before this one.
            self._number_part(_part_with(inode))
            path = self._paths.get(inode)
        return None if path is None else self._describe(path, self._tree.stat(path))

    def child(self, directory: str, name: bytes) -> Node:
        """Return the entry with this name; raises HostTreeError."""
        path = join(directory, os.fsdecode(name))
        return self._describe(path, self._tree.stat(path))

    def children(self, directory: str) -> Iterator[tuple[bytes, Node]]:
        """Yield every entry of a directory with its name; raises HostTreeError."""
        for name, status in self._tree.list(directory):
            yield os.fsencode(name), self._describe(join(directory, name), status)

    def _describe(self, path: str, status: os.stat_result) -> Node:
        is_link = stat.S_ISLNK(status.st_mode)
        cpu = _CPU.fullmatch(path)
        attributes = EntryAttributes()
        attributes.st_ino = self._number(path)
        attributes.st_mode = status.st_mode if is_link else status.st_mode & ~_WRITE_BITS
        attributes.st_nlink = status.st_nlink
        attributes.st_uid = status.st_uid
        attributes.st_gid = status.st_gid
        attributes.st_size = status.st_size
        attributes.st_atime_ns = status.st_atime_ns
        attributes.st_mtime_ns = status.st_mtime_ns
        attributes.st_ctime_ns = status.st_ctime_ns
        attributes.entry_timeout = _VALID_SECONDS
        # Whether a CPU is there depends on who asks, so everybody has to ask (docs/adr/0007-cpu-tree.md).
        attributes.attr_timeout = 0 if cpu else _VALID_SECONDS
        return Node(attributes, in_sysfs=True, host_path=path, cpu=int(cpu[1]) if cpu else None)

    def _number_part(self, part: str) -> None:
        """Number all that is in a CPU's directory, or else all that is in none."""
        if part in self._numbered:
            return
        self._numbered.add(part)
        if part:
            self._number(part)
        for path in self._tree.walk(part, lambda below: _part_of(below) == part):
            self._number(path)

    def _number(self, path: str) -> Inode:
        inode = self._inodes.get(path)
        if inode is None:
            part = _part_bits(path)
            hashed = path.encode(errors="surrogateescape")
            inode = Inode(part | _hash(hashed))
            while inode in self._paths:
                # One in 10^7 machines: the path that was seen later is numbered by a longer name.
                hashed += b"\0"
                inode = Inode(part | _hash(hashed))
            self._inodes[path] = inode
            self._paths[inode] = path
        return inode


def _hash(path: bytes) -> int:
    return int.from_bytes(hashlib.blake2b(path, digest_size=_NUMBER_SHIFT // 8).digest(), "big")


def _part_of(path: str) -> str:
    """Return the CPU's directory that a path is in, or is; "" if it is in none."""
    found = _PART.match(path)
    return found[0] if found is not None and int(found[2]) <= _NUMBER_MASK else ""


def _part_bits(path: str) -> int:
    """Return what all numbers of a part of the tree have in common."""
    part = _PART.match(_part_of(path))
    if part is None:
        return _HOST_BIT
    return _HOST_BIT | _KINDS[part[1]] << _KIND_SHIFT | int(part[2]) << _NUMBER_SHIFT


def _part_with(inode: Inode) -> str:
    """Return the CPU's directory that the entry with a number is in; "" if it is in none."""
    kind, number = inode >> _KIND_SHIFT & 3, inode >> _NUMBER_SHIFT & _NUMBER_MASK
    return next((f"{name}{number}" for name, each in _KINDS.items() if each == kind), "")
