"""What an inode number stands for."""

import stat
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, NewType

import pyfuse3

from pylxcfs.procfiles.table import VirtualFile

Inode = NewType("Inode", int)

ROOT_INODE: Final = Inode(pyfuse3.ROOT_INODE)


@dataclass(frozen=True, slots=True)
class Node:
    """A directory, a virtual file, or an entry of the host's; `attributes` is what the kernel is told."""

    attributes: pyfuse3.EntryAttributes
    file: VirtualFile | None = None
    children: Mapping[bytes, Inode] = field(default_factory=dict)
    #: Answers as the kernel's /sys does, elsewhere as its /proc.
    in_sysfs: bool = False
    #: Below the host's tree; a directory with it has the host's entries besides its children.
    host_path: str | None = None
    #: The CPU whose directory this is, or is in: it is there only for those who see that CPU.
    cpu: int | None = None
    #: The NUMA node whose directory this is, or is in, likewise.
    numa: int | None = None

    @property
    def is_directory(self) -> bool:
        """Tell a directory from everything else."""
        return stat.S_ISDIR(self.attributes.st_mode)
