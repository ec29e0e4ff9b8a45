"""The netlink codec, against what a kernel (Linux 6.18, x86-64) was asked and has answered."""

import errno
import os
import socket
import struct
from collections.abc import Sequence

import pytest

from pylxcfs.cgroup.taskstats import (
    CgroupStats,
    TaskStates,
    pack_request,
    parse_family,
    parse_reply,
    parse_states,
)

_HEADER_SIZE = 20
_ASK_FAMILY = bytes.fromhex("24000000100001000100000000000000030100000e0002005441534b5354415453000000")
_FAMILY = bytes.fromhex(
    "70000000100000000100000062220000010200000e0002005441534b5354415453000000060001001f00000008000300"
    "01000000080004000000000008000500000000002c000600140001000800010001000000080002000b00000014000200"
    "0800010004000000080002000a000000"
)
_ASK_STATES = bytes.fromhex("1c0000001f0001000200000000000000040100000800010004000000")
_STATES = bytes.fromhex(
    "400000001f0000000200000062220000050100002c00010083000000000000000c000000000000000000000000000000"
    "00000000000000000000000000000000"
)
#: EINVAL for a directory of another file system, with the request; ENOENT for a family that is not there.
_NO_CGROUP = bytes.fromhex(
    "3000000002000000030000006a5c0000eaffffff1c0000001f0001000300000000000000040100000800010004000000"
)
_NO_FAMILY = bytes.fromhex(
    "3400000002000000040000006a5c0000feffffff20000000100001000400000000000000030100000b0002004e4f535543480000"
)


def test_requests() -> None:
    """Requests are, byte for byte, those that the kernel has understood."""
    assert _ASK_FAMILY == pack_request(16, 1, 3, 2, b"TASKSTATS\0")
    assert _ASK_STATES == pack_request(31, 2, 4, 1, struct.pack("=I", 4))


def test_family() -> None:
    """The family's number is found behind its name."""
    attributes = parse_reply(_FAMILY, 1)
    assert attributes == _FAMILY[_HEADER_SIZE:]
    assert 31 == parse_family(attributes)


def test_family_after_attributes_of_any_length() -> None:
    """Attributes are padded to four bytes; one of no length is no end of looking."""
    identity = struct.pack("=HHHxx", 6, 1, 29)
    for text in (b"", b"a", b"ab", b"abc", b"abcd"):
        padded = text + b"\0" * (-len(text) % 4)
        assert 29 == parse_family(struct.pack("=HH", 4 + len(text), 2) + padded + identity)
    assert 29 == parse_family(struct.pack("=HH", 0, 2) + identity)
    # As short as one can be that has it.
    assert 29 == parse_family(identity[:6])


@pytest.mark.parametrize("attributes", [b"", struct.pack("=HHI", 8, 2, 7), struct.pack("=HHB", 6, 1, 1)])
def test_no_family(attributes: bytes) -> None:
    """A family without a number is told as such."""
    with pytest.raises(OSError, match="family without an id") as caught:
        parse_family(attributes)
    assert errno.EPROTO == caught.value.errno


def test_states() -> None:
    """Each count is its own."""
    attributes = parse_reply(_STATES, 2)
    assert attributes is not None
    assert TaskStates(sleeping=131, running=12, stopped=0, uninterruptible=0) == parse_states(attributes)
    told = struct.pack("=HHQQQQQ", 44, 1, 1, 2, 3, 4, 5)
    assert TaskStates(sleeping=1, running=2, stopped=3, uninterruptible=4) == parse_states(told)
    with pytest.raises(OSError, match="short reply") as caught:
        parse_states(told[:-1])
    assert errno.EPROTO == caught.value.errno


@pytest.mark.parametrize(
    "reply,sequence,number", [(_NO_CGROUP, 3, errno.EINVAL), (_NO_FAMILY, 4, errno.ENOENT)]
)
def test_errors(reply: bytes, sequence: int, number: int) -> None:
    """An error is raised as the kernel has told it."""
    with pytest.raises(OSError, match="netlink") as caught:
        parse_reply(reply, sequence)
    assert number == caught.value.errno


def test_answer_to_another_request() -> None:
    """Neither an answer nor an error that belongs to another request is taken."""
    assert parse_reply(_STATES, 3) is None
    assert parse_reply(_NO_CGROUP, 2) is None


@pytest.mark.parametrize("length", [0, 1, _HEADER_SIZE - 1])
def test_short_reply(length: int) -> None:
    """What is shorter than a header is no reply."""
    with pytest.raises(OSError, match="short reply") as caught:
        parse_reply(_STATES[:length], 2)
    assert errno.EPROTO == caught.value.errno


class _Socket:
    """A kernel that answers what the test wrote down."""

    def __init__(self, replies: Sequence[bytes]) -> None:
        self.replies = [*replies]
        self.sent: list[bytes] = []
        self.is_open = True

    def open(self, *what: int) -> "_Socket":
        """Be a socket of NETLINK_GENERIC (16), and no other."""
        assert (socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, 16) == what
        return self

    def bind(self, address: tuple[int, int]) -> None:
        """Take any address."""
        assert (0, 0) == address

    def send(self, request: bytes) -> None:
        """Keep a request."""
        self.sent.append(request)

    def recv(self, size: int, _flags: int) -> bytes:
        """Give the next reply."""
        assert size >= 4096
        if not self.replies:
            raise BlockingIOError(errno.EAGAIN, os.strerror(errno.EAGAIN))
        return self.replies.pop(0)

    def close(self) -> None:
        """End."""
        self.is_open = False


def test_a_late_answer_is_skipped(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is left of an earlier request is not taken for the answer; without any there is an error."""
    late = bytearray(_STATES)
    struct.pack_into("=I", late, 8, 77)
    kernel = _Socket([_FAMILY, bytes(late), _STATES])
    monkeypatch.setattr("socket.socket", kernel.open)
    stats = CgroupStats()
    assert 131 == stats.count(4).sleeping
    assert [_ASK_FAMILY, _ASK_STATES] == kernel.sent
    with pytest.raises(BlockingIOError):
        stats.count(4)
    stats.close()
    assert not kernel.is_open


def test_no_taskstats(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the family is not there, nothing stays open."""
    reply = bytearray(_NO_FAMILY)
    struct.pack_into("=I", reply, 8, 1)
    kernel = _Socket([bytes(reply)])
    monkeypatch.setattr("socket.socket", kernel.open)
    with pytest.raises(FileNotFoundError):
        CgroupStats()
    assert not kernel.is_open


def test_an_attribute_is_skipped_whole() -> None:
    """What looks like the family's number within another attribute is not it."""
    inner = struct.pack("=HHHxx", 6, 1, 99)
    outer = struct.pack("=HH", 4 + len(inner), 2) + inner
    assert 29 == parse_family(outer + struct.pack("=HHHxx", 6, 1, 29))
