"""What stat(2) has told whom."""

from typing import Any

from pylxcfs.fuse.handles import OpenFile, Whose
from pylxcfs.fuse.told_lengths import ToldLengths
from pylxcfs.procfiles.table import VIRTUAL_FILES

FILE: Whose = (7, None, False)
OTHER: Whose = (8, None, False)


_OPENED = ((FILE, 1), (FILE, 1), (FILE, 2), (OTHER, 1))


def _file(whose: Whose, pid: int) -> OpenFile:
    service: Any = None
    return OpenFile(service, VIRTUAL_FILES[0], whose, pid)


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
    """The latest of a thread, and of all; what is closed is forgotten."""
    told = ToldLengths(Clock())
    files = [_file(*opened) for opened in _OPENED]
    for file in files:
        told.opened(file)
    assert [files[1], files[2], None] == [told.opened_by(FILE, pid) for pid in (1, 2, 3)]
    assert [files[2], files[3]] == [told.latest(FILE), told.latest(OTHER)]
    told.closed(files[0])
    assert files[1] == told.opened_by(FILE, 1)
    for file in files[1:]:
        told.closed(file)
    assert ({}, {}) == (told._own, told._latest)


def test_a_thread_that_is_in_another_container_now() -> None:
    """Nothing is told of what its number had open elsewhere."""
    told = ToldLengths(Clock())
    told.opened(_file((7, None, True), 1))
    assert told.opened_by(FILE, 1) is None


def test_what_is_over_is_dropped_and_nothing_else() -> None:
    """The oldest go first, whatever is told meanwhile."""
    clock = Clock()
    told = ToldLengths(clock)
    told.note(FILE, 1, b"old", 2)
    clock.seconds = 1.0
    told.note(OTHER, 1, b"young", 2)
    clock.seconds = 2.0
    told.note(OTHER, 2, b"new", 2)
    assert (None, b"young", b"new") == (
        told.promised(FILE, 1),
        told.promised(OTHER, 1),
        told.promised(OTHER, 2),
    )
    # One entry for each thread, and one for anybody in its container.
    assert 3 == len(told._told)
