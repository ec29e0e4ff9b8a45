"""The FUSE protocol as it stands on /dev/fuse (include/uapi/linux/fuse.h of the kernel). Pure.

We speak version 7.31 (Linux 5.4) and older; a newer kernel goes down to it. Byte order is the machine's.
"""

import stat
import struct
from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Final, NamedTuple, NewType

Inode = NewType("Inode", int)
Handle = NewType("Handle", int)

ROOT_INODE: Final = Inode(1)
MAJOR: Final = 7
MINOR: Final = 31


class Opcode(IntEnum):
    """What is asked for."""

    LOOKUP = 1
    FORGET = 2
    GETATTR = 3
    SETATTR = 4
    READLINK = 5
    SYMLINK = 6
    MKNOD = 8
    MKDIR = 9
    UNLINK = 10
    RMDIR = 11
    RENAME = 12
    LINK = 13
    OPEN = 14
    READ = 15
    WRITE = 16
    STATFS = 17
    RELEASE = 18
    FSYNC = 20
    LISTXATTR = 23
    FLUSH = 25
    INIT = 26
    OPENDIR = 27
    READDIR = 28
    RELEASEDIR = 29
    FSYNCDIR = 30
    CREATE = 35
    INTERRUPT = 36
    DESTROY = 38
    POLL = 40
    BATCH_FORGET = 42
    RENAME2 = 45


#: Requests that are never answered.
UNANSWERED: Final = frozenset({Opcode.FORGET, Opcode.BATCH_FORGET, Opcode.INTERRUPT})

#: Look-ups in one directory need not wait for each other.
INIT_PARALLEL_DIROPS: Final = 1 << 18
#: The file's content is never in the page cache.
OPEN_DIRECT_IO: Final = 1
#: Set where a process reads, not where the kernel fills its page cache (fuse_send_read(), fs/fuse/file.c).
READ_LOCKOWNER: Final = 2
#: Somebody waits: a notification has to follow.
POLL_SCHEDULE_NOTIFY: Final = 1
#: In place of an errno in a message that answers nothing.
_NOTIFY_POLL: Final = 1
SETATTR_MODE: Final = 1
SETATTR_UID: Final = 2
SETATTR_GID: Final = 4

#: The kernel does not read into less than this (FUSE_MIN_READ_BUFFER), nor write more than we say.
MAX_WRITE: Final = 4096
BUFFER_SIZE: Final = 16384

IN_HEADER: Final = struct.Struct("=IIQQIIII")
OUT_HEADER: Final = struct.Struct("=IiQ")
INIT_IN: Final = struct.Struct("=IIII")
SETATTR_IN: Final = struct.Struct("=II")
MKNOD_IN: Final = struct.Struct("=IIII")
RENAME_IN: Final = struct.Struct("=Q")
RENAME2_IN: Final = struct.Struct("=QII")
OPEN_IN: Final = struct.Struct("=II")
READ_IN: Final = struct.Struct("=QQII")
WRITE_IN: Final = struct.Struct("=QQII8xI4x")
POLL_IN: Final = struct.Struct("=QQII")
HANDLE_IN: Final = struct.Struct("=Q")
_INIT_OUT: Final = struct.Struct("=IIIIHHIIHHII24x")
_ENTRY_OUT: Final = struct.Struct("=QQQQII")
_ATTR_OUT: Final = struct.Struct("=QII")
_ATTR: Final = struct.Struct("=QQQQQQIIIIIIIIII")
_OPEN_OUT: Final = struct.Struct("=QII")
_WRITE_OUT: Final = struct.Struct("=II")
_POLL_OUT: Final = struct.Struct("=II")
_NOTIFY_POLL_OUT: Final = struct.Struct("=Q")
_STATFS_OUT: Final = struct.Struct("=QQQQQIIII24x")
_LISTXATTR_OUT: Final = struct.Struct("=II")
_DIRENT: Final = struct.Struct("=QQII")


_NSEC: Final = 1_000_000_000
_BLOCK: Final = 4096
_NAME_MAX: Final = 255


class Request(NamedTuple):
    """One request: what, about which node, by which thread (in our pid namespace; 0 if it has none there)."""

    opcode: int
    unique: int
    inode: Inode
    pid: int
    message: bytes

    @property
    def name(self) -> bytes:
        """The name that is all the request consists of."""
        return self.name_after(0)

    def name_after(self, size: int) -> bytes:
        """The name after a fixed part of `size` bytes."""
        return self.message[IN_HEADER.size + size :].partition(b"\0")[0]

    def data_after(self, size: int) -> bytes:
        """Return what follows a fixed part of `size` bytes."""
        return self.message[IN_HEADER.size + size :]

    def unpack(self, layout: struct.Struct) -> tuple[int, ...]:
        """Return the fixed part."""
        return layout.unpack_from(self.message, IN_HEADER.size)


@dataclass(frozen=True, slots=True)
class Attributes:
    """What the kernel is told about a node; timeouts are seconds that it may remember the name and this."""

    inode: Inode
    mode: int
    nlink: int = 1
    uid: int = 0
    gid: int = 0
    size: int = 0
    atime_ns: int = 0
    mtime_ns: int = 0
    ctime_ns: int = 0
    entry_timeout: int = 0
    attr_timeout: int = 0
    _packed: bytes = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        """Write it down once: most nodes never change."""
        seconds = (self.atime_ns // _NSEC, self.mtime_ns // _NSEC, self.ctime_ns // _NSEC)
        rests = (self.atime_ns % _NSEC, self.mtime_ns % _NSEC, self.ctime_ns % _NSEC)
        owner = (self.mode, self.nlink, self.uid, self.gid)
        packed = _ATTR.pack(self.inode, self.size, 0, *seconds, *rests, *owner, 0, _BLOCK, 0)
        object.__setattr__(self, "_packed", packed)

    def pack_entry(self) -> bytes:
        """Write a fuse_entry_out."""
        return _ENTRY_OUT.pack(self.inode, 0, self.entry_timeout, self.attr_timeout, 0, 0) + self._packed

    def pack_attributes(self) -> bytes:
        """Write a fuse_attr_out."""
        return _ATTR_OUT.pack(self.attr_timeout, 0, 0) + self._packed


def parse_request(message: bytes) -> Request:
    """Take a request's header apart."""
    _length, opcode, unique, inode, _uid, _gid, pid, _extensions = IN_HEADER.unpack_from(message)
    return Request(opcode, unique, Inode(inode), pid, message)


def pack_init(minor: int, max_readahead: int) -> bytes:
    """Write a fuse_init_out."""
    flags = INIT_PARALLEL_DIROPS
    return _INIT_OUT.pack(MAJOR, min(minor, MINOR), max_readahead, flags, 0, 0, MAX_WRITE, 1, 0, 0, 0, 0)


def pack_open(handle: Handle, flags: int) -> bytes:
    """Write a fuse_open_out."""
    return _OPEN_OUT.pack(handle, flags, 0)


def parse_open(body: bytes) -> Handle:
    """Return the handle in a fuse_open_out."""
    return Handle(_OPEN_OUT.unpack(body)[0])


def pack_write(size: int) -> bytes:
    """Write a fuse_write_out: so many bytes were taken."""
    return _WRITE_OUT.pack(size, 0)


def pack_poll(events: int) -> bytes:
    """Write a fuse_poll_out; events as poll(2) has them."""
    return _POLL_OUT.pack(events, 0)


def pack_notify_poll(kernel_handle: int) -> bytes:
    """Write a message that wakes those who poll a file; the kernel then asks what has happened."""
    size = OUT_HEADER.size + _NOTIFY_POLL_OUT.size
    return OUT_HEADER.pack(size, _NOTIFY_POLL, 0) + _NOTIFY_POLL_OUT.pack(kernel_handle)


def pack_statfs() -> bytes:
    """Write a fuse_statfs_out for a file system without blocks, as procfs is."""
    return _STATFS_OUT.pack(0, 0, 0, 0, 0, _BLOCK, _NAME_MAX, _BLOCK, 0)


def pack_no_xattrs(size: int) -> bytes:
    """Write the answer that there are no extended attributes; `size` 0 asks how long the list is."""
    return b"" if size else _LISTXATTR_OUT.pack(0, 0)


def pack_directory(entries: Iterable[tuple[bytes, Attributes]], start: int, size: int) -> bytes:
    """Write fuse_dirents, from entry number `start` on and as many as go into `size` bytes."""
    packed = b""
    for number, (name, attributes) in enumerate(entries, start=1):
        if number <= start:
            continue
        kind = stat.S_IFMT(attributes.mode) >> 12
        entry = _DIRENT.pack(attributes.inode, number, len(name), kind) + name
        entry += bytes(-len(entry) % 8)
        if len(packed) + len(entry) > size:
            break
        packed += entry
    return packed
