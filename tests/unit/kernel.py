"""The kernel's side of the FUSE protocol, as far as the unit tests need it: bytes in, bytes out."""

import errno
import os
import struct
from typing import NamedTuple

from pylxcfs.fuse.filesystem import FileSystem
from pylxcfs.fuse.wire import (
    POLL_SCHEDULE_NOTIFY,
    READ_LOCKOWNER,
    ROOT_INODE,
    Handle,
    Inode,
    Opcode,
    parse_request,
)

_HEADER = struct.Struct("=IIQQIIII")
_ENTRY = struct.Struct("=QQQQII")
_ATTR = struct.Struct("=QQQQQQIIIIIIIIII")
_DIRENT = struct.Struct("=QQII")


class Refused(Exception):  # noqa: N818 - an answer
    """The request was answered with an errno."""

    def __init__(self, number: int) -> None:
        """Take the errno."""
        super().__init__(errno.errorcode[number])
        self.number = number


class Entry(NamedTuple):
    """What is known of a node."""

    inode: Inode
    mode: int
    size: int
    entry_timeout: int
    attr_timeout: int


class Kernel:
    """Asks a file system as the kernel does."""

    def __init__(self, file_system: FileSystem) -> None:
        """Ask `file_system`."""
        self.file_system = file_system

    def ask(self, opcode: int, inode: int, body: bytes = b"", pid: int = 1) -> bytes:
        """Send one request; return its answer or raise Refused."""
        header = _HEADER.pack(_HEADER.size + len(body), opcode, 7, inode, 0, 0, pid, 0)
        number, answer = self.file_system.answer(parse_request(header + body))
        if number:
            raise Refused(number)
        return answer

    def look_up(self, directory: int, name: bytes, pid: int = 1) -> Entry:
        """Find a name."""
        answer = self.ask(Opcode.LOOKUP, directory, name + b"\0", pid)
        inode, _generation, entry_timeout, attr_timeout, _, _ = _ENTRY.unpack_from(answer)
        entry = _entry(answer[_ENTRY.size :], entry_timeout, attr_timeout)
        assert inode == entry.inode
        return entry

    def find(self, path: str, pid: int = 1) -> Entry:
        """Find a path."""
        inode: int = ROOT_INODE
        for name in path.split("/"):
            entry = self.look_up(inode, name.encode(), pid)
            inode = entry.inode
        return entry

    def get_attributes(self, inode: int, pid: int = 1) -> Entry:
        """Describe a node."""
        answer = self.ask(Opcode.GETATTR, inode, bytes(16), pid)
        (attr_timeout,) = struct.unpack_from("=Q", answer)
        return _entry(answer[16:], 0, attr_timeout)

    def read_link(self, inode: int) -> bytes:
        """Return where a link points."""
        return self.ask(Opcode.READLINK, inode)

    def open(self, path: str, flags: int = os.O_RDONLY, pid: int = 1) -> Handle:
        """Open a file."""
        return self.open_inode(self.find(path).inode, flags, pid)

    def open_inode(self, inode: int, flags: int = os.O_RDONLY, pid: int = 1) -> Handle:
        """Open a file by its inode."""
        return _handle(self.ask(Opcode.OPEN, inode, struct.pack("=II", flags, 0), pid))

    def read(self, handle: int, offset: int, size: int, read_flags: int = READ_LOCKOWNER) -> bytes:
        """Read as a process does; without the flag, as the page cache does."""
        return self.ask(Opcode.READ, 0, struct.pack("=QQIIQII", handle, offset, size, read_flags, 0, 0, 0))

    def write(self, handle: int, data: bytes) -> int:
        """Write; return how much was taken."""
        body = struct.pack("=QQIIQII", handle, 0, len(data), 0, 0, 0, 0) + data
        taken: int = struct.unpack("=II", self.ask(Opcode.WRITE, 0, body))[0]
        return taken

    def poll(self, handle: int, kernel_handle: int, flags: int = POLL_SCHEDULE_NOTIFY) -> int:
        """Poll; return the events."""
        body = struct.pack("=QQII", handle, kernel_handle, flags, 0)
        events: int = struct.unpack("=II", self.ask(Opcode.POLL, 0, body))[0]
        return events

    def release(self, handle: int) -> None:
        """Close a file."""
        self.ask(Opcode.RELEASE, 0, struct.pack("=QIIQ", handle, 0, 0, 0))

    def _read_directory(self, handle: int, start: int, size: int) -> bytes:
        return self.ask(Opcode.READDIR, 0, struct.pack("=QQIIQII", handle, start, size, 0, 0, 0, 0))

    def list(self, inode: int, pid: int, size: int) -> dict[str, int]:
        """List a directory in pieces of `size` bytes: names and file types."""
        handle = _handle(self.ask(Opcode.OPENDIR, inode, bytes(8), pid))
        names: dict[str, int] = {}
        start = 0
        while piece := self._read_directory(handle, start, size):
            while piece:
                _inode, start, length, kind = _DIRENT.unpack_from(piece)
                name = piece[_DIRENT.size : _DIRENT.size + length].decode()
                assert name not in names
                names[name] = kind << 12
                piece = piece[(_DIRENT.size + length + 7) // 8 * 8 :]
        self.ask(Opcode.RELEASEDIR, inode, struct.pack("=QIIQ", handle, 0, 0, 0))
        return names


def _handle(answer: bytes) -> Handle:
    handle, _open_flags, _backing = struct.unpack("=QII", answer)
    return Handle(handle)


def _entry(attributes: bytes, entry_timeout: int, attr_timeout: int) -> Entry:
    inode, size, *_rest = _ATTR.unpack(attributes)
    return Entry(Inode(inode), _rest[7], size, entry_timeout, attr_timeout)
