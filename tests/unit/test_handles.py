"""Open files: what one reader sees, and what the server after us would need for it."""

from typing import Any

import pytest

from pylxcfs.cgroup.types import CgroupGone
from pylxcfs.fuse.handles import Handles, OpenFile
from pylxcfs.fuse.partial_reads import UNKNOWN_LENGTH, Handle, first_serial, length_of, number_handle
from pylxcfs.procfiles.table import VIRTUAL_FILES

_LONG = UNKNOWN_LENGTH


class _Service:
    """Renders what the test wrote down."""

    def __init__(self) -> None:
        self.contents: list[bytes | Exception] = []

    def read(self, _file: object, _container: object) -> bytes:
        """Return the next content."""
        content = self.contents.pop(0)
        if isinstance(content, Exception):
            raise content
        return content


def _open(content: bytes, *later: bytes | Exception) -> OpenFile:
    service: Any = _Service()
    service.contents = [*later]
    return OpenFile(service, VIRTUAL_FILES[0], None, content)


@pytest.mark.parametrize(
    "size,kept", [(9, b"0123456789"), (10, None), (11, None)], ids=["less", "exactly", "more"]
)
def test_the_first_pass(size: int, kept: bytes | None) -> None:
    """Who reads all at once needs no memory: the handle tells how long it was."""
    opened = _open(b"0123456789")
    assert opened.unkept is None
    assert b"0123456789"[:size] == opened.read(0, size)
    assert kept == opened.unkept
    assert 10 == opened.length
    # What has been told once is not told again.
    assert b"9" == opened.read(9, 5)
    assert opened.unkept is None


def test_a_pass_of_another_length() -> None:
    """A later pass whose length the handle does not tell is kept, also where it is read at once."""
    opened = _open(b"0123456789", b"abc", b"ABCDEFGHIJ")
    opened.read(0, 100)
    assert b"abc" == opened.read(0, 100)
    assert b"abc" == opened.unkept
    assert 3 == opened.length
    assert b"ABCDEFGHIJ" == opened.read(0, 100)
    assert opened.unkept is None


def test_a_pass_that_begins_in_the_middle() -> None:
    """What was rendered at the open is read, and kept."""
    opened = _open(b"0123456789")
    assert b"56" == opened.read(5, 2)
    assert b"0123456789" == opened.unkept
    assert b"7" == opened.read(7, 1)
    assert opened.unkept is None


@pytest.mark.parametrize("length,kept", [(_LONG - 1, False), (_LONG, True), (_LONG + 1, True)])
def test_longer_than_a_handle_can_tell(length: int, *, kept: bool) -> None:
    """Such content is kept from the beginning."""
    assert kept is (_open(bytes(length)).unkept is not None)


def test_a_container_that_has_ended() -> None:
    """It keeps what it last said."""
    opened = _open(b"last", CgroupGone("/a"))
    assert b"last" == opened.read(0, 9)
    assert b"last" == opened.read(0, 9)


@pytest.mark.parametrize("begun", [None, b"old pass"])
def test_going_on_for_an_earlier_server(begun: bytes | None) -> None:
    """Its present pass goes on where there is one; the next pass is new."""
    opened = _open(b"new content", b"next")
    opened.go_on(8, begun)
    expected = begun or b"new content"
    assert expected[2:] == opened.read(2, 100)
    assert (begun is None) is (opened.unkept is not None)
    assert b"next" == opened.read(0, 100)
    # The handle tells another length.
    assert b"next" == opened.unkept


@pytest.mark.parametrize("length", [0, 1, _LONG - 1, _LONG])
def test_a_handle_tells_the_length(length: int) -> None:
    """Up to what has room in it; each handle is another."""
    assert length == length_of(number_handle(77, length))
    assert number_handle(77, length) < number_handle(78, 0)
    assert 262_143 == _LONG == length_of(number_handle(77, _LONG + 5))


def test_serial_numbers_grow_over_a_restart() -> None:
    """A server that starts a moment later numbers on, within 46 bits for 36 years."""
    assert (0, 0, 1) == (first_serial(0), first_serial((1 << 14) - 1), first_serial(1 << 14))
    years = 36 * 365 * 86400 * 10**9
    assert first_serial(years) < 1 << 46
    assert number_handle(first_serial(years), 0) < 1 << 64


def test_what_is_open() -> None:
    """Numbers are given once, and what is closed is told from what another server has opened."""
    handles: Handles[str] = Handles(5)
    first, second = handles.add("a", 7), handles.add("b")
    assert (7, 0) == (length_of(first), length_of(second))
    assert ("a", "b", None) == (handles.get(first), handles.get(second), handles.get(Handle(1)))
    assert 2 == len(handles)
    assert handles.remove(first)
    assert not handles.remove(first)
    handles.adopt(Handle(1), "c")
    assert "c" == handles.get(Handle(1))
    assert 2 == len(handles)
