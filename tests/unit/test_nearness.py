"""Which processor answers."""

import os
from collections.abc import Callable

import pytest

from pylxcfs.cgroup.types import ParseError
from pylxcfs.fuse.nearness import Nearness

TASK = 7
OFTEN = 64
ALLOWED = frozenset({0, 1})


@pytest.fixture
def moves(monkeypatch: pytest.MonkeyPatch) -> list[set[int]]:
    """Record where the calling thread is sent; it may be on processors 0 and 1."""
    sent: list[set[int]] = []
    monkeypatch.setattr(os, "sched_getaffinity", lambda _task: {*ALLOWED})
    monkeypatch.setattr(os, "sched_setaffinity", lambda _task, cpus: sent.append(cpus))
    return sent


def _ask(last_cpu: Callable[[int], int], *tasks: int) -> None:
    nearness = Nearness(last_cpu)
    for task in tasks:
        nearness.asked_by(task)


def _fail(error: Exception) -> Callable[[int], int]:
    def last_cpu(task: int) -> int:
        del task
        raise error

    return last_cpu


def test_moves_to_a_reader_who_goes_on(moves: list[set[int]]) -> None:
    """After so many requests in a row, and again after as many; then it may be anywhere as before."""
    _ask(lambda task: task % 2, *[TASK] * (2 * OFTEN))
    assert [{1}, {0, 1}] * 2 == moves


def test_the_kernels_own_requests_do_not_count(moves: list[set[int]]) -> None:
    """Those that nobody has made, such as RELEASE, are between those of a reader."""
    _ask(lambda _task: 0, *[TASK, 0] * OFTEN)
    assert [{0}, {0, 1}] == moves


def test_many_readers_move_nothing(moves: list[set[int]]) -> None:
    """Two who take turns, and one that stops in time."""
    _ask(lambda _task: 0, *[TASK, TASK + 1] * OFTEN, *[TASK] * (OFTEN - 1))
    assert moves == []


@pytest.mark.parametrize(
    "last_cpu",
    [lambda _task: 2, _fail(FileNotFoundError()), _fail(ParseError("/proc/PID/stat", b""))],
    ids=["not allowed", "gone", "damaged"],
)
def test_stays(moves: list[set[int]], last_cpu: Callable[[int], int]) -> None:
    """Where we may not be, and where the reader cannot be found, we do not go."""
    _ask(last_cpu, *[TASK] * OFTEN)
    assert moves == []


def test_a_processor_that_is_switched_off_meanwhile(monkeypatch: pytest.MonkeyPatch) -> None:
    """The thread is as free as before also where the move fails."""
    sent = []

    def send(_task: int, cpus: set[int]) -> None:
        sent.append(cpus)
        if cpus != ALLOWED:
            raise OSError

    monkeypatch.setattr(os, "sched_getaffinity", lambda _task: {*ALLOWED})
    monkeypatch.setattr(os, "sched_setaffinity", send)
    _ask(lambda _task: 1, *[TASK] * OFTEN)
    assert [{1}, {0, 1}] == sent
