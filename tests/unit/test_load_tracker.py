"""The tracker: what is sampled when, and for how long."""

import errno
import os
from pathlib import Path

import pytest

from pylxcfs.accounting.load_average import Averages, LoadAverage
from pylxcfs.accounting.load_count import LoadCount
from pylxcfs.accounting.load_file import LoadFile
from pylxcfs.accounting.load_tracker import LoadTracker
from pylxcfs.cgroup.reader import CgroupFiles
from pylxcfs.cgroup.types import (
    CgroupError,
    CgroupGone,
    CgroupPath,
    CgroupPaths,
    ControllerUnavailable,
    CpuStats,
    CpuTime,
    TaskCounts,
    TaskGroup,
    TaskWalk,
)
from pylxcfs.cgroup.v1 import V1Reader
from pylxcfs.containers.container import Container
from pylxcfs.containers.processes import Processes
from pylxcfs.view.host import HostReader


class _Walk:
    """Cgroups whose tasks the kernel has counted: one, as many empty ones as the test wrote, a last one."""

    is_cut = False

    def __init__(self, group: TaskGroup, empty: int, last: TaskGroup) -> None:
        self.groups = iter([group, *[TaskGroup(())] * empty, last])

    def step(self, most: int | None = None) -> TaskGroup | None:
        del most
        return next(self.groups, None)


class _Reader(V1Reader):
    """Has as many runnable tasks in each cgroup as the test wrote down."""

    running: dict[str, int]
    #: Cgroups below, by container: none where there is no entry.
    nested: dict[str, int]
    #: Every task of every cgroup, and how many of them wait for a disk.
    ids: list[int]
    blocked: int
    #: Tasks of the cgroup that a walk comes to last.
    last: int
    usage_usec: int | CgroupError
    asked: list[str]

    def walk_tasks(self, paths: CgroupPaths) -> TaskWalk:
        name = paths.by_hierarchy[0][1]
        self.asked.append(name)
        if name not in self.running:
            raise CgroupGone(name)
        counts = TaskCounts(self.running[name], self.blocked, len(self.ids))
        last = TaskGroup((), TaskCounts(0, 0, self.last))
        return _Walk(TaskGroup(self.ids, counts), self.nested.get(name, 0), last)

    def is_frozen(self, paths: CgroupPaths) -> bool:
        del paths
        return False

    def cpu(self, paths: CgroupPaths) -> CpuStats:
        del paths
        if isinstance(self.usage_usec, CgroupError):
            raise self.usage_usec
        return CpuStats(unplaced=CpuTime(self.usage_usec, 0))


class _World:
    """A tracker on clocks that the test turns."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 1000.0
        #: CPU time of whoever asks for it.
        self.used = 0.0
        monkeypatch.setattr("time.monotonic", lambda: self.now)
        monkeypatch.setattr("time.thread_time", lambda: self.used)
        self.reader = _Reader(CgroupFiles({}, 64))
        self.reader.running, self.reader.usage_usec, self.reader.asked = {}, 0, []
        self.reader.nested = {}
        self.reader.ids = [9, 5]
        self.reader.blocked = self.reader.last = 0
        self.processes = Processes(HostReader(Path("/proc"), Path("/sys")).proc_fd)
        self.tracker = LoadTracker(self.reader, self.processes, counts_beside=True)

    def add(self, name: str, running: int, nested: int = 0) -> Container:
        """Make a service with so many runnable tasks, and so many empty cgroups."""
        self.reader.running[name] = running
        self.reader.nested[name] = nested
        return Container(CgroupPaths.of({"cpu": CgroupPath(name)}), 1, 0, in_host_pid_namespace=True)

    def work(self, times: int = 1) -> None:
        """Let the counting thread work so many times without a pause."""
        for _ in range(times):
            self.tracker.work()


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> _World:
    """Return an empty world."""
    return _World(monkeypatch)


def test_followed_only_once_read(world: _World) -> None:
    """Nothing is sampled before its first reader; from then on it is, once per period."""
    a = world.add("/a", 1)
    world.work()
    assert world.tracker.idle
    assert Averages(0, 0, 0) == world.tracker.read(a, 0).averages
    for _ in range(40):
        world.now += 0.25
        world.work()
    assert 1 + 2 == len(world.reader.asked)
    one = world.tracker.read(a, 0).averages
    assert one is not None
    assert one.one > one.five > one.fifteen > 0


def test_unread_is_dropped(world: _World) -> None:
    """What nobody has read for a quarter of an hour is not sampled any more."""
    world.tracker.read(world.add("/a", 1), 0)
    world.now += 899
    world.work()
    world.tracker.prune()
    assert not world.tracker.idle
    world.now += 1
    world.tracker.prune()
    assert world.tracker.idle


def test_ended_is_dropped(world: _World) -> None:
    """A cgroup that has gone ends its own sampling, and nobody else's."""
    world.tracker.read(world.add("/a", 1), 0)
    world.tracker.read(world.add("/b", 1), 0)
    del world.reader.running["/a"]
    world.now += 5
    world.work()
    world.reader.asked.clear()
    world.now += 5
    world.work()
    assert ["/b"] == world.reader.asked
    assert 2 == world.tracker.followed
    world.tracker.prune()
    assert 1 == world.tracker.followed


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


def test_work_ends_early_and_goes_on_with_the_others(world: _World, monkeypatch: pytest.MonkeyPatch) -> None:
    """When its time is over the others wait for the next one, and none is left out; pauses keep the share."""
    for name in ("/a", "/b", "/c"):
        world.tracker.read(world.add(name, 1), 0)
    world.reader.asked.clear()
    world.now += 5
    walk_tasks = world.reader.walk_tasks

    def slow(paths: CgroupPaths) -> TaskWalk:
        world.used += 0.01
        return walk_tasks(paths)

    monkeypatch.setattr(world.reader, "walk_tasks", slow)
    pauses = [world.tracker.work() for _ in range(4)]
    assert ["/a", "/b", "/c"] == world.reader.asked
    assert pytest.approx([0.09, 0.09, 0.25, 0.25]) == pauses


def test_a_large_container_is_counted_beside_its_requests(world: _World) -> None:
    """A request does its part; until all is counted it shows what was found, an estimate that says so."""
    a = world.add("/a", 2, nested=300)
    shown = world.tracker.read(a, 0)
    assert (Averages(0, 0, 0), 2) == (shown.averages, shown.total)
    assert (1, 1) == (world.tracker.followed, world.tracker.estimated)
    world.now += 10
    assert Averages(0, 0, 0) == world.tracker.read(a, 0).averages
    # Each turn looks at 22 cgroups: the request has been at 86 of 301.
    world.work()
    assert 0 == world.tracker.estimated
    assert ["/a"] == world.reader.asked
    averages = world.tracker.read(a, 0).averages
    assert averages is not None
    assert averages.one > 0


def test_no_request_begins_to_count_a_large_container_again(world: _World) -> None:
    """It is counted when a sample is due, or when a reader finds the count too old, beside the requests."""
    a = world.add("/a", 1, nested=300)
    world.tracker.read(a, 0)
    world.work()
    for expected in (1, 2):
        world.now += 1.1
        world.tracker.read(a, 0)
        assert expected == len(world.reader.asked)
        world.work()
        assert expected + 1 == len(world.reader.asked)
    # Once it has become small it is counted by requests as any other.
    world.reader.nested["/a"] = 0
    for expected in (4, 5):
        world.now += 1.1
        world.tracker.read(a, 0)
        world.work()
        assert expected == len(world.reader.asked)
    world.now += 1.1
    world.tracker.read(a, 0)
    assert 6 == len(world.reader.asked)


def test_what_a_large_container_shows_meanwhile(world: _World) -> None:
    """The last whole count, however far the next one has come."""
    a = world.add("/a", 1, nested=300)
    world.tracker.read(a, 0)
    world.work()
    world.now += 2
    world.reader.running["/a"] = 7
    assert 1 == world.tracker.read(a, 0).running
    assert 0 == world.tracker.estimated
    world.work()
    assert 7 == world.tracker.read(a, 0).running


def _make_slow(world: _World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let each turn take all the time that work has."""
    run = LoadCount.run

    def slow(count: LoadCount, units: int, most: int | None = None) -> bool:
        world.used += 0.002
        return run(count, units, most)

    monkeypatch.setattr(LoadCount, "run", slow)


def test_a_turn_that_takes_all_the_time_is_the_last(world: _World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Work ends when its 2 ms are over, not after one more turn."""
    for name in ("/a", "/b", "/c"):
        world.tracker.read(world.add(name, 1), 0)
    world.now += 5
    world.reader.asked.clear()
    _make_slow(world, monkeypatch)
    for expected in (1, 2, 3, 3):
        world.work()
        assert expected == len(world.reader.asked)


def test_what_a_request_and_a_turn_may_take(world: _World, monkeypatch: pytest.MonkeyPatch) -> None:
    """A request takes 256 units and no list of more than 1,024; a turn beside them 64 units of any list."""
    parts: list[tuple[int, int | None]] = []
    run = LoadCount.run

    def watched(count: LoadCount, units: int, most: int | None = None) -> bool:
        parts.append((units, most))
        return run(count, units, most)

    monkeypatch.setattr(LoadCount, "run", watched)
    world.tracker.read(world.add("/a", 1, nested=100), 0)
    world.work()
    assert [(256, 1024), (64, None)] == parts


def test_large_containers_delay_nobody(world: _World, monkeypatch: pytest.MonkeyPatch) -> None:
    """However many large ones are counted, a small one has its turn after one turn of each that goes on."""
    _make_slow(world, monkeypatch)
    large = [world.add(f"/large{number}", 1, nested=100_000) for number in range(10)]
    for container in large:
        world.tracker.read(container, 0)
    world.work(30)
    # The others wait until one of four is done.
    assert 4 + 6 == len(world.reader.asked)
    small = world.add("/small", 3)
    world.tracker.read(small, 0)
    world.now += 5
    asked = world.reader.asked.count("/small")
    world.work(6)
    assert asked + 1 == world.reader.asked.count("/small")
    averages = world.tracker.read(small, 0).averages
    assert averages is not None
    assert averages.one > 0


def test_every_large_container_is_counted_in_the_end(world: _World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Those that had to wait begin anew when others are done, or have gone."""
    _make_slow(world, monkeypatch)
    large = [world.add(f"/{number}", 1, nested=500) for number in range(10)]
    for container in large:
        world.tracker.read(container, 0)
    assert 10 == world.tracker.estimated
    world.work(20)
    for container in large[:3]:
        world.tracker.forget(container)
    world.work(400)
    assert (7, 0) == (world.tracker.followed, world.tracker.estimated)


def test_few_large_containers_are_counted_at_once(world: _World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Four remember where they are; the others begin anew when these are done."""
    _make_slow(world, monkeypatch)
    for number in range(10):
        world.tracker.read(world.add(f"/{number}", 1, nested=500), 0)
    at_once = set()
    while world.tracker.estimated:
        world.work()
        at_once.add(len(world.tracker._long))
    assert 4 == max(at_once)


def test_forgotten_while_it_is_counted_and_found_anew(world: _World) -> None:
    """A container that is followed anew has nothing to do with the count that was under way."""
    a = world.add("/a", 1, nested=300)
    world.tracker.read(a, 0)
    world.tracker.forget(a)
    world.reader.nested["/a"] = 0
    assert 2 == world.tracker.read(a, 0).total
    world.work()
    assert ["/a", "/a"] == world.reader.asked
    assert 0 == world.tracker.estimated


def test_share_of_requests(world: _World, monkeypatch: pytest.MonkeyPatch) -> None:
    """All requests together count for a tenth of the time; who is new is counted in any case."""
    a, b = world.add("/a", 1), world.add("/b", 1)
    world.tracker.read(a, 0)
    run = LoadCount.run

    def slow(count: LoadCount, units: int, most: int | None = None) -> bool:
        world.used += 0.5
        return run(count, units, most)

    monkeypatch.setattr(LoadCount, "run", slow)
    world.now += 1
    world.tracker.read(a, 0)
    assert 2 == len(world.reader.asked)
    world.tracker.read(b, 0)
    assert 3 == len(world.reader.asked)
    world.now += 4.4
    world.tracker.read(a, 0)
    assert 3 == len(world.reader.asked)
    world.now += 0.2
    world.tracker.read(a, 0)
    assert 4 == len(world.reader.asked)


def test_want_of_resources(world: _World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a descriptor what is known stays, and it is tried again; nobody is told that it is less."""
    a, large = world.add("/a", 1), world.add("/b", 1, nested=300)
    for container in (a, large):
        world.tracker.read(container, 0)
    world.work()
    before = [world.tracker.read(container, 0) for container in (a, large)]
    world.reader.asked.clear()
    tried = []

    def fail(paths: CgroupPaths) -> TaskWalk:
        tried.append(paths)
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))

    with monkeypatch.context() as broken:
        broken.setattr(world.reader, "walk_tasks", fail)
        world.now += 4
        assert before == [world.tracker.read(container, 0) for container in (a, large)]
        world.work(5)
        assert 2 == len(tried)
        new = world.add("/c", 1)
        shown = world.tracker.read(new, 0)
        assert (0, 0, 0) == (shown.running, shown.blocked, shown.total)
        assert 1 == world.tracker.estimated
    world.now += 2
    for container in (a, large, new):
        world.tracker.read(container, 0)
    world.work()
    assert {"/a", "/b", "/c"} == set(world.reader.asked)
    assert 0 == world.tracker.estimated


def test_when_it_is_tried_again(world: _World, monkeypatch: pytest.MonkeyPatch) -> None:
    """A second after a count beside the requests that failed for want of resources, and not before."""
    world.tracker.read(world.add("/a", 1), 0)
    world.now += 5
    tried = []

    def fail(_paths: CgroupPaths) -> TaskWalk:
        tried.append(world.now)
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))

    monkeypatch.setattr(world.reader, "walk_tasks", fail)
    for seconds in (0, 0.5, 0.25, 0.25, 0.5, 0.5):
        world.now += seconds
        world.work()
    assert [1005, 1006, 1007] == tried


def test_a_large_container_stays_one_after_a_failure(world: _World, monkeypatch: pytest.MonkeyPatch) -> None:
    """A count that failed for want of resources is begun anew beside the requests, not by one."""
    a = world.add("/a", 1, nested=300)
    world.tracker.read(a, 0)

    def fail(_count: LoadCount, _units: int, _most: int | None = None) -> bool:
        raise OSError(errno.ENOMEM, os.strerror(errno.ENOMEM))

    with monkeypatch.context() as broken:
        broken.setattr(LoadCount, "run", fail)
        world.work()
    world.now += 1.1
    world.tracker.read(a, 0)
    assert ["/a"] == world.reader.asked
    world.work()
    assert ["/a", "/a"] == world.reader.asked
    assert 0 == world.tracker.estimated


def test_tasks_that_wait_for_a_disk_are_load(world: _World) -> None:
    """As the kernel counts: runnable and uninterruptible tasks together."""
    world.reader.blocked = 2
    a = world.add("/a", 1)
    world.tracker.read(a, 0)
    world.now += 3600 * 3
    shown = world.tracker.read(a, 0)
    assert (1, 2, Averages(*[3 * 2048] * 3)) == (shown.running, shown.blocked, shown.averages)


def test_a_request_counts_when_a_sample_is_due(world: _World) -> None:
    """At that very moment, however young the last count is."""
    a = world.add("/a", 1)
    world.tracker.read(a, 0)
    for seconds, counts in ((4.5, 2), (0.25, 2), (0.25, 3)):
        world.now += seconds
        world.tracker.read(a, 0)
        assert counts == len(world.reader.asked)


def test_first_averages_of_a_young_container(world: _World) -> None:
    """What it used is its load at each of the kernel's samples since it began: one in five seconds."""
    world.reader.usage_usec = 10_000_000
    assert Averages(328, 68, 22) == world.tracker.read(world.add("/a", 0), 5_000_000).averages
    world.reader.usage_usec = ControllerUnavailable("cpuacct")
    day_usec = 24 * 3600 * 1_000_000
    assert Averages(0, 0, 0) == world.tracker.read(world.add("/b", 0), day_usec).averages
    world.reader.usage_usec = CgroupGone("/c")
    with pytest.raises(CgroupGone):
        world.tracker.read(world.add("/c", 0), day_usec)


@pytest.mark.parametrize(
    "age,is_kept", [(900.0, False), (899.75, True), (0.0, True), (-5.0, True), (-5.25, False)]
)
def test_how_old_averages_may_be(world: _World, age: float, *, is_kept: bool) -> None:
    """Restored is what is due within a period or was not longer ago than an unread container is followed."""
    a = world.add("/a", 0)
    load = LoadAverage(Averages(7, 8, 9), world.now - age)
    world.tracker.restore({a.key: load})
    assert ({a.key: load} if is_kept else {}) == world.tracker.snapshot()


def test_averages_that_nobody_asked_for_in_time(world: _World) -> None:
    """They are of no use any more, be they restored or not."""
    a, b = world.add("/a", 0), world.add("/b", 0)
    loads = {each.key: LoadAverage(Averages(4096, 4096, 4096), world.now - 890) for each in (a, b)}
    world.tracker.restore(loads)
    world.now += 9.75
    one = world.tracker.read(a, 0).averages
    assert one is not None
    assert one.fifteen > 0
    world.now += 0.25
    assert Averages(0, 0, 0) == world.tracker.read(b, 0).averages


def test_without_a_counting_thread(world: _World) -> None:
    """Where nobody counts beside, as in pylxcfsctl, a request counts all."""
    tracker = LoadTracker(world.reader, world.processes)
    world.reader.last = 5
    assert 2 + 5 == tracker.read(world.add("/a", 1, nested=3000), 0).total
    assert 0 == tracker.estimated


def test_the_thread_goes_on(world: _World, monkeypatch: pytest.MonkeyPatch) -> None:
    """A failure is no end of counting, and without anything to do the thread sleeps."""
    pauses: list[float] = []

    class _Enough(BaseException):
        pass

    def sleep(seconds: float) -> None:
        pauses.append(seconds)
        if len(pauses) == 3:
            raise _Enough

    monkeypatch.setattr("time.sleep", sleep)
    world.tracker.read(world.add("/a", 1), 0)
    outcomes = iter([0.5, ValueError("x"), None, 0.25])

    def work() -> float | None:
        outcome = next(outcomes)
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    monkeypatch.setattr(world.tracker, "work", work)
    with pytest.raises(_Enough):
        world.tracker.run()
    assert [0.5, 1.0, 0.25] == pauses


def test_nothing_to_do(world: _World) -> None:
    """Without a container the thread need not wake up."""
    assert world.tracker.work() is None
    world.tracker.read(world.add("/a", 1), 0)
    assert 0.25 == world.tracker.work()


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


def test_last_pid_without_tasks(world: _World) -> None:
    """Nobody is the newest of none."""
    a = world.add("/a", 0)
    world.reader.ids = []
    assert (0, 0) == (world.tracker.read(a, 0).total, world.tracker.read(a, 0).last_pid)


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
    world.work()
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
        '{"version": 1, "boot_id": "boot", "loads": [[[["cpu", "/a"]], 1, 0, [1, 2, 3, 4], 5.0]]}',
        '{"version": 1, "boot_id": "boot", "loads": [[[["cpu", "/a"]], 1, 0, [1099511627777, 2, 3], 5.0]]}',
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


def test_format_of_the_state(tmp_path: Path) -> None:
    """What is written is what other versions of pylxcfs read, up to the highest averages."""
    container = Container(CgroupPaths.of({"cpu": CgroupPath("/a")}), 7, 8, in_host_pid_namespace=False)
    loads = {container.key: LoadAverage(Averages(0, 2, 1 << 40), 5.5)}
    file = tmp_path / "new/run/load.json"
    LoadFile(file, "boot").save(loads)
    assert 0o755 == file.parent.stat().st_mode & 0o777
    text = '{"version": 1, "boot_id": "boot", "loads": [[[["cpu", "/a"]], 7, 8, [0, 2, 1099511627776], 5.5]]}'
    assert text == file.read_text()
    assert loads == LoadFile(file, "boot").load()
    loads = {container.key: LoadAverage(Averages(3, 3, 3), 0.0)}
    LoadFile(file, "boot").save(loads)
    assert loads == LoadFile(file, "boot").load()


def test_state_that_cannot_be_written_is_no_error(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """One warning, and the daemon goes on."""
    (tmp_path / "file").write_text("")
    file = LoadFile(tmp_path / "file/load.json", "boot")
    for _ in range(3):
        file.save({})
        assert 1 == len(caplog.records)
    assert {} == file.load()
