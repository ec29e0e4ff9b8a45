"""All system calls on all files, at random: nothing but what a file system may answer, and no harm done."""

import contextlib
import errno
import json
import subprocess
import sys
from collections.abc import Callable
from typing import Final

import psutil
import pytest

from tests.fuzz import operations
from tests.support.daemon import Daemon
from tests.support.processes import lasting_descriptors

COUNT: Final = 4000
NOBODY: Final = 65534

#: What the manual pages of these calls name.
DEFINED: Final = frozenset(
    {
        *(errno.EPERM, errno.ENOENT, errno.EIO, errno.ENXIO, errno.EBADF, errno.EAGAIN, errno.EACCES),
        *(errno.EBUSY, errno.EEXIST, errno.EXDEV, errno.ENODEV, errno.ENOTDIR, errno.EISDIR, errno.EINVAL),
        *(errno.ENOTTY, errno.EFBIG, errno.ESPIPE, errno.EROFS, errno.EOVERFLOW, errno.ENOTEMPTY),
        *(errno.EOPNOTSUPP, errno.ENODATA, errno.ELOOP, errno.ETXTBSY, errno.ERANGE, errno.E2BIG),
        *(errno.ENAMETOOLONG, errno.EFAULT, errno.ENOEXEC, errno.EDOM, errno.ENOSYS),
    }
)
#: What says that something has broken, whichever call it is.
_BROKEN: Final = frozenset({errno.ENOTCONN, errno.ECONNABORTED, errno.EPROTO, errno.ESTALE})
#: Of a file that cannot be written, as in /proc, or that its driver does not let be read.
_EIO_FROM: Final = frozenset(
    {
        *("write", "pwrite", "read", "pread", "readv", "preadv2"),
        *("sendfile", "splice", "splice in", "mmap", "fallocate"),
    }
)


def _state(daemon: Daemon) -> tuple[int, int]:
    state = daemon.state
    return state["server_pid"], state["generation"]


def _run(daemon: Daemon, seed: int, user: int, count: int = COUNT) -> dict[str, dict[str, int]]:
    command = [sys.executable, "-ISu", operations.__file__]
    arguments = [str(daemon.mount_point), str(seed), str(count), str(user)]
    done = subprocess.run([*command, *arguments], check=False, stdout=subprocess.PIPE)
    assert done.returncode == 0
    results: dict[str, dict[str, int]] = json.loads(done.stdout)
    return results


#: The first round in which nothing is opened to stay open.
_SETTLED: Final = 3


@pytest.mark.parametrize("options", [(), ("--enable-psi-poll",)])
def test_random_operations(start_daemon: Callable[..., Daemon], options: tuple[str, ...]) -> None:
    """Root and nobody get defined errnos only; the same server goes on, no larger, and logs nothing."""
    daemon = start_daemon(*options)
    users = (0, NOBODY)
    for user in users:
        _run(daemon, 0, user)
    # What the server keeps open of the host is opened when it is first asked for.
    for path in daemon.mount_point.rglob("*"):
        with contextlib.suppress(OSError):
            path.read_bytes()
    server_pid, generation = _state(daemon)
    server = psutil.Process(server_pid)
    log = daemon.log
    resident, descriptors = server.memory_info().rss, 0
    wrong = []
    for seed in range(1, 5):
        if seed == _SETTLED:
            # By now every thread has the socket that it asks the kernel through.
            descriptors = lasting_descriptors(server_pid)
        for user in users:
            for name, results in _run(daemon, seed, user).items():
                numbers = {int(number) for number in results} - {0}
                unexpected = (numbers - DEFINED) | (numbers & _BROKEN)
                if errno.EIO in numbers and name not in _EIO_FROM:
                    unexpected.add(errno.EIO)
                if unexpected:
                    wrong.append((name, user, seed, sorted(errno.errorcode[number] for number in unexpected)))
    assert wrong == []
    assert (server_pid, generation) == _state(daemon)
    assert log == daemon.log
    assert lasting_descriptors(server_pid) == descriptors
    assert server.memory_info().rss < resident + (4 << 20)
    daemon.stop()


def test_every_call_is_made(daemon: Daemon) -> None:
    """Each of the calls is tried, and those that a file system like this one has succeed now and then."""
    results = _run(daemon, 7, 0)
    assert {name for name, counts in results.items() if not counts} == set()
    succeeded = {name for name, counts in results.items() if "0" in counts}
    assert {
        "open",
        "read",
        "pread",
        "getdents",
        "stat",
        "statx",
        "poll",
        "listxattr",
    } <= succeeded
