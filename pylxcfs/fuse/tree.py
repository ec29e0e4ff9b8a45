"""The directory tree: the table of virtual files, and the host's CPU tree around those that belong to it."""

import errno
import re
import stat
import time
import zlib
from collections.abc import Iterable, Iterator, Mapping
from typing import Final

from pyfuse3 import EntryAttributes

from pylxcfs.fuse.hostnodes import HostNodes
from pylxcfs.fuse.node import ROOT_INODE, Inode, Node
from pylxcfs.linux.hosttree import HostTree, HostTreeError
from pylxcfs.procfiles.binds import CPU_DIRECTORY, NODE_DIRECTORY
from pylxcfs.procfiles.table import VirtualFile

#: Nothing about a node of the table ever changes, so the kernel may remember it for as long as it likes.
_FOREVER_SECONDS: Final = 86400
#: How long a name may be remembered whose node is not there for everybody.
_HIDEABLE_SECONDS: Final = 1
_NUMA: Final = re.compile(rf"{NODE_DIRECTORY}/node([0-9]+)(?:/.*)?")
_DIRECTORY_MODE: Final = stat.S_IFDIR | 0o555
#: As in the kernel's /proc/pressure since Linux 6.4.
_TRIGGER_MODE: Final = 0o666
#: What a look-up says, and nobody is told: stat(2) has to ask. More than any file has: behind what it takes
#: for the end the kernel does not ask us, for io_uring (fuse_direct_IO(), fs/fuse/file.c) and sendfile(2).
_FILE_SIZE: Final = 1 << 30


class Tree:
    """Finds nodes by inode number and by name. Owned by the serving thread."""

    def __init__(self, files: Iterable[VirtualFile], cpu_tree: HostTree, *, triggers: bool = False) -> None:
        """Serve `files`, and in the CPU directory what `cpu_tree` has besides; let users set `triggers`."""
        self._nodes = build_nodes(files, triggers=triggers)
        #: Has the content of every node with a `host_path` that is no directory.
        self.cpu_tree = cpu_tree
        self._host = HostNodes(cpu_tree)

    def node(self, inode: Inode) -> Node | None:
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
            inode = directory.children.get(name, Inode(node.attributes.st_ino))
            yield name, self._nodes.get(inode, node)


def build_nodes(files: Iterable[VirtualFile], *, triggers: bool = False) -> Mapping[Inode, Node]:
    """Return the nodes of the table by inode number."""
    by_path = {file.path: file for file in files}
    children: dict[str, dict[bytes, Inode]] = {"": {}}
    for path in sorted(by_path):
        name = path
        while name:
            parent, _, base = name.rpartition("/")
            children.setdefault(parent, {})[base.encode()] = _inode(name)
            name = parent
    created_ns = time.time_ns()
    nodes = {}
    for path, below in children.items():
        # 1 link means that links do not tell how many directories are in it: that depends on who asks.
        links = 1 if path in {CPU_DIRECTORY, NODE_DIRECTORY} else 2
        nodes[_inode(path)] = Node(
            _attributes(path, _DIRECTORY_MODE, created_ns, nlink=links),
            children=below,
            in_sysfs=_is_in_sysfs(path),
            host_path="" if path == CPU_DIRECTORY else None,
            numa=_numa(path),
        )
    for path, file in by_path.items():
        permissions = _TRIGGER_MODE if triggers and file.pressure else file.mode
        attributes = _attributes(path, stat.S_IFREG | permissions, created_ns, size=_FILE_SIZE)
        # How long it is depends on who asks (docs/adr/0033-sizes.md).
        attributes.attr_timeout = 0
        nodes[_inode(path)] = Node(attributes, file, in_sysfs=_is_in_sysfs(path), numa=_numa(path))
    return nodes


def _is_in_sysfs(path: str) -> bool:
    return path.partition("/")[0] == "sys"


def _numa(path: str) -> int | None:
    """Return the NUMA node whose directory a path is, or is in."""
    numa = _NUMA.fullmatch(path)
    return int(numa[1]) if numa else None


def _inode(path: str) -> Inode:
    """Number a path. A function of the path alone: another version of the table agrees on what both have."""
    return Inode(zlib.crc32(path.encode()) + 2) if path else ROOT_INODE


def _attributes(path: str, mode: int, created_ns: int, *, nlink: int = 1, size: int = 0) -> EntryAttributes:
    attributes = EntryAttributes()
    attributes.st_ino = _inode(path)
    attributes.st_mode = mode
    attributes.st_nlink = nlink
    attributes.st_size = size
    attributes.st_atime_ns = attributes.st_mtime_ns = attributes.st_ctime_ns = created_ns
    # Whether a NUMA node is there depends on who asks, so everybody has to ask.
    hideable = _numa(path) is not None
    attributes.entry_timeout = _HIDEABLE_SECONDS if hideable else _FOREVER_SECONDS
    attributes.attr_timeout = 0 if hideable else _FOREVER_SECONDS
    return attributes
