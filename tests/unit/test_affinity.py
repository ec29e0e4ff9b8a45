"""Which processor answers."""

import os
from collections.abc import Callable

import pytest

from pylxcfs.cgroup.types import ParseError
from pylxcfs.fuse.affinity import Nearness

TASK = 7
OFTEN = 16
EVERYTHING = {*range(os.sysconf("SC_NPROCESSORS_CONF"))}


class _Kernel:
    """The affinity of the calling thread: what was wished, cut to its cpuset."""

    def __init__(self, patch: pytest.MonkeyPatch, cpuset: set[int], wish: set[int]) -> None:
        self.cpuset = cpuset
        self.wish = wish
        #: What was wished for one after the other.
        self.wishes: list[set[int]] = []
        patch.setattr(os, "sched_getaffinity", lambda task: {} if task else self.cpuset & self.wish)
        patch.setattr(os, "sched_setaffinity", self.set_affinity)

    def set_affinity(self, task: int, cpus: set[int]) -> None:
        """Move who calls (0), and nobody else."""
        assert 0 == task
        self.go_to(cpus)

    def go_to(self, cpus: set[int]) -> None:
        """Wish for these."""
        if not cpus & self.cpuset:
            raise OSError
        self.wish = cpus
        self.wishes.append(cpus)

    @property
    def moves(self) -> list[set[int]]:
        """To which single processors the thread was sent."""
        return [cpus for cpus in self.wishes if len(cpus) == 1]


@pytest.fixture
def kernel(monkeypatch: pytest.MonkeyPatch) -> _Kernel:
    """Return one that lets us be on processors 0 and 1."""
    return _Kernel(monkeypatch, {0, 1}, {0, 1})


def _ask(last_cpu: Callable[[int], int], *tasks: int) -> None:
    nearness = Nearness(last_cpu)
    for task in tasks:
        nearness.asked_by(task)


def _fail(error: Exception) -> Callable[[int], int]:
    def last_cpu(task: int) -> int:
        del task
        raise error

    return last_cpu


def test_moves_to_a_reader_who_goes_on(kernel: _Kernel) -> None:
    """After so many requests in a row, and again after as many; then it may be anywhere as before."""
    _ask(lambda task: task % 2, *[TASK] * (2 * OFTEN - 1))
    assert [{1}] == kernel.moves
    _ask(lambda task: task % 2, *[TASK] * (2 * OFTEN))
    assert [{1}] * 3 == kernel.moves
    assert {0, 1} == os.sched_getaffinity(0)


def test_cpuset_that_grows(kernel: _Kernel) -> None:
    """Where nothing but the cpuset confined us before, nothing else does later."""
    kernel.cpuset = kernel.wish = {1}
    _ask(lambda _task: 1, *[TASK] * OFTEN)
    assert EVERYTHING == kernel.wish


def test_affinity_of_the_operator(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who has confined us to less than the cpuset finds us there afterwards."""
    kernel = _Kernel(monkeypatch, {0, 1}, {1})
    _ask(lambda _task: 1, *[TASK] * OFTEN)
    assert ([{1}] * 3, {1}) == (kernel.moves, kernel.wish)


def test_the_kernels_own_requests_do_not_count(kernel: _Kernel) -> None:
    """Those that nobody has made, such as RELEASE, are between those of a reader."""
    _ask(lambda _task: 0, *[TASK, 0] * OFTEN)
    assert [{0}] == kernel.moves


def test_nobody_is_no_reader(kernel: _Kernel) -> None:
    """However often nobody asks, in a row or before the first reader, no task is looked for."""
    looked_for: list[int] = []

    def last_cpu(task: int) -> int:
        looked_for.append(task)
        return 0

    _ask(last_cpu, *[0] * (2 * OFTEN), *[TASK] * (OFTEN - 1), *[0] * OFTEN)
    assert ([], []) == (looked_for, kernel.moves)


def test_many_readers_move_nothing(kernel: _Kernel) -> None:
    """Two who take turns, and one that stops in time."""
    _ask(lambda _task: 0, *[TASK, TASK + 1] * OFTEN, *[TASK] * (OFTEN - 1))
    assert kernel.moves == []


@pytest.mark.parametrize(
    "last_cpu",
    [lambda _task: 2, _fail(FileNotFoundError()), _fail(ParseError("/proc/PID/stat", b""))],
    ids=["not allowed", "gone", "damaged"],
)
def test_stays(kernel: _Kernel, last_cpu: Callable[[int], int]) -> None:
    """Where we may not be, and where the reader cannot be found, we do not go."""
    _ask(last_cpu, *[TASK] * OFTEN)
    assert kernel.moves == []


def test_a_processor_that_is_taken_away_meanwhile(kernel: _Kernel, monkeypatch: pytest.MonkeyPatch) -> None:
    """The thread is as free as before also where the move fails."""
    nearness = Nearness(lambda _task: 1)
    for _ in range(OFTEN):
        nearness.asked_by(TASK)
    move = kernel.go_to

    def take_away(cpus: set[int]) -> None:
        if cpus == {1}:
            kernel.cpuset = {0}
        move(cpus)

    monkeypatch.setattr(kernel, "go_to", take_away)
    for _ in range(OFTEN):
        nearness.asked_by(TASK)
    assert ({0}, EVERYTHING) == (os.sched_getaffinity(0), kernel.wish)
