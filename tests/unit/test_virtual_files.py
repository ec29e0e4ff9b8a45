"""How long files are for whoever asks, and that it is what they read then."""

from types import SimpleNamespace
from typing import cast

import pytest

from pylxcfs.containers.container import Container
from pylxcfs.content.service import ContentService
from pylxcfs.fuse.asker import Asker
from pylxcfs.fuse.handles import OpenFile
from pylxcfs.fuse.node import Node
from pylxcfs.fuse.tree import build_nodes
from pylxcfs.fuse.virtual_files import VirtualFiles
from pylxcfs.procfiles.table import VIRTUAL_FILES, VirtualFile

_FILE = next(file for file in VIRTUAL_FILES if file.path == "proc/uptime")
_TASK = 7


class _Content:
    """Content that is longer each time; told lengths hold for an hour."""

    lifetime_seconds = 3600.0
    shows_host = False

    def __init__(self) -> None:
        self.length = 0

    def who(self, _pid: int) -> None:
        """It is the host."""

    def file_for(self, file: VirtualFile, _pid: int) -> VirtualFile:
        """Return the only one."""
        return file

    def is_made(self, container: Container | None) -> bool:
        """It is."""
        return container is None

    def read(self, _file: VirtualFile, _container: Container | None) -> bytes:
        """Return one byte more than before."""
        self.length += 1
        return b"x" * self.length

    def open(self, file: VirtualFile, _pid: int) -> tuple[None, bytes]:
        """Return the same with who asks."""
        return None, self.read(file, None)


@pytest.fixture
def node() -> Node:
    """Return the file's node."""
    return next(node for node in build_nodes(VIRTUAL_FILES).values() if node.file is _FILE)


@pytest.fixture
def files() -> VirtualFiles:
    """Return files of a server, asked by one thread."""
    asker = SimpleNamespace(is_doubted=False, header=SimpleNamespace(pid=_TASK))
    return VirtualFiles(cast("ContentService", _Content()), cast("Asker", asker))


def _read(files: VirtualFiles, opened: object) -> int:
    assert isinstance(opened, OpenFile)
    return len(opened.read(0, 100, files.who_asks))


def test_what_was_told_of_an_open_file_does_not_live_on(files: VirtualFiles, node: Node) -> None:
    """Who opens, asks and reads again and again reads something new each time, as long as was told."""
    seen = []
    for _ in range(5):
        opened = files.open(node, _FILE, _TASK)
        told = files.length(node, _FILE, _TASK, None)
        assert told == _read(files, opened)
        seen.append(told)
        files.closed(opened)
    assert seen == sorted(set(seen))


def test_what_was_told_before_an_open_is_read(files: VirtualFiles, node: Node) -> None:
    """By the next who opens it; fstat(2) then tells the same."""
    told = files.length(node, _FILE, _TASK, None)
    opened = files.open(node, _FILE, _TASK)
    assert told == files.length(node, _FILE, _TASK, None) == _read(files, opened)
