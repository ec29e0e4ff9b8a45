"""Runs inside a container: uses memory, CPUs and disks as told, and reads files in an order that brackets.

One JSON list ``[task, argument]`` a line on standard input, one JSON answer a line on standard output. It
needs the standard library alone, and reads with plain system calls, so as to change little of what it sees.
"""

import contextlib
import ctypes
import errno
import json
import mmap
import os
import sys
import time
from typing import Any

MIB = 1 << 20
_MADV_HUGEPAGE = 14
_DISK_PASSES = 2

_kept: list[Any] = []
_burning: list[int] = []


def text_of(path: str) -> str | None:
    """Return what a file holds, a directory's names, or None where there is neither."""
    try:
        if os.path.isdir(path):
            return "\n".join(sorted(os.listdir(path)))
        file = os.open(path, os.O_RDONLY)
    except OSError:
        return None
    parts = []
    try:
        while part := os.read(file, 1 << 16):
            parts.append(part)
    except OSError:
        return None
    finally:
        os.close(file)
    return b"".join(parts).decode()


def fill(mib: int) -> None:
    """Take anonymous memory: pages of zeros could be shared."""
    memory = mmap.mmap(-1, mib * MIB, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    for offset in range(0, mib * MIB, mmap.PAGESIZE):
        memory[offset] = 1 + offset % 251
    _kept.append(memory)


def reread(mib: int) -> None:
    """Read the beginning of what was filled first."""
    sum(_kept[0][: mib * MIB : mmap.PAGESIZE])


def lock(mib: int) -> None:
    """Take anonymous memory that cannot be reclaimed."""
    memory = mmap.mmap(-1, mib * MIB, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    memory[:] = b"l" * (mib * MIB)
    address = ctypes.addressof(ctypes.c_char.from_buffer(memory))
    if ctypes.CDLL(None).mlock(ctypes.c_void_p(address), ctypes.c_size_t(mib * MIB)):
        raise OSError("mlock")
    _kept.append(memory)


def huge(mib: int) -> None:
    """Take anonymous memory in huge pages, where the kernel has them."""
    memory = mmap.mmap(-1, mib * MIB, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    with contextlib.suppress(OSError):
        memory.madvise(_MADV_HUGEPAGE)
    for offset in range(0, mib * MIB, mmap.PAGESIZE):
        memory[offset] = 1 + offset % 251
    _kept.append(memory)


def share(mib: int) -> None:
    """Take shared memory."""
    file = os.memfd_create("share")
    for _ in range(mib):
        os.write(file, b"s" * MIB)
    _kept.append(file)


def cache(path: str, mib: int) -> None:
    """Fill page cache with a file that is on the disk already, and map half of it."""
    dirty(path, mib)
    with open(path, "r+b") as file:
        os.fsync(file.fileno())
        memory = mmap.mmap(file.fileno(), max(1, mib // 2) * MIB, prot=mmap.PROT_READ)
        sum(memory[:: mmap.PAGESIZE])
        _kept.append(memory)


def dirty(path: str, mib: int) -> None:
    """Fill page cache with a file that still has to be written."""
    with open(path, "wb") as file:
        file.writelines(b"d" * MIB for _ in range(mib))


def disk(path: str, mib: int) -> None:
    """Write a file or device past the page cache, so that it is counted to who writes, and read half."""
    with mmap.mmap(-1, MIB) as buffer:
        file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_DIRECT, 0o600)
        for number in range(mib):
            os.pwritev(file, [buffer], number * MIB)
        for number in range(mib // _DISK_PASSES):
            os.preadv(file, [buffer], number * MIB)
        os.close(file)


def burn(count: int) -> None:
    """Keep so many processes busy until this one ends."""
    parent = os.getpid()
    for _ in range(count):
        child = os.fork()
        if not child:
            while os.getppid() == parent:
                pass
            os._exit(0)
        _burning.append(child)


def spend(seconds: float) -> None:
    """Use the CPU for a while."""
    until = time.process_time() + seconds
    while time.process_time() < until:
        pass


def _last_pid() -> int:
    """Return the highest number of a task here."""
    tasks = [0]
    for name in os.listdir("/proc"):
        if name.isdecimal():
            with contextlib.suppress(OSError):
                tasks += map(int, os.listdir(f"/proc/{name}/task"))
    return max(tasks)


def _size(path: str) -> int | str:
    """Return what stat(2) says; of a file "exact" where that is the length of what is read."""
    if os.path.isdir(path):
        return os.stat(path).st_size
    fd = os.open(path, os.O_RDONLY)
    size = os.fstat(fd).st_size
    is_exact = size == len(os.read(fd, 1 << 20))
    os.close(fd)
    return "exact" if is_exact else size


def _attributes(path: str, size: int | str) -> dict[str, int | str]:
    """Return what stat(2) and open(2) say of a file."""
    attributes: dict[str, int | str] = {"size": size, "mode": f"{os.stat(path).st_mode:o}"}
    if not os.path.isdir(path):
        try:
            os.close(os.open(path, os.O_WRONLY))
            attributes["opened for writing"] = "yes"
        except OSError as error:
            attributes["opened for writing"] = errno.errorcode.get(error.errno or 0, "")
    return attributes


def _kernel(files: dict[str, str]) -> dict[str, str]:
    """Return what the cgroups say, and the clock."""
    seen = {name: content for name, path in files.items() if (content := text_of(path)) is not None}
    seen["boottime"] = str(time.clock_gettime(time.CLOCK_BOOTTIME))
    return seen


def observe(trees: dict[str, str], files: list[str], kernel: dict[str, dict[str, str]]) -> dict[str, Any]:
    """Read each file between two reads of lxcfs', between two of the host's, between two of the cgroups."""
    seen: dict[str, Any] = {"init": text_of("/proc/1/stat"), "last pid": _last_pid(), "files": {}}
    for name in files:
        host, theirs, ours = (f"{trees[tree]}/{name}" for tree in ("host", "theirs", "ours"))
        cgroup = kernel.get(name, {})
        before = _kernel(cgroup), text_of(host), text_of(theirs)
        shown = text_of(ours)
        after = text_of(theirs), text_of(host), _kernel(cgroup)
        seen["files"][name] = {
            "ours": shown,
            "theirs": [before[2], after[0]],
            "host": [before[1], after[1]],
            "kernel": [before[0], after[2]],
            "attributes": [_attributes(ours, _size(ours)), _attributes(theirs, os.stat(theirs).st_size)],
        }
    return seen


def main() -> None:
    """Do one task after the other until standard input ends."""
    tasks = {
        task.__name__: task
        for task in (fill, reread, lock, huge, share, cache, dirty, disk, burn, spend, observe)
    }
    for line in sys.stdin:
        task, arguments = json.loads(line)
        print(json.dumps(tasks[task](*arguments)), flush=True)
    for child in _burning:
        os.kill(child, 9)


if __name__ == "__main__":
    main()
