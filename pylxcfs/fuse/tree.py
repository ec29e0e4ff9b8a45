"""The directory tree and its inode numbers, derived from the table of virtual files."""

import stat
import time
import zlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final

import pyfuse3

from pylxcfs.procfiles.table import VirtualFile

#: Nothing about a node ever changes, so the kernel may remember it for as long as it likes.
_FOREVER_SECONDS: Final = 86400.0
_DIRECTORY_MODE: Final = stat.S_IFDIR | 0o555
_FILE_MODE: Final = stat.S_IFREG | 0o444


@dataclass(frozen=True, slots=True)
class Node:
    """A directory, or a virtual file; `attributes` is what the kernel is told about it."""

    attributes: pyfuse3.EntryAttributes
    file: VirtualFile | None
    children: Mapping[bytes, pyfuse3.InodeT] = field(default_factory=dict)

    @property
    def is_directory(self) -> bool:
        """Tell a directory from a file."""
        return self.file is None


def build_tree(files: Iterable[VirtualFile]) -> Mapping[pyfuse3.InodeT, Node]:
    """Return every node by its inode number."""
    by_path = {file.path: file for file in files}
    children: dict[str, dict[bytes, pyfuse3.InodeT]] = {"": {}}
    for path in sorted(by_path):
        name = path
        while name:
            parent, _, base = name.rpartition("/")
            children.setdefault(parent, {})[base.encode()] = _inode(name)
            name = parent
    created_ns = time.time_ns()
    nodes = {
        _inode(path): Node(_attributes(path, _DIRECTORY_MODE, 2, created_ns), None, below)
        for path, below in children.items()
    }
    for path, file in by_path.items():
        nodes[_inode(path)] = Node(_attributes(path, _FILE_MODE, 1, created_ns), file)
    return nodes


def _inode(path: str) -> pyfuse3.InodeT:
    """Number a path. A function of the path alone: another version of the table agrees on what both have."""
    return pyfuse3.InodeT(zlib.crc32(path.encode()) + 2) if path else pyfuse3.ROOT_INODE


def _attributes(path: str, mode: int, links: int, created_ns: int) -> pyfuse3.EntryAttributes:
    attributes = pyfuse3.EntryAttributes()
    attributes.st_ino = _inode(path)
    attributes.st_mode = pyfuse3.ModeT(mode)
    attributes.st_nlink = links
    attributes.st_size = 0
    attributes.st_atime_ns = attributes.st_mtime_ns = attributes.st_ctime_ns = created_ns
    attributes.entry_timeout = attributes.attr_timeout = _FOREVER_SECONDS
    return attributes
