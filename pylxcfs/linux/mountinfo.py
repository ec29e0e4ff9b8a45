"""What is mounted where: /proc/PID/mountinfo (proc_pid_mountinfo(5)). Pure."""

import contextlib
import os
import re
from pathlib import Path
from typing import Final, NamedTuple

_OCTAL: Final = re.compile(rb"\\([0-7]{3})")
#: Before the optional fields: id, parent's id, device, root, mount point, options.
_FIELDS: Final = 6
#: After them: type, source, the superblock's options.
_KIND_FIELDS: Final = 3


class Mount(NamedTuple):
    """One line of mountinfo."""

    mount_id: int
    parent_id: int
    #: ``major:minor`` of the superblock.
    device: str
    #: What of the file system is seen at the mount point.
    root: str
    mount_point: Path
    fs_type: str
    source: str
    super_options: str
    #: Number of the peer group that what is mounted here is passed on to; None: to nobody.
    shared: int | None = None
    #: Number of the peer group that what is mounted elsewhere is received from; None: from nobody.
    master: int | None = None


def parse_mountinfo(content: bytes) -> list[Mount]:
    """Parse a mountinfo file; a line that is none is left out."""
    mounts = []
    # Not splitlines: the kernel escapes a newline in what a container has named, and no other line separator.
    for line in content.split(b"\n"):
        # "36 35 98:0 /mnt1 /mnt2 rw,noatime master:1 - ext3 /dev/root rw": the optional fields end at "-".
        front, _, back = line.partition(b" - ")
        fields, kind = front.split(b" "), back.split(b" ")
        if len(fields) < _FIELDS or len(kind) < _KIND_FIELDS:
            continue
        with contextlib.suppress(ValueError):
            mounts.append(_mount(fields, kind))
    return mounts


def _mount(fields: list[bytes], kind: list[bytes]) -> Mount:
    """Build a mount from the words of its line; raises ValueError."""
    return Mount(
        mount_id=int(fields[0]),
        parent_id=int(fields[1]),
        device=fields[2].decode(),
        root=_unescape(fields[3]),
        mount_point=Path(_unescape(fields[4])),
        fs_type=_unescape(kind[0]),
        source=_unescape(kind[1]),
        super_options=_unescape(kind[2]),
        shared=_peer_group(fields[_FIELDS:], b"shared:"),
        master=_peer_group(fields[_FIELDS:], b"master:"),
    )


def _peer_group(optional: list[bytes], tag: bytes) -> int | None:
    return next((int(field.removeprefix(tag)) for field in optional if field.startswith(tag)), None)


def _unescape(word: bytes) -> str:
    """Undo the octal escapes of space, tab, newline, backslash and ``#``."""
    return os.fsdecode(_OCTAL.sub(lambda match: bytes([int(match[1], 8)]), word))
