"""What stat(2) has told whom."""

from typing import Any

from pylxcfs.fuse.partial_reads import Handle
from pylxcfs.fuse.told_lengths import ToldLengths, Whose

FILE: Whose = (7, None, False)
OTHER: Whose = (7, None, True)


class Clock:
    """Stands still until the test moves it."""

    def __init__(self) -> None:
        """Begin."""
        self.seconds = 0.0

    def __call__(self) -> float:
        """Return the time."""
        return self.seconds


def test_each_asker_is_kept_its_word() -> None:
    """For the cache's lifetime; who was told nothing takes what another of the container was told last."""
    clock = Clock()
    told = ToldLengths(clock)
    assert told.promised(FILE, 1) is None
    told.note(FILE, 1, b"one", 2)
    clock.seconds = 1
    told.note(FILE, 2, b"two", 2)
    assert (b"one", b"two", b"two") == tuple(told.promised(FILE, pid) for pid in (1, 2, 3))
    assert told.promised(OTHER, 1) is None
    clock.seconds = 2
    assert (b"two", b"two") == (told.promised(FILE, 1), told.promised(FILE, 2))
    clock.seconds = 3
    assert told.promised(FILE, 2) is None
    told.note(OTHER, 1, b"other", 2)
    assert 2 == len(told._told)


def test_without_a_cache_nothing_is_remembered() -> None:
    """Each open renders anew, then."""
    told = ToldLengths(Clock())
    told.note(FILE, 1, b"one", 0)
    assert told.promised(FILE, 1) is None


def test_askers_are_bounded() -> None:
    """However many threads ask at once."""
    told = ToldLengths(Clock())
    for pid in range(1, 5000):
        told.note(FILE, pid, b"one", 100)
    assert len(told._told) <= 1026
    assert b"one" == told.promised(FILE, 4999)


def test_who_has_opened_what() -> None:
    """The latest of a thread, and of all; what is closed is forgotten. Pid 0 is one whom we cannot see."""
    told = ToldLengths(Clock())
    files: list[Any] = [object(), object(), object()]
    for number, (pid, file) in enumerate(zip((1, 1, 0), files, strict=True)):
        told.opened(FILE, pid, Handle(number), file)
    assert [*files[1:], None] == [told.opened_by(FILE, 1), told.opened_by(FILE), told.opened_by(FILE, 2)]
    told.closed(Handle(1))
    told.closed(Handle(2))
    told.closed(Handle(2))
    assert files[:1] * 2 == [told.opened_by(FILE, 1), told.opened_by(FILE)]
    told.closed(Handle(0))
    assert ({}, {}) == (told._open, told._keys)
