"""One count of a container's tasks, in parts."""

import errno
import os
from collections.abc import Sequence
from pathlib import Path

import pytest

from pylxcfs.accounting.load_count import LoadCount
from pylxcfs.accounting.load_tracker import REQUEST_MOST, REQUEST_UNITS, LoadTracker
from pylxcfs.cgroup.reader import CgroupFiles
from pylxcfs.cgroup.types import CgroupPath, CgroupPaths, TaskCounts
from pylxcfs.cgroup.v1 import V1Reader
from pylxcfs.containers.container import Container
from pylxcfs.containers.processes import Processes

_PATHS = CgroupPaths.of({name: CgroupPath("/a") for name in ("cpu", "freezer")})


class _World:
    """A container with tasks in several cgroups, and a /proc of its own."""

    def __init__(self, top: Path) -> None:
        self.top = top
        for name in ("cpu/a", "freezer/a", "proc"):
            (top / name).mkdir(parents=True)
        self.set_tasks("a", [])
        files = CgroupFiles({name: str(top / name) for name in ("cpu", "freezer")}, 64)
        self.reader = V1Reader(files)
        self.processes = Processes(os.open(top / "proc", os.O_RDONLY | os.O_DIRECTORY))

    def set_tasks(self, group: str, tasks: Sequence[int]) -> None:
        """Put tasks into a cgroup."""
        (self.top / "cpu" / group).mkdir(parents=True, exist_ok=True)
        (self.top / "cpu" / group / "tasks").write_text("".join(f"{task}\n" for task in tasks))

    def add(self, task: int, state: str, freezer: str = "/a") -> None:
        """Let a task be in a state, and in a cgroup of the freezer."""
        (self.top / f"proc/{task}/task/{task}").mkdir(parents=True)
        (self.top / f"proc/{task}/task/{task}/stat").write_text(f"{task} (x) {state} 1 2\n")
        (self.top / f"proc/{task}/cgroup").write_text(f"2:cpu:/a\n1:freezer:{freezer}\n")

    def freeze(self, group: str, state: str = "FROZEN") -> None:
        """Stop a cgroup of the freezer."""
        (self.top / f"freezer{group}").mkdir(exist_ok=True)
        (self.top / f"freezer{group}/freezer.state").write_text(f"{state}\n")

    def begin(self) -> LoadCount:
        return LoadCount(self.reader, self.processes, _PATHS)


@pytest.fixture
def world(tmp_path: Path) -> _World:
    """Return a container without tasks."""
    return _World(tmp_path)


def _finish(count: LoadCount, units: int = 1000) -> TaskCounts:
    for _ in range(10_000):
        if count.run(units):
            return count.counts
    raise AssertionError("never done")


@pytest.mark.parametrize("units", [1, 2, 3, 4, 1000])
def test_states(world: _World, units: int) -> None:
    """Runnable and uninterruptible tasks are counted apart, the others only as tasks, whatever the parts."""
    world.set_tasks("a", [1, 2, 3])
    world.set_tasks("a/b", [4, 5, 6, 7])
    for task, state in enumerate("RDSRRD", 1):
        world.add(task, state)
    # The seventh has gone meanwhile.
    assert TaskCounts(3, 2, 6) == _finish(world.begin(), units)


def test_newest(world: _World) -> None:
    """The eight with the highest ids are told, highest first, whichever cgroups they are in."""
    world.set_tasks("a", [3, 1, 2, 50, 40, 30, 20, 10])
    world.set_tasks("a/b", [35, 5, 45])
    count = world.begin()
    _finish(count)
    assert [50, 45, 40, 35, 30, 20, 10, 5] == [*count.newest]


def test_parts(world: _World) -> None:
    """A part asks no more tasks than it has units; a cgroup costs three of them."""
    tasks = [*range(1, 101)]
    world.set_tasks("a", tasks)
    for task in tasks:
        world.add(task, "R")
    count = world.begin()
    assert not count.run(1)
    assert 0 == count.counts.total
    for expected in (10, 20, 30):
        assert not count.run(10)
        assert expected == count.counts.total
    assert not count.run(70)
    assert count.run(1)
    # Three for the cgroup, one for its list of a hundred.
    count = world.begin()
    assert not count.run(14)
    assert TaskCounts(10, 0, 10) == count.counts


def test_too_large_for_now(world: _World) -> None:
    """A cgroup that is too large is left to whoever may look at it."""
    world.set_tasks("a", [1, 2, 3])
    for task in (1, 2, 3):
        world.add(task, "R")
    count = world.begin()
    assert not count.run(1000, 2)
    assert not count.run(1000, 2)
    assert TaskCounts(3, 0, 3) == _finish(count)


def test_frozen_container(world: _World) -> None:
    """No task of a frozen container is load, and none is asked."""
    world.set_tasks("a", [1, 2])
    world.freeze("/a")
    assert TaskCounts(0, 0, 2) == _finish(world.begin())


@pytest.mark.parametrize("state,blocked", [("FROZEN", 1), ("FREEZING", 3), ("THAWED", 3)])
def test_frozen_below_and_beside(world: _World, state: str, blocked: int) -> None:
    """A task that a freezer has stopped is not load, wherever its cgroup is in the freezer's hierarchy."""
    world.set_tasks("a", [1, 2, 3, 4])
    world.freeze("/a", "THAWED")
    world.freeze("/a/below", state)
    world.freeze("/beside", state)
    world.add(1, "D", "/a/below")
    world.add(2, "D", "/beside")
    world.add(3, "D")
    world.add(4, "R", "/a/below")
    assert TaskCounts(1, blocked, 4) == _finish(world.begin())


def test_memberships_are_remembered_and_bounded(world: _World, monkeypatch: pytest.MonkeyPatch) -> None:
    """The freezer is asked once for all tasks of a cgroup, and what is remembered of cgroups is bounded."""
    asked = []
    is_frozen = V1Reader.is_frozen

    def ask(reader: V1Reader, paths: CgroupPaths) -> bool:
        asked.append(paths)
        return is_frozen(reader, paths)

    monkeypatch.setattr(V1Reader, "is_frozen", ask)
    world.set_tasks("a", [*range(1, 1001)])
    for task in range(1, 501):
        world.add(task, "D")
    for task in range(501, 1001):
        world.add(task, "D", f"/{task}")
    count = world.begin()
    assert TaskCounts(0, 1000, 1000) == _finish(count)
    # The container's own at the beginning, too.
    assert 1 + 1 + 500 == len(asked)
    assert 1 <= len(count._frozen) <= 256


@pytest.mark.parametrize("number", [errno.EMFILE, errno.ENFILE, errno.ENOMEM])
def test_want_of_resources(world: _World, monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    """A count that misses tasks for want of resources is none."""
    world.set_tasks("a", [1])
    count = world.begin()

    def fail(_processes: Processes, _task: int) -> str:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(Processes, "task_state", fail)
    with pytest.raises(OSError, match=os.strerror(number)):
        count.run(100)


def test_not_to_be_asked(world: _World, monkeypatch: pytest.MonkeyPatch) -> None:
    """A task that a security module hides from us costs itself."""
    world.set_tasks("a", [1, 2])
    world.add(2, "R")
    task_state = Processes.task_state

    def hide(processes: Processes, task: int) -> str:
        if task == 1:
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
        return task_state(processes, task)

    monkeypatch.setattr(Processes, "task_state", hide)
    assert TaskCounts(1, 0, 1) == _finish(world.begin())


def _count_calls(monkeypatch: pytest.MonkeyPatch, *names: str) -> list[str]:
    """Note each call of these functions of os."""
    calls: list[str] = []
    for name in names:
        original = getattr(os, name)

        def call(*args: object, name: str = name, original: object = original, **options: object) -> object:
            calls.append(name)
            return original(*args, **options)  # type: ignore[operator]

        monkeypatch.setattr(os, name, call)
    return calls


@pytest.mark.parametrize(
    "tasks,groups", [(100_000, 0), (REQUEST_MOST, 0), (1, 3000), (1, REQUEST_MOST), (250, 250)]
)
def test_system_calls_of_one_request(
    world: _World, monkeypatch: pytest.MonkeyPatch, tasks: int, groups: int
) -> None:
    """However many tasks and cgroups a container has, one request makes a bounded number of system calls."""
    # All are one task, which stands for as many.
    world.add(1, "D")
    world.set_tasks("a", [1] * tasks)
    for number in range(groups):
        world.set_tasks(f"a/{number}", [])
    container = Container(_PATHS, 1, 0, in_host_pid_namespace=True)
    tracker = LoadTracker(world.reader, world.processes, counts_beside=True)
    calls = _count_calls(monkeypatch, "open", "read", "close", "fstat", "stat", "scandir")
    tracker.read(container, 0)
    first = len(calls)
    calls.clear()
    tracker.read(container, 0)
    # A task takes three, one in uninterruptible sleep nine, a cgroup seven.
    assert first <= 60 + 9 * REQUEST_UNITS
    assert not calls
