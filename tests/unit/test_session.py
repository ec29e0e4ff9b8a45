"""The session loop: requests, and what is watched beside them."""

import contextlib
import select
import socket
from collections.abc import Callable, Iterator

import pytest

from pylxcfs.fuse.session import Session
from pylxcfs.fuse.wire import IN_HEADER, Opcode, Request

_ENOUGH = 1 << 14


class _BusyReader:
    """Has the next request ready whenever one is answered."""

    def __init__(self, session: Session, kernel: socket.socket, begin: Callable[[], None]) -> None:
        self.answered = 0
        self._session = session
        self._kernel = kernel
        self._begin = begin

    def ask(self) -> None:
        """Send a request."""
        self._kernel.send(IN_HEADER.pack(IN_HEADER.size, Opcode.STATFS, self.answered, 1, 0, 0, 1, 0))

    def answer(self, _request: Request) -> tuple[int, bytes]:
        """Take the last answer, and ask again."""
        if self.answered:
            assert self._kernel.recv(64)
        else:
            self._begin()
        self.answered += 1
        self.ask()
        if self.answered == _ENOUGH:
            self._session.stop()
        return 0, b""


@pytest.fixture
def device() -> Iterator[tuple[socket.socket, socket.socket]]:
    """Return our end and the kernel's of what stands for /dev/fuse: each read gives one message."""
    with contextlib.ExitStack() as stack:
        ours, kernel = map(stack.enter_context, socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET))
        ours.settimeout(0)
        yield ours, kernel


@pytest.fixture
def urgent() -> Iterator[socket.socket]:
    """Return something that poll(2) says POLLPRI of."""
    with socket.create_server(("127.0.0.1", 0)) as server, socket.socket() as far:
        far.connect(server.getsockname())
        near, _address = server.accept()
        with near:
            far.send(b"!", socket.MSG_OOB)
            poller = select.poll()
            poller.register(near, select.POLLPRI)
            poller.poll()
            yield near


def test_a_busy_reader_does_not_keep_events_waiting(
    device: tuple[socket.socket, socket.socket], urgent: socket.socket
) -> None:
    """What is watched has its turn although the next request is always there."""
    ours, kernel = device
    session = Session(ours.fileno())
    reader = _BusyReader(session, kernel, lambda: session.watch(urgent.fileno(), call))
    calls: list[tuple[int, int]] = []

    def call(events: int) -> None:
        calls.append((events & select.POLLPRI, reader.answered))
        session.unwatch(urgent.fileno())

    reader.ask()
    session.run(reader)
    assert _ENOUGH == reader.answered
    ((events, answered),) = calls
    assert select.POLLPRI == events
    assert 1 < answered < _ENOUGH
