"""The FUSE operations, called as pyfuse3 calls them."""

import errno
import logging
from collections.abc import Coroutine
from pathlib import Path
from types import SimpleNamespace
from typing import Any, TypeVar, cast

import pyfuse3
import pytest

from pylxcfs.containers import Container
from pylxcfs.content import ContentService
from pylxcfs.fuse.filesystem import FileSystem
from pylxcfs.fuse.tree import Tree, build_nodes
from pylxcfs.hosttree import HostTree
from pylxcfs.procfiles.table import VIRTUAL_FILES, VirtualFile

T = TypeVar("T")
_CTX = cast("pyfuse3.RequestContext", SimpleNamespace(pid=1, uid=0, gid=0, umask=0))


class _Counting:
    """Content that says how often it was rendered; None as the next answer is a bug."""

    def __init__(self) -> None:
        self.broken = False
        self._count = 0

    def open(self, file: VirtualFile, pid: int) -> tuple[Container | None, bytes]:
        del pid
        return None, self.read(file, None)

    def read(self, file: VirtualFile, container: Container | None) -> bytes:
        del container
        if self.broken:
            raise ZeroDivisionError
        self._count += 1
        return f"{file.path} {self._count}\n".encode()


def _run(coroutine: Coroutine[Any, Any, T]) -> T:
    """Run a handler, which must not suspend."""
    try:
        coroutine.send(None)
    except StopIteration as done:
        return cast("T", done.value)
    raise AssertionError("the handler suspended")


class _Mounted:
    """A file system and a way through it by path."""

    def __init__(self, cpu_directory: Path) -> None:
        self.content = _Counting()
        tree = Tree(VIRTUAL_FILES, HostTree(cpu_directory))
        self.fs = FileSystem(tree, cast("ContentService", self.content))

    def inode(self, path: str) -> pyfuse3.InodeT:
        inode = pyfuse3.ROOT_INODE
        for name in path.split("/"):
            inode = _run(self.fs.lookup(inode, pyfuse3.FileNameT(name.encode()), _CTX)).st_ino
        return inode

    def open(self, path: str) -> pyfuse3.FileHandleT:
        return _run(self.fs.open(self.inode(path), 0, _CTX)).fh


@pytest.fixture
def mounted(tmp_path: Path) -> _Mounted:
    """Return a file system over counting content, on a host that has every file of the table."""
    for file in VIRTUAL_FILES:
        if file.path.startswith("sys/"):
            (tmp_path / Path(file.path).name).touch()
    return _Mounted(tmp_path)


def test_every_file_is_found(mounted: _Mounted) -> None:
    """Each row is found by its path, as a file nobody may write, under an inode of its own."""
    attributes = [_run(mounted.fs.getattr(mounted.inode(f.path), _CTX)) for f in VIRTUAL_FILES]
    assert {0o100444} == {a.st_mode for a in attributes}
    assert len(VIRTUAL_FILES) == len({a.st_ino for a in attributes})
    assert 0o40555 == _run(mounted.fs.getattr(mounted.inode("proc"), _CTX)).st_mode


def test_inodes_do_not_depend_on_the_table() -> None:
    """A table with fewer files gives the same inodes to those that it has."""
    whole, part = build_nodes(VIRTUAL_FILES), build_nodes(VIRTUAL_FILES[3:4])
    assert part.keys() <= whole.keys()


def test_one_pass_sees_one_content(mounted: _Mounted) -> None:
    """Reads at other offsets continue what the start gave; a read from the start renders anew."""
    handle = mounted.open("proc/meminfo")

    def read(offset: int, size: int) -> bytes:
        return _run(mounted.fs.read(handle, offset, size))

    assert (b"proc/", b"meminfo 1\n", b"") == (read(0, 5), read(5, 99), read(15, 99))
    assert b"proc/meminfo 2\n" == read(0, 99)
    assert b"" == read(1 << 62, 99)


def test_two_handles_are_two_readers(mounted: _Mounted) -> None:
    """Each open file has its own content, and a closed one is not there any more."""
    one, two = mounted.open("proc/stat"), mounted.open("proc/stat")
    assert b"proc/stat 2\n" == _run(mounted.fs.read(two, 0, 99))
    assert b"proc/stat 1\n" == _run(mounted.fs.read(one, 0, 99))
    _run(mounted.fs.release(one))
    with pytest.raises(pyfuse3.FUSEError) as refused:
        _run(mounted.fs.read(one, 0, 99))
    assert errno.EBADF == refused.value.errno


def test_a_bug_is_eio_and_serving_goes_on(mounted: _Mounted, caplog: pytest.LogCaptureFixture) -> None:
    """An unforeseen exception is EIO for its reader, one traceback however often, and nothing else."""
    mounted.content.broken = True
    with caplog.at_level(logging.ERROR):
        for _ in range(3):
            with pytest.raises(pyfuse3.FUSEError) as failed:
                mounted.open("proc/meminfo")
            assert errno.EIO == failed.value.errno
    assert 1 == len(caplog.records)
    mounted.content.broken = False
    assert b"proc/meminfo 1\n" == _run(mounted.fs.read(mounted.open("proc/meminfo"), 0, 99))


def test_refusals(mounted: _Mounted) -> None:
    """What cannot be done has the errno of /proc."""
    fs, root, name = mounted.fs, pyfuse3.ROOT_INODE, pyfuse3.FileNameT(b"proc")
    unknown = pyfuse3.InodeT(77)
    calls: list[tuple[int, Coroutine[Any, Any, Any]]] = [
        (errno.ENOENT, fs.lookup(root, pyfuse3.FileNameT(b"nothing"), _CTX)),
        (errno.ESTALE, fs.getattr(unknown, _CTX)),
        (errno.EISDIR, fs.open(root, 0, _CTX)),
        (errno.ENOTDIR, fs.opendir(mounted.inode("proc/stat"), _CTX)),
        (errno.EIO, fs.write(pyfuse3.FileHandleT(1), 0, b"x")),
        (errno.ENOENT, fs.mkdir(root, pyfuse3.FileNameT(b"x"), pyfuse3.ModeT(0), _CTX)),
        (errno.EPERM, fs.unlink(root, name, _CTX)),
        (errno.EPERM, fs.rename(root, name, root, name, 0, _CTX)),
        (errno.ENOENT, fs.rename(root, name, root, pyfuse3.FileNameT(b"x"), 0, _CTX)),
        (errno.ENOSYS, fs.flush(pyfuse3.FileHandleT(1))),
    ]
    for expected, call in calls:
        with pytest.raises(pyfuse3.FUSEError) as refused:
            _run(call)
        assert expected == refused.value.errno
