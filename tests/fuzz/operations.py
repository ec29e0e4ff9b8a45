"""Random system calls on a served tree: ``operations.py TREE SEED COUNT USER``; prints a report as JSON.

Stands alone: it changes its user, and may be killed by what it does. What the report has are the results:
for each call its errnos, how often it succeeded, and the system calls that took it as a whole.
"""

import contextlib
import ctypes
import fcntl
import json
import mmap
import os
import random
import resource
import select
import sys
from collections import Counter
from collections.abc import Callable
from typing import Any, Final

_libc: Final = ctypes.CDLL(None, use_errno=True)
_PAGE: Final = 4096
_OFFSETS: Final = (0, 1, 10, _PAGE, 1 << 31, 1 << 40, (1 << 63) - 1, (1 << 63) - _PAGE, -1, -(1 << 63))
_SIZES: Final = (0, 1, 7, 512, _PAGE, 1 << 17, 1 << 20)
_FLAGS: Final = tuple(
    getattr(os, f"O_{name}")
    for name in (
        *("WRONLY", "RDWR", "CREAT", "EXCL", "TRUNC", "APPEND", "NONBLOCK", "DSYNC", "SYNC", "ASYNC"),
        *("DIRECT", "LARGEFILE", "DIRECTORY", "NOFOLLOW", "NOATIME", "CLOEXEC", "PATH", "TMPFILE", "NOCTTY"),
    )
)
_STATX, _NAME_TO_HANDLE_AT, _OPENAT2, _GETDENTS64, _FADVISE = 332, 303, 437, 217, 221
_AT_FDCWD: Final = -100
_MAX_OPEN: Final = 40


def _check(result: int) -> int:
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    return result


class Chaos:
    """Makes calls, and keeps some of what they open."""

    def __init__(self, tree: str, seed: int) -> None:
        """Find what is in the tree."""
        self.rng = random.Random(seed)  # noqa: S311 - repeatable, no secret
        self.paths = [tree, f"{tree}/absent", f"{tree}/proc/absent", f"{tree}/proc/meminfo/below"]
        for directory, names, files in os.walk(tree):
            self.paths += [f"{directory}/{name}" for name in names + files]
        self.fds: list[int] = []

    def path(self) -> str:
        """Choose a path."""
        return self.rng.choice(self.paths)

    def fd(self) -> int:
        """Choose a descriptor; most often one that is open."""
        while not self.fds:
            with contextlib.suppress(OSError):
                self.fds.append(os.open(self.path(), os.O_RDONLY | os.O_NONBLOCK))
        return self.rng.choice(self.fds)

    def flags(self) -> int:
        """Choose flags of open(2)."""
        chosen = 0
        for flag in self.rng.sample(_FLAGS, self.rng.randrange(4)):
            chosen |= flag
        # Nothing in the tree blocks, but who knows.
        return chosen | os.O_NONBLOCK

    def offset(self) -> int:
        """Choose an offset."""
        return self.rng.choice(_OFFSETS)

    def size(self) -> int:
        """Choose a size."""
        return self.rng.choice(_SIZES)

    def open(self) -> None:
        """Open something, and keep it."""
        self.fds.append(os.open(self.path(), self.flags(), 0o666))
        if len(self.fds) > _MAX_OPEN:
            self.close()

    def close(self) -> None:
        """Close something."""
        fd = self.fd()
        self.fds.remove(fd)
        os.close(fd)

    def getdents(self) -> None:
        """List a directory in pieces that are too small."""
        buffer = ctypes.create_string_buffer(self.rng.choice((1, 20, 24, 32, 64, 300, _PAGE)))
        _check(_libc.syscall(_GETDENTS64, self.fd(), buffer, len(buffer)))

    def raw(self, number: int, *arguments: Any) -> None:  # noqa: ANN401 - ctypes
        """Make a system call that Python does not know."""
        _check(_libc.syscall(number, *arguments))

    def map(self) -> None:
        """Map a file, and have the kernel touch the memory: it says EFAULT where we would get SIGBUS."""
        kind = self.rng.choice((mmap.MAP_SHARED, mmap.MAP_PRIVATE))
        with mmap.mmap(self.fd(), _PAGE, flags=kind, prot=mmap.PROT_READ) as memory:
            self.through_a_pipe(lambda _near, far: os.write(far, memory))

    def through_a_pipe(self, call: Callable[[int, int], int]) -> None:
        """Move between a file and a pipe."""
        near, far = os.pipe2(os.O_NONBLOCK)
        try:
            call(near, far)
        finally:
            os.close(near)
            os.close(far)


def calls(chaos: Chaos) -> dict[str, Callable[[], object]]:
    """Return every call by its name."""
    rng, path, fd, offset, size = chaos.rng, chaos.path, chaos.fd, chaos.offset, chaos.size
    poller = select.poll
    buffer = ctypes.create_string_buffer(_PAGE)

    def poll() -> None:
        chosen = poller()
        chosen.register(fd(), rng.randrange(1 << 12))
        chosen.poll(0)

    return {
        "open": chaos.open,
        "close": chaos.close,
        "read": lambda: os.read(fd(), size()),
        "pread": lambda: os.pread(fd(), size(), offset()),
        "readv": lambda: os.readv(fd(), [bytearray(size()) for _ in range(rng.randrange(1, 5))]),
        "preadv2": lambda: os.preadv(fd(), [bytearray(64)], offset(), rng.randrange(32)),
        "lseek": lambda: os.lseek(fd(), offset(), rng.randrange(6)),
        "write": lambda: os.write(fd(), b"x" * size()),
        "pwrite": lambda: os.pwrite(fd(), b"some 1 1", offset()),
        "getdents": chaos.getdents,
        "mmap": chaos.map,
        "sendfile": lambda: chaos.through_a_pipe(lambda _near, far: os.sendfile(far, fd(), 0, size())),
        "splice": lambda: chaos.through_a_pipe(lambda _near, far: os.splice(fd(), far, 64)),
        "splice in": lambda: chaos.through_a_pipe(lambda near, _far: os.splice(near, fd(), 64)),
        "copy_file_range": lambda: os.copy_file_range(fd(), fd(), 64),
        "truncate": lambda: os.truncate(path(), abs(offset())),
        "ftruncate": lambda: os.ftruncate(fd(), abs(offset())),
        "fallocate": lambda: os.posix_fallocate(fd(), abs(offset()), 1 + size()),
        "chmod": lambda: os.chmod(path(), rng.randrange(1 << 12)),
        "chown": lambda: os.lchown(path(), rng.randrange(-1, 3), rng.randrange(-1, 3)),
        "utime": lambda: os.utime(path(), ns=(rng.randrange(1 << 62), 5), follow_symlinks=False),
        "rename": lambda: os.rename(path(), path()),
        "link": lambda: os.link(path(), path()),
        "symlink": lambda: os.symlink("x", path()),
        "unlink": lambda: os.unlink(path()),
        "mkdir": lambda: os.mkdir(path()),
        "rmdir": lambda: os.rmdir(path()),
        "mknod": lambda: os.mknod(path(), rng.choice((0o100666, 0o10666, 0o20666, 0o140666))),
        "readlink": lambda: os.readlink(path()),
        "stat": lambda: os.stat(path(), follow_symlinks=rng.random() < 0.5),
        "fstat": lambda: os.fstat(fd()),
        "statfs": lambda: os.statvfs(path()),
        "access": lambda: os.access(path(), rng.randrange(8)),
        "statx": lambda: chaos.raw(
            _STATX, _AT_FDCWD, path().encode(), rng.choice((0, 0x100, 0x2000, 0x4000, 0x7FFF)), 0x1FFF, buffer
        ),
        "name_to_handle_at": lambda: chaos.raw(
            _NAME_TO_HANDLE_AT, _AT_FDCWD, path().encode(), buffer, buffer, rng.choice((0, 0x200, 0x1000))
        ),
        "getxattr": lambda: os.getxattr(path(), rng.choice(("user.x", "security.capability", "system.x"))),
        "setxattr": lambda: os.setxattr(path(), rng.choice(("user.x", "trusted.x")), b"x" * (size() % 999)),
        "removexattr": lambda: os.removexattr(path(), "user.x"),
        "listxattr": lambda: os.listxattr(path()),
        "flock": lambda: fcntl.flock(fd(), rng.choice((1, 2, 8)) | fcntl.LOCK_NB),
        "lockf": lambda: fcntl.lockf(fd(), rng.choice((1, 2, 8)) | fcntl.LOCK_NB),
        "fcntl": lambda: fcntl.fcntl(fd(), rng.choice((fcntl.F_GETFL, fcntl.F_SETFL, fcntl.F_GETLEASE)), 0),
        "lease": lambda: fcntl.fcntl(fd(), fcntl.F_SETLEASE, fcntl.F_UNLCK),
        "ioctl": lambda: fcntl.ioctl(fd(), rng.choice((0x5401, 0x80086601, rng.getrandbits(32))), bytes(64)),
        "poll": poll,
        "fsync": lambda: os.fsync(fd()),
        "fadvise": lambda: os.posix_fadvise(fd(), abs(offset()), 10, rng.randrange(6)),
        "syncfs": lambda: _check(_libc.syncfs(fd())),
        "fchdir": lambda: os.fchdir(fd()),
        "exec": lambda: _check(_libc.execve(path().encode(), None, None)),
    }


def main() -> None:
    """Make the calls."""
    tree, seed, count, user = sys.argv[1], *map(int, sys.argv[2:5])
    # Nothing may be written for long, and what is written past the end is an errno, not the end of us.
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    chaos = Chaos(tree, seed)
    if user:
        os.setgroups([])
        os.setgid(user)
        os.setuid(user)
    every = calls(chaos)
    names = sorted(every)
    results: dict[str, Counter[int]] = {name: Counter() for name in names}
    for _ in range(count):
        name = chaos.rng.choice(names)
        try:
            every[name]()
            results[name][0] += 1
        except OSError as error:
            results[name][error.errno or -1] += 1
        except (ValueError, OverflowError):
            # Python itself does not make such a call.
            continue
    print(json.dumps(results))  # noqa: T201 - this is how it answers


if __name__ == "__main__":
    main()
