"""Cache and fallbacks: what a reader gets when the kernel does not answer."""

import errno
import logging
import os
import shutil
import time
from dataclasses import replace
from pathlib import Path

import pytest

from pylxcfs.accounting.load_tracker import LoadTracker
from pylxcfs.cgroup.reader import CgroupFiles
from pylxcfs.cgroup.types import CgroupPath, CgroupPaths, ControllerUnavailable, Pressure
from pylxcfs.cgroup.v1 import V1Reader
from pylxcfs.cgroup.v2 import V2Reader
from pylxcfs.config import ViewConfig
from pylxcfs.containers.container import Container
from pylxcfs.containers.processes import Processes
from pylxcfs.containers.resolver import Resolver
from pylxcfs.content.service import ContentService
from pylxcfs.content.viewbuilder import ViewBuilder
from pylxcfs.procfiles.table import VIRTUAL_FILES, VirtualFile
from pylxcfs.status.document import summarize
from pylxcfs.view.host import HostReader

_FILES = {file.path.rpartition("/")[2]: file for file in VIRTUAL_FILES}
_HOST_MEMINFO = "MemTotal:       1000000 kB\nMemFree:        500000 kB\nSwapTotal:         0 kB\n"
_HIERARCHIES = ("memory", "cpu", "cpuacct", "cpuset", "blkio")


class _FixedResolver(Resolver):
    """Gives each pid the container that the test wrote down."""

    answers: dict[int, list[Container | None]]

    def resolve(self, pid: int) -> Container | None:
        answers = self.answers[pid]
        return answers.pop(0) if len(answers) > 1 else answers[0]


class _Machine:
    """A host and its cgroups in a directory."""

    def __init__(self, root: Path, ttl: float = 0.0) -> None:
        self.root = root
        (root / "proc").mkdir()
        (root / "proc/meminfo").write_text(_HOST_MEMINFO)
        (root / "proc/diskstats").write_text(" 8 0 sda 1 2 3\n")
        (root / "proc/loadavg").write_text("0.00 0.00 0.00 1/1 1\n")
        (root / "sys/devices/system/cpu").mkdir(parents=True)
        (root / "sys/devices/system/cpu/online").write_text("0-1\n")
        for name in _HIERARCHIES:
            (root / name).mkdir()
        host = HostReader(root / "proc", root / "sys")
        files = CgroupFiles({name: str(root / name) for name in _HIERARCHIES}, 64)
        self.reader = V1Reader(files)
        real_proc_fd = HostReader(Path("/proc"), Path("/sys")).proc_fd
        processes = Processes(real_proc_fd)
        self.resolver = _FixedResolver(processes, self.reader, files, ())
        self.resolver.answers = {}
        builder = ViewBuilder(self.reader, LoadTracker(self.reader, processes), ViewConfig())
        self.content = ContentService(host, self.reader, self.resolver, builder, ttl)

    def add(self, name: str, limit: int) -> Container:
        """Make a memory cgroup with a limit."""
        (self.root / "memory" / name).mkdir()
        self.limit(name, limit)
        return container(name)

    def limit(self, name: str, limit: int) -> None:
        """Change the limit."""
        text = f"hierarchical_memory_limit {limit}\nhierarchical_memsw_limit {limit}\n"
        (self.root / "memory" / name / "memory.stat").write_text(text)
        (self.root / "memory" / name / "memory.usage_in_bytes").write_text("0\n")


def container(name: str, *, host: bool = False) -> Container:
    """Return a container that lives in /NAME everywhere."""
    paths = CgroupPaths.of({hierarchy: CgroupPath(f"/{name}") for hierarchy in _HIERARCHIES})
    return Container(paths, 1, 0, in_host_pid_namespace=host)


@pytest.fixture
def machine(tmp_path: Path) -> _Machine:
    """Return a machine that renders every time."""
    return _Machine(tmp_path)


def _total(content: bytes) -> int:
    return int(content.split()[1])


def test_each_sees_its_own(machine: _Machine) -> None:
    """Two containers see their own limits, and the host's process the host's file as it is."""
    machine.resolver.answers = {
        1: [machine.add("a", 1 << 20)],
        2: [machine.add("b", 2 << 20)],
        3: [None],
    }
    totals = [_total(machine.content.open(_FILES["meminfo"], pid)[1]) for pid in (1, 2, 1, 2)]
    assert [1024, 2048, 1024, 2048] == totals
    assert _HOST_MEMINFO.encode() == machine.content.open(_FILES["meminfo"], 3)[1]


def test_cached_for_its_time_and_no_longer(tmp_path: Path) -> None:
    """Within its time content is served again; without a time it is rendered anew."""
    for ttl, expected in ((3600.0, 1024), (0.0, 2048)):
        root = tmp_path / str(ttl)
        root.mkdir()
        machine = _Machine(root, ttl)
        a = machine.add("a", 1 << 20)
        assert 1024 == _total(machine.content.read(_FILES["meminfo"], a))
        machine.limit("a", 2 << 20)
        assert expected == _total(machine.content.read(_FILES["meminfo"], a))


def test_prune_drops_only_what_is_over(tmp_path: Path) -> None:
    """Pruning keeps content that may still be served."""
    machine = _Machine(tmp_path, 3600.0)
    a = machine.add("a", 1 << 20)
    machine.content.read(_FILES["meminfo"], a)
    machine.limit("a", 2 << 20)
    machine.content.prune()
    assert 1024 == _total(machine.content.read(_FILES["meminfo"], a))


def test_prune_drops_what_is_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """From the moment on at which it may not be served any more, and nothing that is younger."""
    now = 1000.0
    monkeypatch.setattr(time, "monotonic", lambda: now)
    machine = _Machine(tmp_path, ttl=1.0)
    meminfo = _FILES["meminfo"]
    for name in "abc":
        youngest = machine.add(name, 1 << 20)
        machine.content.read(meminfo, youngest)
        now += 0.25
    now = 1001.25
    machine.content.prune()
    assert [(youngest, meminfo)] == [*machine.content._cache]
    machine.content.prune()
    assert 1 == len(machine.content._cache)
    now = 1001.5
    machine.content.prune()
    assert not machine.content._cache


def test_cached_content_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where there is more, what was rendered longest ago is dropped, however often it is read."""
    monkeypatch.setattr("pylxcfs.content.service._MAX_CACHED", 3)
    machine = _Machine(tmp_path, 3600.0)
    meminfo = _FILES["meminfo"]
    known = [machine.add(name, 1 << 20) for name in "abcd"]
    for each in (known[0], known[1], known[2], known[0], known[3]):
        machine.content.read(meminfo, each)
        machine.limit(each.paths.by_hierarchy[0][1].strip("/"), 2 << 20)
    assert [(each, meminfo) for each in known[1:]] == [*machine.content._cache]
    # The one that was dropped is rendered anew, and nothing else.
    assert [1024] * 3 == [_total(machine.content.read(meminfo, each)) for each in known[1:]]
    assert 2048 == _total(machine.content.read(meminfo, known[0]))


def test_clocks_are_bounded(machine: _Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each offset of a clock has one object for a file; the one asked for longest ago is dropped."""
    monkeypatch.setattr("pylxcfs.content.service._MAX_CLOCKS", 2)
    offsets = {1: 10, 2: 20, 3: 30, 4: 0}
    monkeypatch.setattr(machine.resolver, "boottime_offset", offsets.__getitem__)
    uptime = _FILES["uptime"]
    one, two = (machine.content.file_for(uptime, pid) for pid in (1, 2))
    assert (10, 20) == (one.boottime_offset_usec, two.boottime_offset_usec)
    assert machine.content.file_for(uptime, 1) is one
    assert 30 == machine.content.file_for(uptime, 3).boottime_offset_usec
    assert machine.content.file_for(uptime, 1) is one
    assert machine.content.file_for(uptime, 2) is not two
    assert machine.content.file_for(uptime, 4) is uptime
    assert machine.content.file_for(_FILES["meminfo"], 1) is _FILES["meminfo"]


def test_gone_cgroup_is_resolved_once_more(machine: _Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    """A container whose cgroup has gone is looked up again, and the new one is served."""
    old, new = machine.add("old", 1 << 20), machine.add("new", 2 << 20)
    forgotten: list[Container] = []
    monkeypatch.setattr(machine.resolver, "forget", forgotten.append)
    machine.resolver.answers = {1: [old, new]}
    shutil.rmtree(machine.root / "memory/old")
    who, content = machine.content.open(_FILES["meminfo"], 1)
    assert (new, 2048, [old]) == (who, _total(content), forgotten)


@pytest.mark.parametrize("damage", ["", "hierarchical_memory_limit x\n", "\x00\xff"])
def test_damaged_file_gives_the_fallback(
    machine: _Machine, damage: str, caplog: pytest.LogCaptureFixture
) -> None:
    """What cannot be parsed gives the row's fallback, counted each time and logged once."""
    a = machine.add("a", 1 << 20)
    (machine.root / "memory/a/memory.stat").write_text(damage)
    machine.resolver.answers = {1: [a]}
    with caplog.at_level(logging.WARNING):
        contents = {machine.content.open(_FILES["meminfo"], 1)[1] for _ in range(3)}
    assert {_HOST_MEMINFO.encode()} == contents
    assert 3 == machine.content.fallbacks["proc/meminfo", "ParseError"]
    assert 1 == len(caplog.records)


def test_disks_never_fall_back_to_the_host(machine: _Machine) -> None:
    """Without a counter of its own a container sees no disk; the host's are none of its business."""
    machine.resolver.answers = {1: [machine.add("a", 1 << 20)], 2: [container("")]}
    (machine.root / "blkio/a").mkdir()
    assert b"" == machine.content.open(_FILES["diskstats"], 1)[1]
    assert b"" == machine.content.open(_FILES["diskstats"], 2)[1]


def test_host_process_in_the_root_of_one_hierarchy(machine: _Machine) -> None:
    """A service with a cgroup of its own for memory alone shares the host's disks."""
    service = Container(CgroupPaths.of({"memory": CgroupPath("/s")}), 1, 0, in_host_pid_namespace=True)
    assert b" 8 0 sda 1 2 3\n" == machine.content.read(_FILES["diskstats"], service)


@pytest.mark.parametrize("file", VIRTUAL_FILES, ids=lambda file: str(file.path))
def test_nothing_there_is_never_an_exception(machine: _Machine, file: VirtualFile) -> None:
    """A container none of whose cgroups exist gets bytes for every file."""
    machine.resolver.answers = {1: [container("never")]}
    assert isinstance(machine.content.open(file, 1)[1], bytes)


@pytest.mark.parametrize("ttl", [0.0, 3600.0])
def test_host_view(tmp_path: Path, ttl: float) -> None:
    """Everybody sees the host's files and CPUs until it is toggled back; nothing cached outlives a toggle."""
    machine = _Machine(tmp_path, ttl)
    (tmp_path / "sys/devices/system/cpu/present").write_text("0-1\n")
    for name, text in {
        "cpu/a/cpu.cfs_quota_us": "5",
        "cpu/a/cpu.cfs_period_us": "5",
        "cpuacct/a/cpuacct.usage_all": "cpu user system\n",
        "cpuset/a/cpuset.effective_cpus": "0-1\n",
    }.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    a = machine.add("a", 1 << 20)
    machine.resolver.answers = {1: [a]}
    assert 1024 == _total(machine.content.open(_FILES["meminfo"], 1)[1])
    assert (0,) == machine.content.visible_cpus(1)
    assert machine.content.show_host(on=True)
    assert _HOST_MEMINFO.encode() == machine.content.open(_FILES["meminfo"], 1)[1]
    assert b" 8 0 sda 1 2 3\n" == machine.content.read(_FILES["diskstats"], a)
    assert machine.content.visible_cpus(1) is None
    machine.limit("a", 2 << 20)
    assert machine.content.show_host(on=False)
    assert 2048 == _total(machine.content.read(_FILES["meminfo"], a))
    assert (0,) == machine.content.visible_cpus(1)
    assert not machine.content.fallbacks


@pytest.mark.parametrize("ttl,hits", [(0.0, 0), (3600.0, 7)])
def test_every_request_is_counted(tmp_path: Path, ttl: float, hits: int) -> None:
    """Opens and rereads are counted by file, and which of them were served from the cache."""
    machine = _Machine(tmp_path, ttl)
    a = machine.add("a", 1 << 20)
    machine.resolver.answers = {1: [a], 2: [None]}
    for _ in range(3):
        machine.content.open(_FILES["meminfo"], 1)
        machine.content.open(_FILES["meminfo"], 2)
        machine.content.read(_FILES["meminfo"], a)
    machine.content.open(_FILES["diskstats"], 2)
    counted = {path: summarize([counters]) for path, counters in machine.content.counters.items()}
    assert {"proc/meminfo": 9, "proc/diskstats": 1} == {path: c.requests for path, c in counted.items()}
    assert (0, hits) == (counted["proc/diskstats"].hits, counted["proc/meminfo"].hits)
    meminfo = counted["proc/meminfo"]
    assert 0 < meminfo.p50_seconds <= meminfo.p99_seconds <= meminfo.max_seconds < 60


def test_walks_are_counted_apart(machine: _Machine) -> None:
    """Who looks for a CPU's directory is no reader of the list of CPUs."""
    (machine.root / "sys/devices/system/cpu/present").write_text("0-1\n")
    machine.resolver.answers = {1: [None]}
    machine.content.visible_cpus(1)
    machine.content.visible_cpus(1)
    walks = summarize([machine.content.walks])
    assert 2 == walks.requests
    assert 0 < walks.max_seconds < 60
    assert {} == machine.content.counters


def test_a_process_of_the_host_with_another_clock(machine: _Machine) -> None:
    """It is shown the host's uptime by its own clock; a file that tells no time is the host's as it is."""
    (machine.root / "proc/uptime").write_text("100.00 50.00\n")
    ahead = replace(_FILES["uptime"], boottime_offset_usec=10_000_000)
    assert b"110.00 50.00\n" == machine.content.read(ahead, None)
    assert b"100.00 50.00\n" == machine.content.read(_FILES["uptime"], None)
    assert _HOST_MEMINFO.encode() == machine.content.read(_FILES["meminfo"], None)


def test_pressure_for_triggers(machine: _Machine) -> None:
    """A container's own file, and never that of the root, which is the host's."""
    top = machine.root / "unified"
    (top / "a").mkdir(parents=True)
    for path in (top / "cpu.pressure", top / "a/cpu.pressure"):
        path.write_text("")
    machine.content._reader = V2Reader(CgroupFiles({"": str(top)}, 64))
    own, root = (
        Container(CgroupPaths.of({"": CgroupPath(path)}), 1, 0, in_host_pid_namespace=False)
        for path in ("/a", "/")
    )
    fd = machine.content.open_pressure(Pressure.CPU, own)
    assert os.path.samestat(os.fstat(fd), (top / "a/cpu.pressure").stat())
    os.close(fd)
    with pytest.raises(ControllerUnavailable, match="the host"):
        machine.content.open_pressure(Pressure.CPU, root)


def _fail_cgroup_files(monkeypatch: pytest.MonkeyPatch, number: int, times: int) -> None:
    """Let that many openings of cgroup files fail."""
    really_open = os.open
    left = [times]

    def fail(path: str, flags: int, mode: int = 0o777, *, dir_fd: int | None = None) -> int:
        if left[0] and str(path).startswith("./"):
            left[0] -= 1
            raise OSError(number, os.strerror(number), path)
        return really_open(path, flags, mode, dir_fd=dir_fd)

    monkeypatch.setattr(os, "open", fail)


@pytest.mark.parametrize("number", [errno.EMFILE, errno.ENFILE, errno.ENOMEM])
@pytest.mark.parametrize("times", [1, 2, 3])
def test_want_of_descriptors_for_a_moment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int, times: int
) -> None:
    """What is kept open is given up, and the container sees itself."""
    world = _Machine(tmp_path)
    known = world.add("a", 64 << 20)
    world.resolver.answers = {7: [known]}
    _fail_cgroup_files(monkeypatch, number, times)
    assert b"65536 kB" in world.content.open(_FILES["meminfo"], 7)[1]
    assert not world.content.fallbacks


def test_want_of_descriptors_for_long(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """What was shown last is shown; whoever has been shown nothing gets an error, and never the host's."""
    now = 1000.0
    monkeypatch.setattr(time, "monotonic", lambda: now)
    world = _Machine(tmp_path, ttl=1.0)
    known, other = world.add("a", 64 << 20), world.add("b", 32 << 20)
    world.resolver.answers = {7: [known], 8: [other]}
    shown = world.content.open(_FILES["meminfo"], 7)[1]
    now += 5
    _fail_cgroup_files(monkeypatch, errno.EMFILE, 1000)
    world.resolver.make_room()
    assert shown == world.content.open(_FILES["meminfo"], 7)[1]
    with pytest.raises(OSError, match="Too many open files"):
        world.content.open(_FILES["meminfo"], 8)
    assert {("proc/meminfo", "OSError"): 1} == dict(world.content.fallbacks)
    assert "what was shown last" in caplog.text


def test_content_is_cached_as_long_as_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Until its time is over, and not at that moment; each time is counted as it took."""
    now = 1000.0
    monkeypatch.setattr(time, "monotonic", lambda: now)
    world = _Machine(tmp_path, ttl=1.0)
    world.resolver.answers = {7: [world.add("a", 64 << 20)]}
    meminfo = _FILES["meminfo"]
    world.content.open(meminfo, 7)
    world.limit("a", 32 << 20)
    now += 0.99
    assert b"65536 kB" in world.content.open(meminfo, 7)[1]
    now = 1001.0
    assert b"32768 kB" in world.content.open(meminfo, 7)[1]
    counters = world.content.counters[meminfo.path]
    assert (3, 1) == (sum(counters.classes), counters.hits)
    assert 0 < counters.longest_ns <= counters.total_ns < 60 * 10**9


def test_a_glance_is_not_remembered(tmp_path: Path) -> None:
    """What a runtime is told before it sets limits is not shown once they are set; what was shown is told."""
    world = _Machine(tmp_path, ttl=3600.0)
    world.resolver.answers = {7: [world.add("a", 64 << 20)]}
    meminfo = _FILES["meminfo"]
    assert b"65536 kB" in world.content.glance(meminfo, 7)
    world.limit("a", 32 << 20)
    assert b"32768 kB" in world.content.open(meminfo, 7)[1]
    world.limit("a", 16 << 20)
    assert b"32768 kB" in world.content.glance(meminfo, 7)


@pytest.mark.parametrize(
    "age_seconds,in_host,is_made",
    [(0, False, False), (4.9, False, False), (5, False, True), (60, True, False)],
)
def test_when_a_container_has_its_limits(
    monkeypatch: pytest.MonkeyPatch, age_seconds: float, *, in_host: bool, is_made: bool
) -> None:
    """Five seconds after its init began; nobody knows where that is the host's; the host always."""
    monkeypatch.setattr(time, "clock_gettime", lambda _clock: 1000.0 + age_seconds)
    ticks = 1000 * os.sysconf("SC_CLK_TCK")
    made = Container(CgroupPaths.of({}), 9, ticks, in_host_pid_namespace=in_host)
    assert is_made == ContentService.is_made(made)
    assert ContentService.is_made(None)
