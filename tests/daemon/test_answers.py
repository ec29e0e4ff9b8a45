"""Answers that the kernel does not take, on a real mount that a thread of the test serves."""

import errno
import os
import random
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pyfuse3
import pytest

from pylxcfs.config import ViewConfig
from pylxcfs.content.engine import assemble
from pylxcfs.fuse import driver
from pylxcfs.fuse.gate import Gate
from pylxcfs.fuse.loop import Loop
from pylxcfs.fuse.mount_options import MountOptions
from pylxcfs.fuse.mounting import open_connection
from pylxcfs.fuse.node import Node
from pylxcfs.fuse.operations import ANSWERED, Operations
from pylxcfs.fuse.partial_reads import Passes
from pylxcfs.fuse.tree import Tree
from tests.support.waiting import wait_for

pytestmark = pytest.mark.usefixtures("machine")

NewDirectory = Callable[[str], Path]


@contextmanager
def _served(mount_point: Path, kind: type[Operations]) -> Iterator[Operations]:
    with pytest.MonkeyPatch.context() as patch:
        # A socket that nobody would close.
        patch.setattr("pylxcfs.content.engine._open_cgroup_stats", lambda: None)
        engine = assemble(ViewConfig())
    connection = open_connection(mount_point, MountOptions())
    loop = Loop(connection.fd)
    gate = Gate(connection.fd, loop, ANSWERED)
    tree = Tree(engine.files, engine.cpu_tree)
    operations = kind(tree, engine.content, Passes(mount_point.with_name("passes")), gate)
    thread = threading.Thread(target=driver.serve, args=(operations, operations, gate))
    thread.start()
    try:
        yield operations
    finally:
        connection.unmount()
        thread.join()
        gate.close()
        loop.close()
        os.close(connection.fd)


class _Wrong(Operations):
    """Answers STATFS with an errno, and whatever is read with a text, that the kernel does not take."""

    async def statfs(self, ctx: pyfuse3.RequestContext) -> pyfuse3.StatvfsData:
        """Refuse."""
        del ctx
        self._asker.open_way_out()
        raise pyfuse3.FUSEError(600)

    async def read(self, fh: int, off: int, size: int) -> bytes:
        """Give more than was asked for."""
        del fh, off
        self._asker.open_way_out()
        return bytes(size + 1)


def test_refused_answer(new_directory: NewDirectory) -> None:
    """An answer that the kernel does not take is EIO for who asked, and serving goes on."""
    mount_point = new_directory("mount")
    with _served(mount_point, _Wrong):
        for _ in range(3):
            for ask in (os.statvfs, lambda root: (root / "proc/uptime").read_bytes()):
                with pytest.raises(OSError, match="error") as refused:
                    ask(mount_point)
                assert errno.EIO == refused.value.errno
            assert (mount_point / "proc").is_dir()


class _Twice(Operations):
    """Answers OPEN twice: so do a server that is killed and the next one, at times."""

    def _open_for(self, node: Node, pid: int) -> object:  # type: ignore[override]
        assert isinstance(self._asker, Gate)
        self._asker.refuse(errno.EPERM)
        return super()._open_for(node, pid)


def test_second_answer(new_directory: NewDirectory, caplog: pytest.LogCaptureFixture) -> None:
    """A file whose OPEN somebody else has answered does not stay open here, and that is no error."""
    mount_point = new_directory("mount")
    with _served(mount_point, _Twice) as operations:
        for _ in range(3):
            with pytest.raises(PermissionError):
                os.open(mount_point / "proc/uptime", os.O_RDONLY)
            os.statvfs(mount_point)
            assert 0 == operations.open_files
    assert [] == caplog.records


def _open_for_ever(path: Path) -> int:
    child = os.fork()
    if child == 0:
        while True:
            os.close(os.open(path, os.O_RDONLY))
    return child


def test_openers_are_killed(new_directory: NewDirectory) -> None:
    """Whenever a process is killed while it opens a file, the file does not stay open here."""
    mount_point = new_directory("mount")
    rng = random.Random(7)  # noqa: S311 - a seeded choice, no secret
    with _served(mount_point, Operations) as operations:
        for _ in range(200):
            child = _open_for_ever(mount_point / "proc/uptime")
            time.sleep(rng.random() * 0.004)
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
        # RELEASE is sent in the background.
        wait_for("all are closed", lambda: operations.open_files == 0)
