"""The gate and the loop that drives pyfuse3, asked as the kernel asks."""

import errno
import fcntl
import os
import select
import socket
import struct
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import cast

import pytest
from pyfuse3 import FUSEError

from pylxcfs.content.service import ContentService
from pylxcfs.fuse.affinity import Nearness
from pylxcfs.fuse.frames import (
    FRAME_SIZE,
    IN_HEADER,
    RESEND,
    UNANSWERED,
    Header,
    Opcode,
    is_refused,
    pack_error,
    pack_library_init,
)
from pylxcfs.fuse.gate import Gate
from pylxcfs.fuse.loop import Loop
from pylxcfs.fuse.node import ROOT_INODE
from pylxcfs.fuse.operations import ANSWERED, Operations
from pylxcfs.fuse.partial_reads import Passes
from pylxcfs.fuse.tree import Tree
from pylxcfs.linux.hosttree import HostTree
from pylxcfs.procfiles.table import VIRTUAL_FILES
from tests.support.waiting import wait_for
from tests.unit.kernel import Kernel, Refused

_ENOUGH = 1 << 12
_RESENT = 1 << 63


class _Odd(Operations):
    """Has one handler that a test chooses."""

    handler: Callable[[], object]
    opens_way_out = True

    async def statfs(self, ctx: object) -> object:  # type: ignore[override]
        """Do what the test wants."""
        del ctx
        if self.opens_way_out:
            self._asker.open_way_out()
        return self.handler()


@pytest.fixture
def kernel(tmp_path: Path) -> Iterator[Kernel]:
    """Ask handlers, of which STATFS is a test's own."""
    tree = Tree(VIRTUAL_FILES, HostTree(tmp_path))

    def build(gate: Gate) -> Operations:
        return _Odd(tree, cast("ContentService", None), Passes(tmp_path), gate)

    with Kernel(build) as kernel:
        yield kernel


def _odd(kernel: Kernel, handler: Callable[[], object]) -> None:
    cast("_Odd", kernel.operations).handler = handler


def _refuse() -> object:
    raise FUSEError(errno.EXDEV)


def _break() -> object:
    raise ValueError("a bug")


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


def _statfs(kernel: Kernel) -> int:
    with pytest.raises(Refused) as refused:
        kernel.ask(Opcode.STATFS, ROOT_INODE)
    return refused.value.number


def test_a_busy_reader_does_not_keep_events_waiting(kernel: Kernel, urgent: socket.socket) -> None:
    """What is watched has its turn although the next request is always there."""
    calls: list[tuple[int, int]] = []
    answered = 0

    def answer() -> object:
        nonlocal answered
        answered += 1
        if answered == 1:
            kernel.loop.watch(urgent.fileno(), call)
        else:
            assert (7, errno.EXDEV, b"") == kernel.receive()
        if answered < _ENOUGH:
            ask()
        raise FUSEError(errno.EXDEV)

    def ask() -> None:
        kernel.send(IN_HEADER.pack(IN_HEADER.size, Opcode.STATFS, 7, 1, 0, 0, 1, 0))

    def call(events: int) -> None:
        calls.append((events & select.POLLPRI, answered))
        kernel.loop.unwatch(urgent.fileno())

    _odd(kernel, answer)
    ask()
    wait_for("all are answered", lambda: answered == _ENOUGH)
    assert (7, errno.EXDEV, b"") == kernel.receive()
    ((events, before),) = calls
    assert select.POLLPRI == events
    assert 1 < before < _ENOUGH


@pytest.mark.parametrize("minor,agreed", [(27, 27), (31, 31), (45, 31)])
def test_versions(kernel: Kernel, minor: int, agreed: int) -> None:
    """We agree on the older of both minor versions, and refuse another major one."""
    answer = kernel.ask(Opcode.INIT, 0, struct.pack("=IIII", 7, minor, 131072, 0))
    assert (64, 7, agreed) == (len(answer), *struct.unpack_from("=II", answer))
    for body, number in ((struct.pack("=IIII", 8, 0, 0, 0), errno.EPROTO), (b"short", errno.EINVAL)):
        with pytest.raises(Refused) as refused:
            kernel.ask(Opcode.INIT, 0, body)
        assert number == refused.value.number


def test_the_kernel_is_told_what_we_can(kernel: Kernel) -> None:
    """RELEASE waits for nothing, several reads at once go to their offsets, and names have attributes."""
    answer = kernel.ask(Opcode.INIT, 0, struct.pack("=IIII", 7, 31, 131072, 0xFFFFFFFF))
    told = struct.unpack("=IIIIHHIIHHII24x", answer)
    assert (7, 31, 131072, 1 << 13 | 1 << 15 | 1 << 18, 65535, 49152, 4096) == told[:7]
    # Times are exact to a nanosecond. What newer kernels would know besides is not used.
    assert (1, 0, 0, 0, 0) == told[7:]


@pytest.mark.parametrize("opcode", sorted(UNANSWERED))
def test_what_is_never_answered(kernel: Kernel, opcode: int) -> None:
    """Names are forgotten and requests called off without a word; whatever they contain reaches nobody."""
    kernel.send(IN_HEADER.pack(IN_HEADER.size + 8, opcode, 8, 1, 0, 0, 1, 0) + b"\xff" * 8)
    _odd(kernel, _refuse)
    assert errno.EXDEV == _statfs(kernel)
    assert kernel.is_silent()


@pytest.mark.parametrize(
    "opcode",
    [n for n in (*range(1, 60), 4096, (1 << 32) - 1) if n not in {*ANSWERED, *UNANSWERED, Opcode.INIT}],
)
def test_what_is_unknown(kernel: Kernel, opcode: int) -> None:
    """Whatever pyfuse3 is not asked is ENOSYS."""
    with pytest.raises(Refused) as refused:
        kernel.ask(opcode, ROOT_INODE, bytes(64))
    assert errno.ENOSYS == refused.value.number


def test_a_request_that_is_sent_again(kernel: Kernel) -> None:
    """The kernel finds a request that it has sent again by the number with the bit that says so."""
    _odd(kernel, _refuse)
    kernel.send(IN_HEADER.pack(IN_HEADER.size, Opcode.STATFS, _RESENT | 9, 1, 0, 0, 1, 0))
    assert (_RESENT | 9, errno.EXDEV, b"") == kernel.receive()
    assert kernel.gate.header.is_resent
    assert not Header(40, 1, 9, 1, 0, 0, 1, 0).is_resent


@pytest.mark.parametrize("answer", [lambda: None, lambda: "neither", _break])
def test_what_escapes_a_handler(
    kernel: Kernel, answer: Callable[[], object], caplog: pytest.LogCaptureFixture
) -> None:
    """What is no answer, or escapes, is EIO for who asked, and serving goes on."""
    for _ in range(3):
        _odd(kernel, answer)
        assert errno.EIO == _statfs(kernel)
        _odd(kernel, _refuse)
        assert errno.EXDEV == _statfs(kernel)
    assert 3 == len(caplog.records)


def test_the_thread_that_opens_is_what_nearness_is_told_of(monkeypatch: pytest.MonkeyPatch) -> None:
    """A reader opens a file for each look at it: other requests need not be counted."""
    end, device = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    loop = Loop(device.fileno())
    nearness = Nearness(lambda task: task)
    askers: list[int] = []
    monkeypatch.setattr(nearness, "asked_by", askers.append)
    gate = Gate(device.fileno(), loop, ANSWERED, nearness)
    gate.wait()
    for opcode, pid in ((Opcode.STATFS, 5), (Opcode.OPEN, 6), (Opcode.READ, 7), (Opcode.RELEASE, 8)):
        end.send(IN_HEADER.pack(IN_HEADER.size, opcode, 9, 1, 0, 0, pid, 0))
    end.send(IN_HEADER.pack(IN_HEADER.size, Opcode.STATFS, 9, 1, 0, 0, 9, 0))
    for _ in range(4):
        gate.wait()
    assert [6] == askers
    os.close(gate.slot)
    gate.close()
    loop.close()
    end.close()
    device.close()


def test_what_the_library_leaves_unanswered() -> None:
    """Whatever libfuse does not answer, or answers by itself to nowhere, is EIO: nobody waits for ever."""
    end, device = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    loop = Loop(device.fileno())
    gate = Gate(device.fileno(), loop, ANSWERED)

    def ask(unique: int) -> None:
        frame = IN_HEADER.pack(IN_HEADER.size, Opcode.STATFS, unique, 1, 0, 0, 1, 0)
        end.send(frame)
        gate.wait()
        assert frame == os.read(gate.slot, _ENOUGH)

    gate.wait()
    assert pack_library_init() == os.read(gate.slot, _ENOUGH)
    for unanswered in (6, 8):
        ask(unanswered - 1)
        gate.open_way_out()
        os.write(gate.slot, pack_error(unanswered - 1, errno.EXDEV))
        assert pack_error(unanswered - 1, errno.EXDEV) == end.recv(_ENOUGH)
        ask(unanswered)
        ask(unanswered + 100)
        assert pack_error(unanswered, errno.EIO) == end.recv(_ENOUGH)
        gate.refuse(errno.ENOENT)
        assert pack_error(unanswered + 100, errno.ENOENT) == end.recv(_ENOUGH)
        gate.open_way_out()
    os.close(gate.slot)
    gate.close()
    loop.close()
    end.close()
    device.close()


def test_nobody_waits_for_a_refusal(kernel: Kernel, monkeypatch: pytest.MonkeyPatch) -> None:
    """The kernel says ENOENT where who asked was killed meanwhile; what else it says is an error."""
    _odd(kernel, _refuse)
    assert errno.EXDEV == _statfs(kernel)
    numbers = iter([errno.ENOENT, errno.EPERM])

    def fail(_fd: int, _data: bytes) -> int:
        raise OSError(next(numbers), "told")

    with monkeypatch.context() as broken:
        broken.setattr(os, "write", fail)
        assert not kernel.gate.refuse(errno.EIO)
        with pytest.raises(PermissionError):
            kernel.gate.refuse(errno.EIO)
    assert kernel.gate.refuse(errno.EIO)
    assert errno.EIO == kernel.receive()[1]


def test_a_pipe_that_is_too_small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who has many pipes is given one of a page (pipe(7)); a whole request has room in it all the same."""
    make = os.pipe2

    def small(flags: int) -> tuple[int, int]:
        ends = make(flags)
        fcntl.fcntl(ends[1], fcntl.F_SETPIPE_SZ, 4096)
        return ends

    monkeypatch.setattr(os, "pipe2", small)
    end, device = socket.socketpair()
    loop = Loop(device.fileno())
    gate = Gate(device.fileno(), loop, ANSWERED)
    assert fcntl.fcntl(gate.slot, fcntl.F_GETPIPE_SZ) >= FRAME_SIZE
    os.close(gate.slot)
    gate.close()
    loop.close()
    end.close()
    device.close()


def test_numbers_of_requests() -> None:
    """They are enum fuse_opcode of the kernel's uapi/linux/fuse.h."""
    kernels = [
        "1",
        "LOOKUP",
        "2",
        "FORGET",
        "3",
        "GETATTR",
        "4",
        "SETATTR",
        "5",
        "READLINK",
        "6",
        "SYMLINK",
        "8",
        "MKNOD",
        "9",
        "MKDIR",
        "10",
        "UNLINK",
        "11",
        "RMDIR",
        "12",
        "RENAME",
        "13",
        "LINK",
        "14",
        "OPEN",
        "15",
        "READ",
        "16",
        "WRITE",
        "17",
        "STATFS",
        "18",
        "RELEASE",
        "20",
        "FSYNC",
        "21",
        "SETXATTR",
        "22",
        "GETXATTR",
        "23",
        "LISTXATTR",
        "24",
        "REMOVEXATTR",
        "25",
        "FLUSH",
        "26",
        "INIT",
        "27",
        "OPENDIR",
        "28",
        "READDIR",
        "29",
        "RELEASEDIR",
        "30",
        "FSYNCDIR",
        "31",
        "GETLK",
        "32",
        "SETLK",
        "33",
        "SETLKW",
        "34",
        "ACCESS",
        "35",
        "CREATE",
        "36",
        "INTERRUPT",
        "37",
        "BMAP",
        "38",
        "DESTROY",
        "39",
        "IOCTL",
        "40",
        "POLL",
        "41",
        "NOTIFY_REPLY",
        "42",
        "BATCH_FORGET",
        "43",
        "FALLOCATE",
        "44",
        "READDIRPLUS",
        "45",
        "RENAME2",
        "46",
        "LSEEK",
    ]
    numbers = dict(zip(kernels[1::2], map(int, kernels[::2]), strict=True))
    assert {name: numbers[name] for name in Opcode.__members__} == {
        name: opcode.value for name, opcode in Opcode.__members__.items()
    }


def test_an_answer_that_the_kernel_refuses(kernel: Kernel, caplog: pytest.LogCaptureFixture) -> None:
    """Who asked gets EIO, and the log tells."""
    odd = cast("_Odd", kernel.operations)
    odd.opens_way_out = False
    _odd(kernel, _refuse)
    kernel.send(IN_HEADER.pack(IN_HEADER.size, Opcode.STATFS, 9, 1, 0, 0, 1, 0))
    assert (9, errno.EIO, b"") == kernel.receive()
    # The kernel would say ENOENT to a second answer.
    assert (9, errno.EIO, b"") == kernel.receive()
    (record,) = caplog.records
    assert "its sender gets EIO" in record.getMessage()


def test_frames() -> None:
    """An answer without a body, and a notification without one."""
    assert struct.pack("=IiQ", 16, -errno.EIO, 5) == pack_error(5, errno.EIO)
    assert struct.pack("=IiQ", 16, 7, 0) == RESEND


def test_the_library_is_asked_for_no_more_than_it_needs() -> None:
    """INIT 7.13 with READDIRPLUS: from 7.14 on libfuse would move each request by two calls of splice(2)."""
    header = struct.pack("=IIQQIIII", 56, 26, 1, 0, 0, 0, 0, 0)
    assert header + struct.pack("=IIII", 7, 13, 0, 1 << 13) == pack_library_init()


def _frame(opcode: int, body: bytes) -> bytes:
    return IN_HEADER.pack(IN_HEADER.size + len(body), opcode, 5, 1, 0, 0, 1, 0) + body


@pytest.mark.parametrize(
    "read_flags,refused", [(0, True), (1, True), (2, False), (3, False), (0xFFFFFFFD, True), (1 << 9, True)]
)
def test_reads_of_the_kernels_own(read_flags: int, *, refused: bool) -> None:
    """A READ without FUSE_READ_LOCKOWNER (2) is for the page cache, whatever else it says."""
    body = struct.pack("=QQIIQII", 9, 0, 4096, read_flags, 0, 0, 0)
    assert refused is is_refused(Opcode.READ, _frame(Opcode.READ, body))
    assert not is_refused(Opcode.STATFS, _frame(Opcode.STATFS, body))


@pytest.mark.parametrize(
    "opcode,shortest", [(Opcode.READ, 21), (Opcode.WRITE, 40), (Opcode.GETATTR, 0)], ids=["r", "w", "other"]
)
def test_frames_that_are_cut_short(opcode: Opcode, shortest: int) -> None:
    """Refused is what libfuse would read beyond its end; the rest it notices itself."""
    lengths = [length for length in range(50) if is_refused(opcode, _frame(opcode, b"\xff" * length))]
    assert [*range(shortest)] == lengths
