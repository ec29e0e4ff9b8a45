"""Open files: what one reader sees, and what the server after us would need for it."""

import time
from typing import Any

import pytest

from pylxcfs.cgroup.types import CgroupGone
from pylxcfs.fuse.handles import FixedFile, Handles, OpenFile
from pylxcfs.fuse.partial_reads import Handle
from pylxcfs.procfiles.table import VIRTUAL_FILES

_WORKER = 2


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

    def is_io_worker(self, pid: int) -> bool:
        """Tell that one thread is."""
        return pid == _WORKER

    def open(self, _file: object, _pid: int) -> tuple[None, bytes]:
        """Return what whoever reads sees."""
        return None, b"the reader's"


def _open(*contents: bytes | Exception, promised: bytes | None = None) -> OpenFile:
    service: Any = _Service()
    service.contents = [*contents]
    return OpenFile(service, VIRTUAL_FILES[0], (1, None, False), 1, promised)


def _asker() -> int:
    return 1


@pytest.mark.parametrize(
    "size,kept", [(9, b"0123456789"), (10, None), (11, None)], ids=["less", "exactly", "more"]
)
def test_the_first_pass(size: int, kept: bytes | None) -> None:
    """Who reads all at once needs no memory: of whom nothing is kept has had everything."""
    opened = _open(b"0123456789")
    assert opened.unkept is None
    assert b"0123456789"[:size] == opened.read(0, size, _asker)
    assert kept == opened.unkept
    # What has been told once is not told again.
    assert b"9" == opened.read(9, 5, _asker)
    assert opened.unkept is None


def test_a_pass_after_one_in_pieces() -> None:
    """What was kept is given up when a later pass is read at once."""
    opened = _open(b"0123456789", b"abc", b"ABCDEFGHIJ")
    seen = [(opened.read(0, size, _asker), opened.unkept) for size in (5, 100, 100)]
    assert [(b"01234", b"0123456789"), (b"abc", b""), (b"ABCDEFGHIJ", None)] == seen


def test_who_reads_backwards() -> None:
    """One content is read from its end to its start, and kept; who comes back to the start sees news."""
    opened = _open(b"0123456789", b"news")
    seen = [(opened.read(offset, 5, _asker), opened.unkept) for offset in (5, 0, 0)]
    assert [(b"56789", b"0123456789"), (b"01234", None), (b"news", b"")] == seen


def test_a_container_that_has_ended() -> None:
    """It keeps what it last said; where it has said nothing, the reader sees its own."""
    opened = _open(b"last", CgroupGone("/a"))
    assert [b"last"] * 2 == [opened.read(0, 9, _asker), opened.read(0, 9, _asker)]
    assert b"told" == _open(CgroupGone("/a"), promised=b"told").read(0, 9, _asker)
    assert b"the reader's" == _open(CgroupGone("/a")).read(0, 99, _asker)


@pytest.mark.parametrize("begun", [b"", b"old pass"])
def test_going_on_for_an_earlier_server(begun: bytes) -> None:
    """Its present pass goes on where there is one, else it is over; the next pass is new."""
    opened = _open(b"next")
    opened.go_on(begun)
    assert begun[2:] == opened.read(2, 100, _asker)
    assert opened.unkept is None
    assert b"next" == opened.read(0, 100, _asker)
    assert (b"" if begun else None) == opened.unkept


def test_who_asks_and_reads_at_once_has_it_rendered_once() -> None:
    """As cat(1) does."""
    opened = _open(b"one", b"two", b"ten")
    assert b"one" == opened.promise(_asker) == opened.read(0, 9, _asker)
    assert b"two" == opened.read(0, 9, _asker)


def test_promises(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a pass under way its own content; before one, what holds until it begins, fresh if as long."""
    monkeypatch.setattr("pylxcfs.fuse.handles._SAME_MOMENT_SECONDS", 0)
    opened = _open(b"one", b"two", b"three", b"four")
    assert [b"one"] * 2 == [opened.promise(_asker), opened.promise(_asker)]
    assert b"tw" == opened.read(0, 2, _asker)
    assert b"two" == opened.promise(_asker)
    assert b"o" == opened.read(2, 2, _asker)
    assert b"three" == opened.promise(_asker)
    assert b"three" == opened.read(0, 9, _asker)


@pytest.mark.parametrize("promised", [b"told first", None])
def test_promised_to_others(promised: bytes | None) -> None:
    """What another thread of the container was told holds, where nothing else was promised."""
    opened = _open(b"fresh", b"later", promised=promised)
    opened.promise_others(b"told")
    assert (promised or b"told") == opened.read(0, 99, _asker)
    opened.promise_others(b"told again")
    assert b"later" == opened.read(0, 99, _asker)


def test_io_uring_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the kernel does not advance the position; to the end, and then it begins anew."""
    opened = _open(b"0123456", b"anew", b"later", b"again")

    def read() -> bytes:
        return opened.read(0, 4, lambda: _WORKER)

    assert [b"0123", b"456", b"", b"anew", b""] == [read() for _ in range(5)]
    assert b"late" == read()
    monkeypatch.setattr(time, "monotonic", lambda: 1e9)
    assert b"agai" == read()


def test_others_go_back() -> None:
    """Processes, and who says where to read."""
    opened = _open(b"first", b"second", b"third")
    assert [b"fir", b"sec"] == [opened.read(0, 3, _asker) for _ in range(2)]
    assert b"co" == opened.read(2, 2, lambda: _WORKER)
    assert b"thi" == opened.read(0, 3, lambda: _WORKER)


def test_what_never_changes() -> None:
    """It is kept by whoever reads it in pieces."""
    fixed = FixedFile(b"fixed")
    reads = [(fixed.read(*piece, _asker), fixed.unkept) for piece in ((0, 3), (3, 9), (0, 9))]
    assert [(b"fix", b"fixed"), (b"ed", None), (b"fixed", None)] == reads


def test_what_is_open() -> None:
    """Numbers are given once, and what is closed is told from what another server has opened."""
    handles: Handles[str] = Handles(5)
    first, second = handles.add("a"), handles.add("b")
    assert (5, 6) == (first, second)
    assert ("a", "b", None) == (handles.get(first), handles.get(second), handles.get(Handle(1)))
    assert 2 == len(handles)
    assert ["a", None] == [handles.remove(first), handles.remove(first)]
    handles.adopt(Handle(1), "c")
    assert "c" == handles.get(Handle(1))
    assert 2 == len(handles)
