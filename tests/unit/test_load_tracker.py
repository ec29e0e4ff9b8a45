"""The tracker: what is sampled when, and for how long."""

from pathlib import Path

import pytest

from pylxcfs.accounting.load_average import Averages
from pylxcfs.accounting.load_file import LoadFile
from pylxcfs.accounting.load_tracker import LoadTracker
from pylxcfs.cgroup.reader import CgroupFiles
from pylxcfs.cgroup.types import CgroupGone, CgroupPath, CgroupPaths, CpuStats, CpuTime, TaskCounts, Tasks
from pylxcfs.cgroup.v1 import V1Reader
from pylxcfs.containers.container import Container
from pylxcfs.containers.processes import Processes
from pylxcfs.view.host import HostReader


class _Reader(V1Reader):
    """Has as many runnable tasks in each cgroup as the test wrote down."""

    running: dict[str, int]
    #: Every task of every cgroup.
    ids: list[int]
    usage_usec: int
    asked: list[str]

    def tasks(self, paths: CgroupPaths) -> Tasks:
        name = paths.by_hierarchy[0][1]
        self.asked.append(name)
        if name not in self.running:
            raise CgroupGone(name)
        return Tasks(self.ids, TaskCounts(self.running[name], 0, 2))

    def cpu(self, paths: CgroupPaths) -> CpuStats:
        del paths
        return CpuStats(unplaced=CpuTime(self.usage_usec, 0))


class _World:
    """A tracker on a clock that the test turns."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 1000.0
        monkeypatch.setattr("time.monotonic", lambda: self.now)
        self.reader = _Reader(CgroupFiles({}, 64))
        self.reader.running, self.reader.usage_usec, self.reader.asked = {}, 0, []
        self.reader.ids = [9, 5]
        self.tracker = LoadTracker(self.reader, Processes(HostReader(Path("/proc"), Path("/sys")).proc_fd))

    def add(self, name: str, running: int) -> Container:
        """Make a service with so many runnable tasks."""
        self.reader.running[name] = running
        return Container(CgroupPaths.of({"cpu": CgroupPath(name)}), 1, 0, in_host_pid_namespace=True)


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> _World:
    """Return an empty world."""
    return _World(monkeypatch)


def test_followed_only_once_read(world: _World) -> None:
    """Nothing is sampled before its first reader; from then on it is, once per period."""
    a = world.add("/a", 1)
    world.tracker.step()
    assert world.tracker.idle
    assert Averages(0, 0, 0) == world.tracker.read(a, 0).averages
    for _ in range(40):
        world.now += 0.25
        world.tracker.step()
    assert 1 + 2 == len(world.reader.asked)
    one = world.tracker.read(a, 0).averages
    assert one is not None
    assert one.one > one.five > one.fifteen > 0


def test_unread_is_dropped(world: _World) -> None:
    """What nobody has read for a quarter of an hour is not sampled any more."""
    world.tracker.read(world.add("/a", 1), 0)
    world.now += 899
    world.tracker.step()
    assert not world.tracker.idle
    world.now += 6
    world.tracker.step()
    assert world.tracker.idle


def test_ended_is_dropped(world: _World) -> None:
    """A cgroup that has gone ends its own sampling, and nobody else's."""
    world.tracker.read(world.add("/a", 1), 0)
    world.tracker.read(world.add("/b", 1), 0)
    del world.reader.running["/a"]
    world.now += 5
    world.tracker.step()
    world.reader.asked.clear()
    world.now += 5
    world.tracker.step()
    assert ["/b"] == world.reader.asked


def test_forgotten(world: _World) -> None:
    """A container that has died is dropped at once."""
    a = world.add("/a", 1)
    world.tracker.read(a, 0)
    world.tracker.forget(a)
    assert world.tracker.idle


def test_readers_share_a_count(world: _World) -> None:
    """Polling readers cause one count a second."""
    a = world.add("/a", 1)
    for _ in range(100):
        world.tracker.read(a, 0)
        world.now += 0.02
    assert len(world.reader.asked) <= 3


def test_a_step_ends_early_and_goes_on_with_the_others(
    world: _World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """When a step's time is over the others wait for the next one, and none is left out."""
    for name in ("/a", "/b", "/c"):
        world.tracker.read(world.add(name, 1), 0)
    world.reader.asked.clear()
    world.now += 5
    tasks = world.reader.tasks

    def slow(paths: CgroupPaths) -> Tasks:
        world.now += 0.01
        return tasks(paths)

    monkeypatch.setattr(world.reader, "tasks", slow)
    for _ in range(3):
        world.tracker.step()
    assert ["/a", "/b", "/c"] == world.reader.asked


def test_a_gap_counts_for_all_its_periods(world: _World) -> None:
    """After a long pause the averages are where the present load has taken them."""
    a = world.add("/a", 3)
    world.tracker.read(a, 0)
    world.now += 3600 * 3
    averages = world.tracker.read(a, 0).averages
    assert Averages(3 * 2048, 3 * 2048, 3 * 2048) == averages


def test_first_reading_shows_what_ran_on_average(world: _World) -> None:
    """A container that used two CPUs for all of a day begins with a load of two."""
    day = 24 * 3600 * 1_000_000
    world.reader.usage_usec = 2 * day
    view = world.tracker.read(world.add("/a", 0), day)
    assert Averages(4096, 4096, 4096) == view.averages
    assert (0, 0, 2, 9) == (view.running, view.blocked, view.total, view.last_pid)


def test_last_pid_is_asked_for_when_tasks_change(world: _World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each sample counts, but only where a task has come or gone is one asked for its own number."""
    asked = []

    def find_inner_pid(_processes: Processes, tasks: list[int], _init_pid: int) -> int:
        asked.append(tasks)
        return tasks[0] - 1

    monkeypatch.setattr(Processes, "find_inner_pid", find_inner_pid)
    world.add("/a", 1)
    container = Container(CgroupPaths.of({"cpu": CgroupPath("/a")}), 1, 0, in_host_pid_namespace=False)
    shown = []
    for ids in ([9, 5], [5, 9], [5, 9, 12], [5, 9, 12], [5, 9]):
        world.reader.ids = ids
        world.now += 1
        shown.append(world.tracker.read(container, 0).last_pid)
    assert [8, 8, 11, 11, 8] == shown
    assert [[9, 5], [12, 9, 5], [9, 5]] == asked


def test_averages_survive_a_restart(world: _World, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The next process continues where the last one stopped, the gap included."""
    a, b = world.add("/a", 2), world.add("/b", 1)
    for container in (a, b):
        world.tracker.read(container, 0)
    world.now += 60
    world.tracker.step()
    file = tmp_path / "new/load.json"
    LoadFile(file, "boot").save(world.tracker.snapshot())
    now = world.now
    after = _World(monkeypatch)
    after.now = now
    after.reader.running = world.reader.running
    after.tracker.restore(LoadFile(file, "boot").load())
    assert world.tracker.snapshot() == after.tracker.snapshot()
    same = Container(a.paths, a.init_pid, a.init_start_ticks, in_host_pid_namespace=True)
    for seconds in (0, 20):
        after.now = world.now = now + seconds
        assert world.tracker.read(a, 0) == after.tracker.read(same, 0)
    # Restored once more, from a clock that has begun anew: nothing of it is due in this one's future.
    after.tracker.forget(b)
    after.now = 1.0
    after.tracker.restore(LoadFile(file, "boot").load())
    assert Averages(0, 0, 0) == after.tracker.read(b, 0).averages


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "[]",
        "{}",
        '{"version": 2, "boot_id": "boot", "loads": []}',
        '{"version": 1, "boot_id": "other", "loads": [[[["cpu", "/a"]], 1, 0, [1, 2, 3], 5.0]]}',
        '{"version": 1, "boot_id": "boot", "loads": 3}',
        '{"version": 1, "boot_id": "boot", "loads": [[[["cpu", "/a"]], 1, 0, [1, 2], 5.0]]}',
        '{"version": 1, "boot_id": "boot", "loads": [[[["cpu", "/a"]], 1, 0, [1, 2, -3], 5.0]]}',
        '{"version": 1, "boot_id": "boot", "loads": [[[["cpu", "/a"]], 1, 0, [1, 2, 3], Infinity]]}',
        '{"version": 1, "boot_id": "boot", "loads": [[[["cpu", "/a"]], 1, 0, [1, 2, 3], "5"]]}',
        '{"version": 1, "boot_id": "boot", "loads": [[[["cpu", "/a"]], 1, 0, [1, 2, Infinity], 5.0]]}',
        '{"version": 1, "boot_id": "boot", "loads": [[[["cpu"]], 1, 0, [1, 2, 3], 5.0]]}',
    ],
)
def test_damaged_or_foreign_state_is_ignored(tmp_path: Path, text: str) -> None:
    """What is not whole, or is from another boot, is as good as none."""
    file = tmp_path / "load.json"
    file.write_text(text)
    assert {} == LoadFile(file, "boot").load()


def test_state_that_cannot_be_written_is_no_error(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """One warning, and the daemon goes on."""
    (tmp_path / "file").write_text("")
    file = LoadFile(tmp_path / "file/load.json", "boot")
    file.save({})
    file.save({})
    assert 1 == len(caplog.records)
    assert {} == file.load()
