"""Copies a file in one of many ways: ``python -m tests.compat.raw_reads WAY SOURCE DESTINATION``.

Each does what a program does that is named beside it, system call by system call.
"""

import io
import mmap
import os
import shutil
import struct
import sys
import tarfile
import tempfile
from collections.abc import Callable, Mapping
from ctypes import CDLL
from pathlib import Path
from typing import Final

from tests.compat.io_uring import WAYS as RING_WAYS
from tests.compat.io_uring import read_all

_BLOCK: Final = 16384
_IN_ACCESS_AND_OPEN: Final = 0x21
_PIECES: Final = 1000
#: More than a page, and no multiple of anything.
_ODD: Final = 8191


def _all_of(fd: int, size: int = 1 << 20) -> bytes:
    content = b""
    while piece := os.read(fd, size):
        content += piece
    return content


def _readinto(path: str) -> bytes:
    with open(path, "rb", buffering=0) as file:
        buffer = bytearray(os.fstat(file.fileno()).st_size + 1)
        return bytes(buffer[: file.readinto(buffer)])


def _exact(path: str) -> bytes:
    """Rust's read_exact of what metadata says; scp's loop, which fails where a file is shorter or longer."""
    fd = os.open(path, os.O_RDONLY)
    left = os.fstat(fd).st_size
    content = b""
    while left:
        piece = os.read(fd, min(_BLOCK, left))
        if not piece:
            raise EOFError(path)
        content += piece
        left -= len(piece)
    return content


def _to_the_end(path: str) -> bytes:
    """Go's os.ReadFile, Rust's fs::read, Ruby's File.read: room for the size and some more, to the end."""
    fd = os.open(path, os.O_RDONLY)
    return _all_of(fd, os.fstat(fd).st_size + 512)


def _php(path: str) -> bytes:
    """PHP's file_get_contents: stat, open, fstat, lseek, reads of 8192 to the end."""
    os.stat(path)
    fd = os.open(path, os.O_RDONLY)
    os.fstat(fd)
    os.lseek(fd, 0, os.SEEK_CUR)
    return _all_of(fd, 8192)


def _from_the_end(path: str) -> bytes:
    """C's fseek(SEEK_END), ftell, rewind, fread."""
    fd = os.open(path, os.O_RDONLY)
    size = os.lseek(fd, 0, os.SEEK_END)
    os.lseek(fd, 0, os.SEEK_SET)
    return os.read(fd, size)


def _to_file(copy: Callable[[int, int], int]) -> Callable[[str], bytes]:
    """Return what copies with a system call that takes two descriptors, again and again."""

    def read(path: str) -> bytes:
        fd = os.open(path, os.O_RDONLY)
        with tempfile.TemporaryFile() as target:
            while copy(fd, target.fileno()):
                pass
            target.seek(0)
            return target.read()

    return read


def _splice(path: str) -> bytes:
    fd = os.open(path, os.O_RDONLY)
    out, into = os.pipe()
    content = b""
    while count := os.splice(fd, into, _BLOCK):
        content += os.read(out, count)
    return content


def _go_copy(path: str) -> bytes:
    """Go's io.Copy into a file: copy_file_range, then sendfile, then read and write."""
    for way in ("copy_file_range", "sendfile"):
        try:
            content = WAYS[way](path)
        except OSError:
            continue
        if content:
            return content
    return _to_the_end(path)


def _tarfile(path: str) -> bytes:
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w") as tar:
        tar.add(path, "file")
    archive.seek(0)
    with tarfile.open(fileobj=archive) as tar:
        member = tar.extractfile("file")
        return b"" if member is None else member.read()


def _mapped(path: str) -> bytes:
    with open(path, "rb") as file, mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ) as mapped:
        return mapped[:]


def _nowait(path: str) -> bytes:
    fd = os.open(path, os.O_RDONLY)
    buffer = bytearray(1 << 20)
    return bytes(buffer[: os.preadv(fd, [buffer], 0, os.RWF_NOWAIT)])


def _reopened(path: str) -> bytes:
    handle = os.open(path, os.O_PATH)
    return _all_of(os.open(f"/proc/self/fd/{handle}", os.O_RDONLY))


def _watched(path: str) -> bytes:
    """The content, where inotify tells of the open and of the read."""
    libc = CDLL(None)
    watch = libc.inotify_init1(os.O_NONBLOCK)
    libc.inotify_add_watch(watch, path.encode(), _IN_ACCESS_AND_OPEN)
    content = Path(path).read_bytes()
    events, seen = os.read(watch, 4096), 0
    while events:
        _, mask, _, length = struct.unpack_from("=iIII", events)
        seen |= mask
        events = events[16 + length :]
    return content if seen & _IN_ACCESS_AND_OPEN == _IN_ACCESS_AND_OPEN else b""


def _ring(way: str, size: int) -> Callable[[str], bytes]:
    return lambda path: read_all(path, way, size)


WAYS: Final[Mapping[str, Callable[[str], bytes]]] = {
    "read": lambda path: Path(path).read_bytes(),
    "readinto": _readinto,
    "read of 1": lambda path: _all_of(os.open(path, os.O_RDONLY), 1),
    "exact": _exact,
    "to the end": _to_the_end,
    "php": _php,
    "from the end": _from_the_end,
    "copy_file_range": _to_file(lambda fd, to: os.copy_file_range(fd, to, _BLOCK)),
    "sendfile": _to_file(lambda fd, to: os.sendfile(to, fd, None, _BLOCK)),
    "splice": _splice,
    "go copy": _go_copy,
    "tarfile": _tarfile,
    "mmap": _mapped,
    "nowait": _nowait,
    "reopened": _reopened,
    "watched": _watched,
    **{f"{way}, pieces": _ring(way, _PIECES) for way in RING_WAYS},
    **{f"{way}, {_ODD}": _ring(way, _ODD) for way in RING_WAYS},
}


def main() -> None:
    """Copy."""
    way, source, destination = sys.argv[1:]
    if way == "shutil":
        shutil.copy(source, destination)
    else:
        content = WAYS[way](source)
        Path(destination).write_bytes(content)


if __name__ == "__main__":
    main()
