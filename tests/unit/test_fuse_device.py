"""What a /dev/fuse descriptor is asked besides serving; a pipe stands for it."""

import os
from collections.abc import Iterator

import pytest

from pylxcfs.fuse import device


@pytest.fixture
def pipe() -> Iterator[tuple[int, int]]:
    """Return both ends, of which a test may close the second one."""
    ends = os.pipe()
    yield ends
    os.close(ends[0])


def test_connected_until_the_other_side_has_gone(pipe: tuple[int, int]) -> None:
    """Requests that wait are no end; as the kernel says of an ended connection, POLLERR or POLLHUP is."""
    reading, writing = pipe
    assert device.is_connected(reading)
    os.write(writing, b"a request")
    assert device.is_connected(reading)
    os.close(writing)
    assert not device.is_connected(reading)


def test_sent_again(pipe: tuple[int, int]) -> None:
    """The kernel is told FUSE_NOTIFY_RESEND: 16 bytes, code 7, of no request."""
    reading, writing = pipe
    assert device.resend(writing)
    os.close(writing)
    assert bytes.fromhex("10000000070000000000000000000000") == os.read(reading, 99)


def test_a_kernel_that_cannot_send_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """EINVAL, as before Linux 6.9, is an answer; anything else is not."""
    errors = iter([OSError(22, "EINVAL"), OSError(2, "ENOENT")])

    def fail(_fd: int, _data: bytes) -> int:
        raise next(errors)

    monkeypatch.setattr(os, "write", fail)
    assert not device.resend(-1)
    with pytest.raises(FileNotFoundError):
        device.resend(-1)
