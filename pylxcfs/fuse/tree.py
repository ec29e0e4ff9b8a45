"""The directory tree: the table of virtual files, and the host's CPU tree around those that belong to it."""

import errno
import stat
import time
import zlib
from collections.abc import Iterable, Iterator, Mapping
from typing import Final

import pyfuse3

from pylxcfs.fuse.hostnodes import HostNodes
from pylxcfs.fuse.node import Node
from pylxcfs.hosttree import HostTree, HostTreeError
from pylxcfs.procfiles.table import CPU_DIRECTORY, VirtualFile

#: Nothing about a node of the table ever changes, so the kernel may remember it for as long as it likes.
_FOREVER_SECONDS: Final = 86400.0
_DIRECTORY_MODE: Final = stat.S_IFDIR | 0o555
_FILE_MODE: Final = stat.S_IFREG | 0o444
#: sysfs calls every attribute file as long as a page.
_SYSFS_FILE_SIZE: Final = 4096


class Tree:
    """Finds nodes by inode number and by name. Owned by the serving thread."""

    def __init__(self, files: Iterable[VirtualFile], cpu_tree: HostTree) -> None:
        """Serve `files`, and in the CPU directory what `cpu_tree` has besides."""
        self._nodes = build_nodes(files)
        #: Has the content of every node with a `host_path` that is no directory.
        self.cpu_tree = cpu_tree
        self._host = HostNodes(cpu_tree)

    def node(self, inode: pyfuse3.InodeT) -> Node | None:
        """Return the node with this number, if there is one; raises HostTreeError where it is gone."""
        return self._nodes.get(inode) or self._host.node(inode)

    def child(self, directory: Node, name: bytes) -> Node | None:
        """Return the node with this name in a directory, if there is one."""
        inode = directory.children.get(name)
        if directory.host_path is None:
            return None if inode is None else self._nodes[inode]
        try:
            node = self._host.child(directory.host_path, name)
        except HostTreeError as error:
            if error.number in {errno.ENOENT, errno.ENAMETOOLONG}:
                return None
            raise
        # Of the table's files in the host's directory only those are there that this kernel has.
        return node if inode is None else self._nodes[inode]

    def children(self, directory: Node) -> Iterator[tuple[bytes, Node]]:
        """Yield every name in a directory with its node; raises HostTreeError."""
        if directory.host_path is None:
            for name, inode in directory.children.items():
                yield name, self._nodes[inode]
            return
        for name, node in self._host.children(directory.host_path):
            inode = directory.children.get(name, node.attributes.st_ino)
            yield name, self._nodes.get(inode, node)


def build_nodes(files: Iterable[VirtualFile]) -> Mapping[pyfuse3.InodeT, Node]:
    """Return the nodes of the table by inode number."""
    by_path = {file.path: file for file in files}
    children: dict[str, dict[bytes, pyfuse3.InodeT]] = {"": {}}
    for path in sorted(by_path):
        name = path
        while name:
            parent, _, base = name.rpartition("/")
            children.setdefault(parent, {})[base.encode()] = _inode(name)
            name = parent
    created_ns = time.time_ns()
    nodes = {}
    for path, below in children.items():
        attributes = _attributes(path, _DIRECTORY_MODE, created_ns)
        # 1 means that links do not tell how many directories are in it: that depends on who asks.
        attributes.st_nlink = 1 if path == CPU_DIRECTORY else 2
        host_path = "" if path == CPU_DIRECTORY else None
        nodes[_inode(path)] = Node(
            attributes, children=below, in_sysfs=_is_in_sysfs(path), host_path=host_path
        )
    for path, file in by_path.items():
        attributes = _attributes(path, _FILE_MODE, created_ns)
        attributes.st_size = _SYSFS_FILE_SIZE if _is_in_sysfs(path) else 0
        nodes[_inode(path)] = Node(attributes, file, in_sysfs=_is_in_sysfs(path))
    return nodes


def _is_in_sysfs(path: str) -> bool:
    return path.partition("/")[0] == "sys"


def _inode(path: str) -> pyfuse3.InodeT:
    """Number a path. A function of the path alone: another version of the table agrees on what both have."""
    return pyfuse3.InodeT(zlib.crc32(path.encode()) + 2) if path else pyfuse3.ROOT_INODE


def _attributes(path: str, mode: int, created_ns: int) -> pyfuse3.EntryAttributes:
    attributes = pyfuse3.EntryAttributes()
    attributes.st_ino = _inode(path)
    attributes.st_mode = pyfuse3.ModeT(mode)
    attributes.st_nlink = 1
    attributes.st_size = 0
    attributes.st_atime_ns = attributes.st_mtime_ns = attributes.st_ctime_ns = created_ns
    attributes.entry_timeout = attributes.attr_timeout = _FOREVER_SECONDS
    return attributes
