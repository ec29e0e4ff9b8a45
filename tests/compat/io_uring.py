"""Reads a file through io_uring(7), by its system calls: liburing is not needed for one request at a time."""

import ctypes
import mmap
import os
import struct
from typing import Final

_SETUP: Final = 425
_ENTER: Final = 426
_REGISTER: Final = 427
_REGISTER_BUFFERS: Final = 0
_GETEVENTS: Final = 1
_OFF_SQ_RING: Final = 0
_OFF_CQ_RING: Final = 0x8000000
_OFF_SQES: Final = 0x10000000
_ENTRIES: Final = 1
_RING_BYTES: Final = 4096
#: Operation of each way to read (enum io_uring_op).
WAYS: Final = {"read": 22, "readv": 1, "read_fixed": 4}

_libc = ctypes.CDLL(None, use_errno=True)


def _call(number: int, *arguments: object) -> int:
    result: int = _libc.syscall(number, *arguments)
    if result < 0:
        error = ctypes.get_errno()
        raise OSError(error, os.strerror(error))
    return result


class Ring:
    """A ring for one request at a time."""

    def __init__(self) -> None:
        """Set it up; raises OSError where io_uring is not allowed."""
        parameters = ctypes.create_string_buffer(120)
        self._fd = _call(_SETUP, _ENTRIES, parameters)
        # struct io_uring_params: 40 bytes, then ten fields of each of both rings.
        self._sq = struct.unpack_from("=10I", parameters, 40)
        self._cq = struct.unpack_from("=10I", parameters, 80)
        self._requests = mmap.mmap(self._fd, _RING_BYTES, offset=_OFF_SQ_RING)
        self._answers = mmap.mmap(self._fd, _RING_BYTES, offset=_OFF_CQ_RING)
        self._entry = mmap.mmap(self._fd, _RING_BYTES, offset=_OFF_SQES)

    def read(self, fd: int, way: str, offset: int, size: int) -> bytes:
        """Read once; raises OSError."""
        buffer = ctypes.create_string_buffer(size)
        address = ctypes.addressof(buffer)
        vector = ctypes.create_string_buffer(struct.pack("=QQ", address, size), 16)
        vector_address = ctypes.addressof(vector)
        if way == "read_fixed":
            _call(_REGISTER, self._fd, _REGISTER_BUFFERS, ctypes.c_void_p(vector_address), 1)
        where, length = (vector_address, 1) if way == "readv" else (address, size)
        struct.pack_into("=BBHiQQI36x", self._entry, 0, WAYS[way], 0, 0, fd, offset, where, length)
        _head, tail_at, mask_at, _entries, _flags, _dropped, array_at, *_ = self._sq
        (tail,) = struct.unpack_from("=I", self._requests, tail_at)
        (mask,) = struct.unpack_from("=I", self._requests, mask_at)
        struct.pack_into("=I", self._requests, array_at + 4 * (tail & mask), 0)
        struct.pack_into("=I", self._requests, tail_at, tail + 1)
        _call(_ENTER, self._fd, 1, 1, _GETEVENTS, None, 0)
        result = self._take_answer()
        if way == "read_fixed":
            _call(_REGISTER, self._fd, _REGISTER_BUFFERS + 1, None, 0)
        if result < 0:
            raise OSError(-result, os.strerror(-result))
        return buffer.raw[:result]

    def _take_answer(self) -> int:
        head_at, _tail, mask_at, _entries, _overflow, entries_at, *_ = self._cq
        (head,) = struct.unpack_from("=I", self._answers, head_at)
        (mask,) = struct.unpack_from("=I", self._answers, mask_at)
        _user_data, result, _flags = struct.unpack_from(
            "=QiI", self._answers, entries_at + 16 * (head & mask)
        )
        struct.pack_into("=I", self._answers, head_at, head + 1)
        return int(result)


def read_all(path: str, way: str, size: int) -> bytes:
    """Read a file in pieces."""
    ring = Ring()
    fd = os.open(path, os.O_RDONLY)
    content = b""
    while piece := ring.read(fd, way, len(content), size):
        content += piece
    return content
