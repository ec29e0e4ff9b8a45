"""The kernel's side of the FUSE protocol, as far as the tests need it: bytes in, bytes out.

What answers is the real thing from the gate on: a serving thread, libfuse, pyfuse3 and our handlers. A socket
stands for /dev/fuse: like that, each read gives one message, and so does each write.
"""

import errno
import os
import select
import socket
import struct
import threading
from collections.abc import Callable, Iterable
from typing import NamedTuple, Self

from pylxcfs.fuse import driver
from pylxcfs.fuse.frames import IN_HEADER, READ_LOCKOWNER, Opcode
from pylxcfs.fuse.gate import Gate
from pylxcfs.fuse.loop import Loop
from pylxcfs.fuse.node import ROOT_INODE, Inode
from pylxcfs.fuse.operations import ANSWERED, Operations
from pylxcfs.fuse.partial_reads import Handle

_OUT = struct.Struct("=IiQ")
_ENTRY = struct.Struct("=QQQQII")
_ATTR = struct.Struct("=QQQQQQIIIIIIIIII")
_DIRENT = struct.Struct("=QQII")
POLL_SCHEDULE_NOTIFY = 1
_NOTIFY_POLL = 1
_LARGEST = 1 << 20


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
    """Asks handlers as the kernel does. There can be one at a time: pyfuse3 has one session."""

    def __init__(self, build: Callable[[Gate], Operations], passed_on: Iterable[int] = ANSWERED) -> None:
        """Have the handlers that `build` makes served in a thread."""
        self._end, self._device = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._device.setblocking(False)  # noqa: FBT003 - the socket's own interface
        self._unique = 100
        self.loop = Loop(self._device.fileno())
        self.gate = Gate(self._device.fileno(), self.loop, passed_on)
        self.operations = build(self.gate)
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()

    def __enter__(self) -> Self:
        """Be asked."""
        return self

    def __exit__(self, *_exception: object) -> None:
        """End serving."""
        self.close()

    def close(self) -> None:
        """End serving."""
        self.loop.stop()
        self._thread.join()
        self.gate.close()
        self.loop.close()
        self._device.close()
        self._end.close()

    def send(self, message: bytes) -> None:
        """Send anything."""
        self._end.send(message)

    def receive(self) -> tuple[int, int, bytes]:
        """Return the next answer: number of the request, errno (or code of a notification), body."""
        answer = self._end.recv(_LARGEST)
        length, number, unique = _OUT.unpack_from(answer)
        assert length == len(answer)
        return unique, -number, answer[_OUT.size :]

    def ask(self, opcode: int, inode: int, body: bytes = b"", pid: int = 1) -> bytes:
        """Send one request; return its answer or raise Refused."""
        self._unique += 2
        self.send(
            IN_HEADER.pack(IN_HEADER.size + len(body), opcode, self._unique, inode, 0, 0, pid, 0) + body
        )
        unique, number, answer = self.receive()
        assert unique == self._unique
        if number:
            raise Refused(number)
        return answer

    def wait_for_notification(self) -> int:
        """Return whom a notification wakes who polls."""
        unique, number, body = self.receive()
        assert (0, -_NOTIFY_POLL) == (unique, number)
        (kernel_handle,) = struct.unpack("=Q", body)
        assert isinstance(kernel_handle, int)
        return kernel_handle

    def is_silent(self) -> bool:
        """Tell whether there is no answer."""
        poller = select.poll()
        poller.register(self._end, select.POLLIN)
        return not poller.poll(0)

    def look_up(self, directory: int, name: bytes, pid: int = 1) -> Entry:
        """Find a name."""
        return _parse_entry(self.ask(Opcode.LOOKUP, directory, name + b"\0", pid))

    def find(self, path: str, pid: int = 1) -> Entry:
        """Find a path."""
        inode: int = ROOT_INODE
        for name in path.split("/"):
            entry = self.look_up(inode, name.encode(), pid)
            inode = entry.inode
        return entry

    def get_attributes(self, inode: int, pid: int = 1, handle: int | None = None) -> Entry:
        """Describe a node; with a `handle`, as lseek(2) does for it."""
        about = struct.pack("=IIQ", handle is not None, 0, handle or 0)
        answer = self.ask(Opcode.GETATTR, inode, about, pid)
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

    def read(
        self, handle: int, offset: int, size: int, read_flags: int = READ_LOCKOWNER, inode: int = 0
    ) -> bytes:
        """Read as a process does; without the flag, as the page cache does."""
        body = struct.pack("=QQIIQII", handle, offset, size, read_flags, 0, 0, 0)
        return self.ask(Opcode.READ, inode, body)

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

    def _read_directory(self, handle: int, inode: int, start: int, size: int, pid: int) -> bytes:
        body = struct.pack("=QQIIQII", handle, start, size, 0, 0, 0, 0)
        return self.ask(Opcode.READDIRPLUS, inode, body, pid)

    def list(self, inode: int, pid: int, size: int) -> dict[str, int]:
        """List a directory in pieces of `size` bytes: names and file types."""
        handle = _handle(self.ask(Opcode.OPENDIR, inode, bytes(8), pid))
        names: dict[str, int] = {}
        start = 0
        while piece := self._read_directory(handle, inode, start, size, pid):
            while piece:
                before = _ENTRY.size + _ATTR.size
                entry = _parse_entry(piece[:before])
                numbered, start, length, kind = _DIRENT.unpack_from(piece, before)
                before += _DIRENT.size
                name = piece[before : before + length].decode()
                assert name not in names
                assert (entry.inode, entry.mode & 0o170000) == (numbered, kind << 12)
                names[name] = kind << 12
                piece = piece[(before + length + 7) // 8 * 8 :]
        self.ask(Opcode.RELEASEDIR, inode, struct.pack("=QIIQ", handle, 0, 0, 0))
        return names

    def _serve(self) -> None:
        try:
            driver.serve(self.operations, self.operations, self.gate)
        finally:
            # Whoever waits for an answer is told.
            self._device.shutdown(socket.SHUT_RDWR)


def _handle(answer: bytes) -> Handle:
    handle, _open_flags, _backing = struct.unpack("=QII", answer)
    return Handle(handle)


def _parse_entry(answer: bytes) -> Entry:
    inode, _generation, entry_timeout, attr_timeout, _, _ = _ENTRY.unpack_from(answer)
    entry = _entry(answer[_ENTRY.size :], entry_timeout, attr_timeout)
    assert inode == entry.inode
    return entry


def _entry(attributes: bytes, entry_timeout: int, attr_timeout: int) -> Entry:
    inode, size, *_rest = _ATTR.unpack(attributes)
    return Entry(Inode(inode), _rest[7], size, entry_timeout, attr_timeout)
