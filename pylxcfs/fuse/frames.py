"""The little of the FUSE protocol that no library does for us (the kernel's uapi/linux/fuse.h). Pure.

Everything else, from names and attributes to directory listings, is libfuse's and pyfuse3's. Byte order is
the machine's. A frame is one request as one read(2) of /dev/fuse gives it: a header, then its arguments.
"""

import errno
import struct
import sys
from enum import IntEnum
from typing import Final, NamedTuple


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
    ACCESS = 34
    CREATE = 35
    INTERRUPT = 36
    DESTROY = 38
    POLL = 40
    BATCH_FORGET = 42
    READDIRPLUS = 44
    RENAME2 = 45


#: Requests that are never answered.
UNANSWERED: Final = frozenset({Opcode.FORGET, Opcode.BATCH_FORGET, Opcode.INTERRUPT})

#: The kernel does not read into less than 8192 bytes (FUSE_MIN_READ_BUFFER), and answers requests that do
#: not go into our buffer itself (fuse_dev_do_read()): with E2BIG or EIO.
FRAME_SIZE: Final = 16384
#: What the kernel may write at once.
MAX_WRITE: Final = 4096

#: Length, opcode, unique, node, uid, gid, pid (in our pid namespace; 0 if it has none there), padding.
IN_HEADER: Final = struct.Struct("=IIQQIIII")
#: What every request is looked at for.
BEGINNING: Final = struct.Struct("=IIQ16xI4x")
OUT_HEADER: Final = struct.Struct("=IiQ")
#: Flags, padding, handle.
GETATTR_IN: Final = struct.Struct("=IIQ")
#: Set where the kernel knows the open file: for lseek(2), not for fstat(2).
_GETATTR_FH: Final = 1
#: Handle, offset, size, flags.
READ_IN: Final = struct.Struct("=QQII")
#: Where in a READ its flags' lowest byte is.
READ_FLAGS_AT: Final = IN_HEADER.size + 20 + (0 if sys.byteorder == "little" else 3)
#: Set where a process reads, not where the kernel fills its page cache (fuse_send_read(), fs/fuse/file.c).
READ_LOCKOWNER: Final = 2
#: libfuse takes the length of what is written on trust.
_SHORTEST_WRITE: Final = IN_HEADER.size + 40

MAJOR: Final = 7
#: Linux 5.4; a newer kernel goes down to it.
MINOR: Final = 31
#: Major, minor, max_readahead, flags.
_INIT_IN: Final = struct.Struct("=IIII")
_INIT_OUT: Final = struct.Struct("=IIIIHHIIHHII24x")
#: Entries come with their attributes (Linux 3.9): libfuse has this way alone, as pyfuse3 uses it.
_DO_READDIRPLUS: Final = 1 << 13
#: Reads of several at once by one process (io_uring, aio) go to their own offsets.
_ASYNC_DIO: Final = 1 << 15
#: Look-ups in one directory need not wait for each other.
_PARALLEL_DIROPS: Final = 1 << 18
#: RELEASE is one of the requests in the background, of which the kernel sends 12 at a time unless told
#: otherwise: with many readers, files that were closed would stay open here for as long as the load lasts.
_MAX_BACKGROUND: Final = 65535
_CONGESTION_THRESHOLD: Final = 49152
#: What libfuse is told to speak. From 14 on it would move requests by splice(2), two system calls for one.
_LIBRARY_MINOR: Final = 13

#: The kernel sends it a second time, for a server that has died with it (Linux 6.9).
UNIQUE_RESEND: Final = 1 << 63
#: A notification without a body: its length, FUSE_NOTIFY_RESEND, and no request's number.
RESEND: Final = OUT_HEADER.pack(OUT_HEADER.size, 7, 0)


class Header(NamedTuple):
    """The beginning of every frame."""

    length: int
    opcode: int
    unique: int
    node: int
    uid: int
    gid: int
    #: The asking thread.
    pid: int
    padding: int

    @property
    def is_resent(self) -> bool:
        """Whether another server has taken this request before and has not answered it."""
        return bool(self.unique & UNIQUE_RESEND)


#: Requests that `is_refused` may refuse.
LOOKED_INTO: Final = frozenset({int(Opcode.READ), int(Opcode.WRITE)})


def is_refused(opcode: int, frame: bytes) -> bool:
    """Tell a READ that is the kernel's own, and would share what it reads between all containers.

    And what is cut short in a way that libfuse would not notice. No kernel has ever sent that.
    """
    if opcode == Opcode.READ:
        return len(frame) <= READ_FLAGS_AT or not frame[READ_FLAGS_AT] & READ_LOCKOWNER
    return opcode == Opcode.WRITE and len(frame) < _SHORTEST_WRITE


def asked_handle(frame: bytes) -> int | None:
    """Return the handle of the open file that a GETATTR is about, None where it names none."""
    if len(frame) < IN_HEADER.size + GETATTR_IN.size:
        return None
    flags, _, handle = GETATTR_IN.unpack_from(frame, IN_HEADER.size)
    return handle if flags & _GETATTR_FH else None


def pack_error(unique: int, number: int) -> bytes:
    """Write the answer to a request that failed with the errno `number`, or succeeded with nothing (0)."""
    return OUT_HEADER.pack(OUT_HEADER.size, -number, unique)


def answer_init(frame: bytes) -> bytes:
    """Write the answer to the kernel's INIT: the older of both versions; another major one is refused."""
    unique = Header(*IN_HEADER.unpack_from(frame)).unique
    if len(frame) < IN_HEADER.size + _INIT_IN.size:
        return pack_error(unique, errno.EINVAL)
    major, minor, max_readahead, _flags = _INIT_IN.unpack_from(frame, IN_HEADER.size)
    if major != MAJOR:
        return pack_error(unique, errno.EPROTO)
    flags = _DO_READDIRPLUS | _ASYNC_DIO | _PARALLEL_DIROPS
    limits = (_MAX_BACKGROUND, _CONGESTION_THRESHOLD, MAX_WRITE, 1, 0, 0, 0, 0)
    body = _INIT_OUT.pack(MAJOR, min(minor, MINOR), max_readahead, flags, *limits)
    return OUT_HEADER.pack(OUT_HEADER.size + len(body), 0, unique) + body


def pack_library_init() -> bytes:
    """Write the INIT that libfuse is given in the kernel's place."""
    body = _INIT_IN.pack(MAJOR, _LIBRARY_MINOR, 0, _DO_READDIRPLUS)
    return IN_HEADER.pack(IN_HEADER.size + len(body), Opcode.INIT, 1, 0, 0, 0, 0, 0) + body
