"""Every operation that /proc does not support is answered as the kernel's own /proc answers it."""

import ctypes
import errno
import fcntl
import json
import os
import select
import traceback
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

import pytest

from tests.support.daemon import Daemon

NOBODY: Final = 65534
_PROT_READ: Final = 1
_MAP_SHARED: Final = 1
_TCGETS: Final = 0x5401
_POLLED: Final = select.POLLIN | select.POLLOUT | select.POLLPRI

#: (proc directory, meminfo's path, a descriptor open on meminfo) -> something that JSON can carry.
Operation = Callable[[str, str, int], object]


def _open(flags: int) -> Operation:
    return lambda _proc, file, _fd: os.close(os.open(file, flags))


def _write(_proc: str, file: str, _fd: int) -> object:
    descriptor = os.open(file, os.O_WRONLY)
    try:
        return os.write(descriptor, b"x")
    finally:
        os.close(descriptor)


def _open_absent(flags: int) -> Operation:
    return lambda proc, _file, _fd: os.close(os.open(f"{proc}/absent", flags))


def _read_directory(proc: str, _file: str, _fd: int) -> object:
    descriptor = os.open(proc, os.O_RDONLY)
    try:
        return os.read(descriptor, 10).decode()
    finally:
        os.close(descriptor)


def _map_shared(_proc: str, _file: str, fd: int) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    libc.mmap.restype = ctypes.c_void_p
    libc.mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t, *[ctypes.c_int] * 3, ctypes.c_long]
    address = libc.mmap(None, 4096, _PROT_READ, _MAP_SHARED, fd, 0)
    if address == ctypes.c_void_p(-1).value:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


def _poll(_proc: str, _file: str, fd: int) -> object:
    poller = select.poll()
    poller.register(fd, _POLLED)
    return [events for _, events in poller.poll(0)]


OPERATIONS: Final[Mapping[str, Operation]] = {
    "open for writing": _open(os.O_WRONLY),
    "open for reading and writing": _open(os.O_RDWR),
    "write": _write,
    "open and truncate": _open(os.O_WRONLY | os.O_TRUNC),
    "open for appending": _open(os.O_WRONLY | os.O_APPEND),
    "open or create, present": _open(os.O_RDONLY | os.O_CREAT),
    "create, present": _open(os.O_RDONLY | os.O_CREAT | os.O_EXCL),
    "open as a directory": _open(os.O_RDONLY | os.O_DIRECTORY),
    "open without following": _open(os.O_RDONLY | os.O_NOFOLLOW),
    "open without blocking": _open(os.O_RDONLY | os.O_NONBLOCK),
    "open path only": _open(os.O_PATH),
    "truncate": lambda _proc, file, _fd: os.truncate(file, 0),
    "create, absent": _open_absent(os.O_WRONLY | os.O_CREAT),
    "open, absent": _open_absent(os.O_RDONLY),
    "mkdir, absent": lambda proc, _file, _fd: os.mkdir(f"{proc}/absent"),
    "mkdir, present": lambda _proc, file, _fd: os.mkdir(file),
    "unlink": lambda _proc, file, _fd: os.unlink(file),
    "unlink, absent": lambda proc, _file, _fd: os.unlink(f"{proc}/absent"),
    "rmdir of a file": lambda _proc, file, _fd: os.rmdir(file),
    "rmdir, absent": lambda proc, _file, _fd: os.rmdir(f"{proc}/absent"),
    "rename to an absent name": lambda proc, file, _fd: os.rename(file, f"{proc}/absent"),
    "rename to a present name": lambda proc, file, _fd: os.rename(file, f"{proc}/stat"),
    "link": lambda proc, file, _fd: os.link(file, f"{proc}/absent"),
    "symlink, absent": lambda proc, _file, _fd: os.symlink("target", f"{proc}/absent"),
    "symlink, present": lambda _proc, file, _fd: os.symlink("target", file),
    "mknod, absent": lambda proc, _file, _fd: os.mknod(f"{proc}/absent"),
    "mknod, present": lambda _proc, file, _fd: os.mknod(file),
    "readlink": lambda _proc, file, _fd: os.readlink(file),
    "chmod": lambda _proc, file, _fd: os.chmod(file, 0o444),
    "chown": lambda _proc, file, _fd: os.chown(file, 0, 0),
    "utime": lambda _proc, file, _fd: os.utime(file),
    "getxattr": lambda _proc, file, _fd: os.getxattr(file, "user.x"),
    "setxattr": lambda _proc, file, _fd: os.setxattr(file, "user.x", b"1"),
    "listxattr": lambda _proc, file, _fd: os.listxattr(file),
    "removexattr": lambda _proc, file, _fd: os.removexattr(file, "user.x"),
    "may be read": lambda _proc, file, _fd: os.access(file, os.R_OK),
    "may be written": lambda _proc, file, _fd: os.access(file, os.W_OK),
    "may be executed": lambda _proc, file, _fd: os.access(file, os.X_OK),
    "directory may be written": lambda proc, _file, _fd: os.access(proc, os.W_OK),
    "directory may be searched": lambda proc, _file, _fd: os.access(proc, os.X_OK),
    "execute": lambda _proc, file, _fd: os.execv(file, ["meminfo"]),  # noqa: S606
    "look below a file": lambda _proc, file, _fd: os.close(os.open(f"{file}/below", os.O_RDONLY)),
    "list a file": lambda _proc, file, _fd: os.listdir(file),
    "open the directory for writing": lambda proc, _file, _fd: os.close(os.open(proc, os.O_WRONLY)),
    "read the directory": _read_directory,
    "name too long": lambda proc, _file, _fd: os.close(os.open(f"{proc}/{'x' * 256}", os.O_RDONLY)),
    "mode": lambda _proc, file, _fd: oct(os.stat(file).st_mode),
    "size": lambda _proc, file, _fd: os.stat(file).st_size,
    "owner": lambda _proc, file, _fd: [os.stat(file).st_uid, os.stat(file).st_gid],
    "links": lambda _proc, file, _fd: os.stat(file).st_nlink,
    "read far away": lambda _proc, _file, fd: os.pread(fd, 10, 1 << 40).decode(),
    "read at the largest offset": lambda _proc, _file, fd: os.pread(fd, 10, (1 << 63) - 20).decode(),
    "read nothing": lambda _proc, _file, fd: os.pread(fd, 0, 0).decode(),
    "seek from the end": lambda _proc, _file, fd: os.lseek(fd, 0, os.SEEK_END),
    "seek before the beginning": lambda _proc, _file, fd: os.lseek(fd, -1, os.SEEK_SET),
    "seek to the beginning": lambda _proc, _file, fd: os.lseek(fd, 0, os.SEEK_SET),
    "fsync": lambda _proc, _file, fd: os.fsync(fd),
    "fdatasync": lambda _proc, _file, fd: os.fdatasync(fd),
    "allocate": lambda _proc, _file, fd: os.posix_fallocate(fd, 0, 10),
    "shared mapping": _map_shared,
    "write to a file open for reading": lambda _proc, _file, fd: os.write(fd, b"x"),
    "truncate a file open for reading": lambda _proc, _file, fd: os.ftruncate(fd, 0),
    "chmod a file open for reading": lambda _proc, _file, fd: os.fchmod(fd, 0o444),
    "lock": lambda _proc, _file, fd: fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB),
    "record lock": lambda _proc, _file, fd: fcntl.lockf(fd, fcntl.LOCK_SH | fcntl.LOCK_NB),
    "ioctl": lambda _proc, _file, fd: fcntl.ioctl(fd, _TCGETS, b"\0" * 64).hex(),
    "poll": _poll,
}

_NO_CHANGE: Final = "mode and owner cannot be changed; /proc accepts the change and forgets it"
_SIZE: Final = "with size 0 sendfile(2) would see an empty file (docs/adr/0033-sizes.md)"
#: Stands for the length of what is read.
_EXACT: Final = "exact"
_NO_MAPPING: Final = "the kernel itself refuses a shared mapping of a direct_io file, with another errno"
_MODE_LAST: Final = "the kernel does not ask a FUSE file system before that"
_LINKS: Final = "fs.protected_hardlinks is checked before it asks a FUSE file system"
#: What may differ from the kernel's /proc: operation -> (answers accepted, why).
DIFFERENCES: Final[Mapping[str, tuple[frozenset[str], str]]] = {
    "chmod": (frozenset({"EPERM"}), _NO_CHANGE),
    "chmod a file open for reading": (frozenset({"EPERM"}), _NO_CHANGE),
    "chown": (frozenset({"EPERM"}), _NO_CHANGE),
    "utime": (frozenset({"EPERM"}), _NO_CHANGE),
    "seek from the end": (frozenset({_EXACT}), _SIZE),
    "size": (frozenset({_EXACT}), _SIZE),
    "shared mapping": (frozenset({"ENODEV"}), _NO_MAPPING),
    "rmdir of a file": (frozenset({"ENOTDIR"}), _MODE_LAST),
    "setxattr": (frozenset({"ENOTSUP"}), _MODE_LAST),
    "removexattr": (frozenset({"ENOTSUP"}), _MODE_LAST),
    "link": (frozenset({"EACCES", "EPERM"}), _LINKS),
}
#: As nobody only: root passes every check of a mode.
_NOBODY_ONLY: Final = frozenset(
    name for name, (_answers, why) in DIFFERENCES.items() if why in {_MODE_LAST, _LINKS}
)


def _accepted(name: str, answer: str, user: int) -> bool:
    if user == 0 and name in _NOBODY_ONLY:
        return False
    answers, _why = DIFFERENCES.get(name, (frozenset[str](), ""))
    return answer in answers


def _outcome(operation: Operation, proc: Path, descriptor: int) -> str:
    try:
        return f"ok {json.dumps(operation(str(proc), str(proc / 'meminfo'), descriptor))}"
    except OSError as error:
        return errno.errorcode[error.errno or 0]


def _outcomes(proc: Path, user: int) -> dict[str, str]:
    """Try every operation on `proc` as `user`, in a forked child: its new identity must not be ours."""
    read_end, write_end = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            if user:
                os.setgroups([])
                os.setgid(user)
                os.setuid(user)
            descriptor = os.open(proc / "meminfo", os.O_RDONLY)
            outcomes = {name: _outcome(operation, proc, descriptor) for name, operation in OPERATIONS.items()}
            os.write(write_end, json.dumps(outcomes).encode())
        except BaseException:  # noqa: BLE001
            traceback.print_exc()
        finally:
            os._exit(0)
    os.close(write_end)
    with open(read_end, "rb") as answers:
        text = answers.read()
    os.waitpid(child, 0)
    answered: dict[str, str] = json.loads(text)
    return answered


@pytest.mark.parametrize("user", [0, NOBODY], ids=["root", "nobody"])
def test_answers_as_the_kernel_does(daemon: Daemon, user: int) -> None:
    """Each operation has the same result on the served /proc as on the kernel's, but for known reasons."""
    expected = _outcomes(Path("/proc"), user)
    length = len((daemon.proc / "meminfo").read_bytes())
    actual = {
        name: _EXACT if answer == f"ok {length}" else answer
        for name, answer in _outcomes(daemon.proc, user).items()
    }
    wrong = {
        name: f"kernel: {expected[name]}, served: {actual[name]}"
        for name in OPERATIONS
        if actual[name] != expected[name] and not _accepted(name, actual[name], user)
    }
    assert wrong == {}
    assert daemon.running()


@pytest.mark.parametrize("user", [0, NOBODY], ids=["root", "nobody"])
def test_nothing_was_changed(daemon: Daemon, user: int) -> None:
    """After every attempt to change it the served tree is as it was."""

    def tree() -> dict[str, tuple[int, int, int]]:
        return {
            str(path): (path.lstat().st_mode, path.lstat().st_uid, path.lstat().st_ino)
            for path in daemon.mount_point.rglob("*")
        }

    before = tree()
    _outcomes(daemon.proc, user)
    assert tree() == before
