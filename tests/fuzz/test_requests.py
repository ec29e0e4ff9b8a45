"""Requests on /dev/fuse that no kernel sends, and answers that none takes."""

import errno
import os
import socket
import struct
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pylxcfs.config import ViewConfig
from pylxcfs.content.engine import assemble
from pylxcfs.fuse.connection import MountOptions, open_connection
from pylxcfs.fuse.filesystem import FileSystem
from pylxcfs.fuse.partial_reads import Passes
from pylxcfs.fuse.session import Session
from pylxcfs.fuse.tree import Tree
from pylxcfs.fuse.triggers import Triggers
from pylxcfs.fuse.wire import (
    IN_HEADER,
    OUT_HEADER,
    READ_LOCKOWNER,
    Opcode,
    Request,
    parse_request,
)
from tests.fuzz.damage import MANY, pieces
from tests.support.session import Session as Run
from tests.unit.kernel import Kernel

_NAMES: Final = (b"proc", b"sys", b"meminfo", b"..", b".", b"a/b", b"\xff" * 300, b"cpu0", b"online")
_ERRNO_END: Final = 512


class _Target:
    """A whole file system on this machine, and what can be asked for in it."""

    def __init__(self, directory: Path) -> None:
        with pytest.MonkeyPatch.context() as patch:
            # A socket that nobody would close.
            patch.setattr("pylxcfs.content.engine._open_cgroup_stats", lambda: None)
            engine = assemble(ViewConfig())
        # Nothing watches: no trigger is ever set on the host's own files.
        self.session = Session(os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK))
        triggers = Triggers(engine.content, self.session)
        tree = Tree(engine.files, engine.cpu_tree, triggers=True)
        self.file_system = FileSystem(tree, engine.content, Passes(directory / "passes"), triggers)
        kernel = Kernel(self.file_system)
        paths = ("proc", "proc/meminfo", "proc/pressure/cpu", "sys", "sys/devices/system/cpu")
        entries = [kernel.find(path) for path in (*paths, "sys/devices/system/cpu/cpu0")]
        self.inodes: Sequence[int] = [0, 1, *(entry.inode for entry in entries), 1 << 63, (1 << 64) - 1]
        self.handles: Sequence[int] = [0, kernel.open("proc/meminfo"), kernel.open("proc/stat"), 1 << 63]


@pytest.fixture(scope="module")
def target(machine: Run, tmp_path_factory: pytest.TempPathFactory) -> _Target:
    """Return the file system."""
    del machine
    return _Target(tmp_path_factory.mktemp("requests"))


def _numbers(target: _Target) -> st.SearchStrategy[bytes]:
    known = [*target.handles, *target.inodes, READ_LOCKOWNER, 4096, os.O_RDWR, (1 << 32) - 1]
    return st.one_of(
        st.sampled_from(known).map(lambda number: struct.pack("=Q", number)),
        st.integers(0, (1 << 64) - 1).map(lambda number: struct.pack("=Q", number)),
        st.integers(0, (1 << 32) - 1).map(lambda number: struct.pack("=I", number)),
    )


def _draw_message(data: st.DataObject, target: _Target) -> bytes:
    body = b"".join(data.draw(st.lists(_numbers(target), max_size=7)))
    for name in data.draw(st.lists(st.sampled_from(_NAMES) | pieces, max_size=2)):
        body += name + data.draw(st.sampled_from((b"\0", b"")))
    opcode = data.draw(st.sampled_from(list(Opcode)) | st.integers(0, (1 << 32) - 1))
    pid = data.draw(st.sampled_from((0, 1, os.getpid(), 1 << 22, (1 << 32) - 1)))
    inode = data.draw(st.sampled_from(target.inodes))
    length = IN_HEADER.size + len(body)
    return IN_HEADER.pack(length, opcode, 7, inode, 0, 0, pid, 0) + body


@MANY
@given(data=st.data())
def test_any_request(data: st.DataObject, target: _Target, monkeypatch_module: pytest.MonkeyPatch) -> None:
    """Each is answered with an errno that FUSE can carry or with a body, and none is a bug of ours."""
    del monkeypatch_module
    request = parse_request(_draw_message(data, target))
    number, body = target.file_system.answer(request)
    assert 0 <= number < _ERRNO_END
    assert not (number and body)
    if number == 0:
        target.file_system.take_back(request, body)


@pytest.fixture(scope="module")
def monkeypatch_module() -> Iterator[pytest.MonkeyPatch]:
    """Make what would be logged as a bug a failure."""

    def fail(*_arguments: object) -> None:
        raise AssertionError("a bug") from None

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("pylxcfs.fuse.filesystem._log.exception", fail)
        yield patch


@given(messages=st.lists(st.binary(min_size=1, max_size=60), max_size=8))
def test_session(messages: list[bytes], target: _Target) -> None:
    """Whatever comes out of the device, the session goes on to the next request and answers it."""
    with ExitStack() as stack:
        ours, kernel = map(stack.enter_context, socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET))
        ours.setblocking(False)  # noqa: FBT003 - the socket's own interface
        kernel.settimeout(60)
        session = Session(ours.fileno())
        thread = threading.Thread(target=session.run, args=(target.file_system,))
        thread.start()
        try:
            for message in [*messages, IN_HEADER.pack(IN_HEADER.size, Opcode.STATFS, 99, 1, 0, 0, 0, 0)]:
                kernel.send(message)
            unique = 0
            while unique != 99:
                length, number, unique = OUT_HEADER.unpack_from(answer := kernel.recv(1 << 16))
                assert len(answer) == length
                assert -_ERRNO_END < number <= 0
        finally:
            session.stop()
            thread.join()
        os.close(session._wake_fd)


class _Wrong:
    """Answers what is asked of one name so that the kernel does not take it."""

    def __init__(self, right: FileSystem, wrong: tuple[int, bytes]) -> None:
        self._right = right
        self._wrong = wrong

    def answer(self, request: Request) -> tuple[int, bytes]:
        """Answer."""
        return self._wrong if request.opcode == Opcode.STATFS else self._right.answer(request)

    def take_back(self, request: Request, body: bytes) -> None:
        """Nothing is kept."""


@pytest.mark.parametrize("wrong", [(600, b""), (0, b"short"), (0, bytes(5000)), (-5, b"")])
def test_refused_answer(
    target: _Target, new_directory: Callable[[str], Path], wrong: tuple[int, bytes]
) -> None:
    """An answer that the kernel does not take is EIO for who asked, and serving goes on."""
    connection = open_connection(new_directory("mount"), MountOptions())
    session = Session(connection.fd)
    thread = threading.Thread(target=session.run, args=(_Wrong(target.file_system, wrong),))
    thread.start()
    try:
        for _ in range(3):
            with pytest.raises(OSError, match="error") as refused:
                os.statvfs(connection.mount_point)
            assert errno.EIO == refused.value.errno
            assert (connection.mount_point / "proc/uptime").read_bytes()
    finally:
        connection.unmount()
        thread.join()
        os.close(session._wake_fd)
        os.close(connection.fd)
