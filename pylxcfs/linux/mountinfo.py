"""What is mounted where: /proc/PID/mountinfo (proc_pid_mountinfo(5)). Pure.

Imports next to nothing: the holder does without much of the standard library.
"""

import sys
from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from pathlib import Path

#: Before the optional fields: id, parent's id, device, root, mount point, options.
_FIELDS: Final = 6
#: After them: type, source, the superblock's options.
_KIND_FIELDS: Final = 3
#: The line of fdinfo that names a mount.
_MOUNT_ID: Final = b"mnt_id:"
_OCTAL_DIGITS: Final = frozenset(b"01234567")
_ESCAPE_DIGITS: Final = 3
#: As os.fsdecode has it.
_ENCODING: Final = sys.getfilesystemencoding()
_ERRORS: Final = sys.getfilesystemencodeerrors()


class Mount(NamedTuple):
    """One line of mountinfo."""

    mount_id: int
    parent_id: int
    #: ``major:minor`` of the superblock.
    device: str
    #: What of the file system is seen at the mount point.
    root: str
    point: str
    fs_type: str
    source: str
    super_options: str
    #: Number of the peer group that what is mounted here is passed on to; None: to nobody.
    shared: int | None = None
    #: Number of the peer group that what is mounted elsewhere is received from; None: from nobody.
    master: int | None = None

    @property
    def mount_point(self) -> "Path":
        """Where it is mounted, as a path."""
        from pathlib import Path  # noqa: PLC0415 - see above

        return Path(self.point)


def split_line(line: bytes) -> tuple[list[bytes], list[bytes]] | None:
    """Split a line into the words before its ``-`` and those after it, escaped as they are; None for no line.

    At least six words, the optional fields after them, stand before; at least type, source and options after.
    """
    # "36 35 98:0 /mnt1 /mnt2 rw,noatime master:1 - ext3 /dev/root rw": the optional fields end at "-".
    front, _, back = line.partition(b" - ")
    fields, kind = front.split(b" "), back.split(b" ")
    return None if len(fields) < _FIELDS or len(kind) < _KIND_FIELDS else (fields, kind)


def parse_line(line: bytes) -> Mount | None:
    """Parse one line, without its end; None if it is none."""
    words = split_line(line)
    try:
        return None if words is None else _mount(*words)
    except (ValueError, OverflowError):
        return None


def parse_mountinfo(content: bytes) -> list[Mount]:
    """Parse a mountinfo file; a line that is none is left out."""
    # Not splitlines: the kernel escapes a newline in what a container has named, and no other line separator.
    return [mount for line in content.split(b"\n") if (mount := parse_line(line)) is not None]


def unescape(word: bytes) -> str:
    """Undo the octal escapes of space, tab, newline, backslash and ``#``."""
    if b"\\" in word:
        first, *escaped = word.split(b"\\")
        word = b"".join((first, *map(_unescape, escaped)))
    return word.decode(_ENCODING, _ERRORS)


def _unescape(part: bytes) -> bytes:
    """Return what a backslash and `part` stand for."""
    digits = part[:_ESCAPE_DIGITS]
    if len(digits) == _ESCAPE_DIGITS and _OCTAL_DIGITS.issuperset(digits):
        return int(digits, 8).to_bytes() + part[_ESCAPE_DIGITS:]
    return b"\\" + part


def _mount(fields: list[bytes], kind: list[bytes]) -> Mount:
    """Build a mount from the words of its line; raises ValueError."""
    shared = master = None
    if len(fields) > _FIELDS:
        shared, master = _peer_group(fields, b"shared:"), _peer_group(fields, b"master:")
    return Mount(
        int(fields[0]),
        int(fields[1]),
        fields[2].decode(),
        unescape(fields[3]),
        unescape(fields[4]),
        unescape(kind[0]),
        unescape(kind[1]),
        unescape(kind[2]),
        shared,
        master,
    )


def _peer_group(fields: list[bytes], tag: bytes) -> int | None:
    found = (int(field.removeprefix(tag)) for field in fields[_FIELDS:] if field.startswith(tag))
    return next(found, None)


def parse_mount_id(fdinfo: bytes) -> bytes | None:
    """Return the number of the mount that an open file is in, as /proc/PID/mountinfo writes it.

    Source: the line mnt_id of /proc/PID/fdinfo/FD (proc_pid_fdinfo(5)), since Linux 3.15; None without it.
    """
    for line in fdinfo.split(b"\n"):
        if line.startswith(_MOUNT_ID):
            return line.removeprefix(_MOUNT_ID).strip()
    return None
