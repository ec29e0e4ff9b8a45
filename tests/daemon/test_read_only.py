"""Nothing below the mount point can be written or changed, by root neither."""

import errno
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

import pytest

from tests.support.daemon import Daemon

_REFUSED: Final = frozenset({errno.EROFS, errno.EPERM, errno.EACCES, errno.EIO, errno.EINVAL})
#: Of a directory, or of a name that is not there: which of them is checked first is the kernel's affair.
_NOT_MADE: Final = _REFUSED | {errno.ENOENT, errno.EEXIST, errno.ENOTDIR, errno.EISDIR, errno.EBUSY}
_NO_XATTRS: Final = frozenset({errno.EOPNOTSUPP})
_ATTRIBUTES: Final = ("st_mode", "st_uid", "st_gid", "st_ino", "st_nlink")

Attempt = Callable[[Path], object]


def _write(path: Path, flags: int) -> None:
    fd = os.open(path, flags | os.O_NONBLOCK)
    try:
        os.write(fd, b"1")
    finally:
        os.close(fd)


ATTEMPTS: Final[dict[str, tuple[Attempt, frozenset[int]]]] = {
    "write": (lambda path: _write(path, os.O_WRONLY), _REFUSED | {errno.EISDIR}),
    "append": (lambda path: _write(path, os.O_RDWR | os.O_APPEND), _REFUSED | {errno.EISDIR}),
    "truncate and write": (lambda path: _write(path, os.O_WRONLY | os.O_TRUNC), _REFUSED | {errno.EISDIR}),
    "make a file": (lambda path: os.close(os.open(path / "new", os.O_CREAT | os.O_RDWR)), _NOT_MADE),
    "make an unnamed file": (
        lambda path: os.close(os.open(path, os.O_TMPFILE | os.O_RDWR)),
        _NOT_MADE | _NO_XATTRS,
    ),
    "make a directory": (lambda path: (path / "new").mkdir(), _NOT_MADE),
    "make a node": (lambda path: os.mknod(path / "new"), _NOT_MADE),
    "make a link": (lambda path: (path / "new").symlink_to("x"), _NOT_MADE),
    "link": (lambda path: os.link(path, path.parent / "new"), _NOT_MADE),
    "rename": (lambda path: path.rename(path.parent / "new"), _NOT_MADE),
    "remove": (lambda path: path.unlink(), _NOT_MADE),
    "remove a directory": (lambda path: path.rmdir(), _NOT_MADE | {errno.ENOTEMPTY}),
    "change the mode": (lambda path: path.chmod(0o777), _REFUSED),
    "change the owner": (lambda path: os.chown(path, 1, 1, follow_symlinks=False), _REFUSED),
    "set an attribute": (lambda path: os.setxattr(path, "user.x", b"1"), _REFUSED | _NO_XATTRS),
}


def _tree(mount_point: Path) -> Iterator[Path]:
    """Yield what is there, apart from the root and from what links lead to."""
    for directory, names, files in os.walk(mount_point):
        yield from (Path(directory, name) for name in names + files if not Path(directory, name).is_symlink())


def _describe(paths: list[Path]) -> list[list[int]]:
    return [[getattr(path.lstat(), name) for name in _ATTRIBUTES] for path in paths]


@pytest.mark.parametrize("options", [(), ("--enable-psi-poll",)])
def test_nothing_can_be_changed(start_daemon: Callable[..., Daemon], options: tuple[str, ...]) -> None:
    """Each attempt on each file and directory is refused; only pressure files are writable, for triggers."""
    daemon = start_daemon(*options)
    paths = sorted(_tree(daemon.mount_point))
    assert len(paths) > 50
    before = _describe(paths)
    wrong = []
    for path in paths:
        for name, (attempt, accepted) in ATTEMPTS.items():
            try:
                attempt(path)
            except OSError as error:
                if error.errno not in accepted:
                    wrong.append((str(path), name, errno.errorcode[error.errno or 0]))
            else:
                wrong.append((str(path), name, "done"))
    assert wrong == []
    assert _describe(paths) == before
    assert sorted(_tree(daemon.mount_point)) == paths
    writable = {path.name for path in paths if path.lstat().st_mode & 0o222}
    assert writable == ({"cpu", "io", "irq", "memory"} & writable if options else set())
    assert bool(writable) == bool(options)
    daemon.stop()
