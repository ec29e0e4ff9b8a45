"""Reading the kernel's files."""

import errno
import os
from pathlib import Path
from typing import Final

_CHUNK: Final = 1 << 16
#: What the process (open files), the machine (open files) or its memory has no more of.
WANT_OF_RESOURCES: Final = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOMEM})


def read_boot_id(proc_root: Path) -> str:
    """Return what is different after every boot."""
    return (proc_root / "sys/kernel/random/boot_id").read_text().strip()


def read_whole(fd: int, most: int | None = None) -> bytes:
    """Read a kernel file from its start to its end, however its size is reported; or its first `most` bytes.

    A seq_file gives one record or one page per read, so only an empty read is the end. Sequential reads go
    on where the last one stopped; with pread(2) the kernel would write everything before anew each time.
    """
    os.lseek(fd, 0, os.SEEK_SET)
    parts = []
    size = 0
    while (most is None or size < most) and (part := os.read(fd, _CHUNK)):
        parts.append(part)
        size += len(part)
    return b"".join(parts)[:most]
