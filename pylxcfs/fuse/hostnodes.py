"""The nodes of the CPU tree that are the host's: directories, read-only files and symbolic links.

Inode numbers are a function of the path alone, so they outlive a server and a CPU that is taken out and put
in again. The paths behind them are never forgotten: the host's tree bounds them.
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
_CPU: Final = re.compile(r"cpu(0|[1-9][0-9]*)(?:/.*)?", re.DOTALL)


class HostNodes:
    """Finds the host's entries by name and by inode number. Owned by the serving thread."""

    def __init__(self, tree: HostTree) -> None:
        """Serve what is in `tree`."""
        self._tree = tree
        self._paths: dict[Inode, str] = {}
        self._inodes: dict[str, Inode] = {}
        self._all_numbered = False

    def node(self, inode: Inode) -> Node | None:
        """Return the entry with this number, None if there is no such; raises HostTreeError if it is gone."""
        path = self._paths.get(inode)
        if path is None and not self._all_numbered:
            # A number that the kernel got from a server before this one.
            self._all_numbered = True
            for known in self._tree.walk():
                self._number(known)
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

    def _number(self, path: str) -> Inode:
        inode = self._inodes.get(path)
        if inode is None:
            hashed = path.encode(errors="surrogateescape")
            inode = _hash(hashed)
            while inode in self._paths:
                # One in 10^10 machines: the path that was seen later is numbered by a longer name.
                hashed += b"\0"
                inode = _hash(hashed)
            self._inodes[path] = inode
            self._paths[inode] = path
        return inode


def _hash(path: bytes) -> Inode:
    digest = hashlib.blake2b(path, digest_size=8).digest()
    return Inode(int.from_bytes(digest, "big") | _HOST_BIT)
