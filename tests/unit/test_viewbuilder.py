"""What of a container's CPUs is shown, and how it goes on."""

from collections.abc import Mapping
from pathlib import Path

import pytest

from pylxcfs.accounting.cpu_ledger_file import LedgerFile
from pylxcfs.accounting.load_tracker import LoadTracker
from pylxcfs.cgroup.reader import CgroupFiles
from pylxcfs.cgroup.types import CgroupPath, CgroupPaths, CpuMax, CpuSet
from pylxcfs.cgroup.v1 import V1Reader
from pylxcfs.config import ViewConfig
from pylxcfs.containers.container import Container
from pylxcfs.containers.processes import Processes
from pylxcfs.content.viewbuilder import ViewBuilder, visible_cpus
from pylxcfs.procfiles.table import VIRTUAL_FILES
from pylxcfs.view.host import HostReader, HostSnapshot
from tests.unit.conftest import load

_STAT = next(file for file in VIRTUAL_FILES if file.path == "proc/stat")
_MEMINFO = next(file for file in VIRTUAL_FILES if file.path == "proc/meminfo")
_HIERARCHIES = ("cpu", "cpuacct", "cpuset")
_SECOND = 1_000_000_000


@pytest.mark.parametrize(
    "quota_usec,expected",
    [
        (None, 4),
        (1, 1),
        (0, 1),
        (100_000, 1),
        (100_001, 2),
        (300_000, 3),
        (300_001, 4),
        (400_000, 4),
        (9_000_000, 4),
    ],
)
def test_visible_cpus(quota_usec: int | None, expected: int) -> None:
    """As many of the first as the quota can keep busy, at least one, at most all."""
    effective = CpuSet((1, 3, 5, 7))
    quota = None if quota_usec is None else CpuMax(quota_usec, 100_000)
    assert CpuSet((1, 3, 5, 7)[:expected]) == visible_cpus(effective, quota)


class _World:
    """A container with two CPUs, and what it has used of them."""

    def __init__(self, top: Path) -> None:
        self.top = top
        self.write({f"{name}/a/tasks": "" for name in _HIERARCHIES})
        self.write({"cpuset/a/cpuset.cpus": "0-1\n", "cpuset/cpuset.cpus": "0-1\n"})
        self.write({"cpu/a/cpu.cfs_quota_us": "-1\n"})
        self.use(3, 1)
        files = CgroupFiles({name: str(top / name) for name in _HIERARCHIES}, 64)
        self.reader = V1Reader(files)
        self.processes = Processes(HostReader(Path("/proc"), Path("/sys")).proc_fd)
        self.paths = CgroupPaths.of({name: CgroupPath("/a") for name in _HIERARCHIES})

    def write(self, files: Mapping[str, str]) -> None:
        """Write files."""
        for name, text in files.items():
            (self.top / name).parent.mkdir(parents=True, exist_ok=True)
            (self.top / name).write_text(text)

    def use(self, first: int, second: int) -> None:
        """Let each CPU have been used so many seconds."""
        text = f"cpu user system\n0 {first * _SECOND} 0\n1 {second * _SECOND} 0\n"
        self.write({"cpuacct/a/cpuacct.usage_all": text})

    def builder(self, file: LedgerFile | None = None) -> ViewBuilder:
        """Begin to show it."""
        tracker = LoadTracker(self.reader, self.processes)
        return ViewBuilder(self.reader, tracker, ViewConfig(), file)

    def container(self) -> Container:
        """Find it anew."""
        return Container(self.paths, 1, 0, in_host_pid_namespace=True)


@pytest.fixture
def world(tmp_path: Path) -> _World:
    """Return a world."""
    return _World(tmp_path)


def _user(builder: ViewBuilder, container: Container) -> list[int]:
    view = builder.build(container, _STAT, load("linux-6.18-x86"))
    assert view.cpu_part is not None
    return [time.user_usec // 1_000_000 for _, time in sorted(view.cpu_part.times.items())]


@pytest.mark.parametrize(
    "start_ticks,uptime_usec",
    [(0, 5_000_000_000), (1, 4_999_990_000), (499_999, 10_000), (500_000, 0), (500_001, 0)],
)
def test_uptime(world: _World, start_ticks: int, uptime_usec: int) -> None:
    """The time since its init began, in ticks after the boot; not before that, whatever clock init has."""
    container = Container(world.paths, 1, start_ticks, in_host_pid_namespace=False)
    host = load("linux-6.18-x86")
    assert (5_000_000_000, 100) == (host.boottime_usec, host.ticks_per_second)
    assert uptime_usec == world.builder().build(container, _STAT, host).uptime_usec


@pytest.mark.parametrize("cfs,expected", [(True, 1), (False, 2)])
def test_quota_may_be_left_out(world: _World, *, cfs: bool, expected: int) -> None:
    """Without --enable-cfs a quota cuts no CPU."""
    world.write({"cpu/a/cpu.cfs_quota_us": "50000\n", "cpu/a/cpu.cfs_period_us": "100000\n"})
    tracker = LoadTracker(world.reader, world.processes)
    builder = ViewBuilder(world.reader, tracker, ViewConfig(cfs=cfs))
    assert expected == len(_user(builder, world.container()))


@pytest.mark.parametrize(
    "meminfo,expected",
    [
        (
            b"MemTotal: 1000 kB\nMemFree: 1 kB\nMemAvailable: 600 kB\nSwapTotal: 300 kB\nSwapFree: 20 kB\n",
            (1000, 300, 600, 20),
        ),
        (b"SomeMemTotal: 1000 kB\n", (0, 0, None, None)),
    ],
)
def test_what_is_known_of_the_hosts_memory(
    world: _World, meminfo: bytes, expected: tuple[int | None, ...]
) -> None:
    """Fields of its meminfo, in bytes; a field that this kernel lacks is no bound, or none to share."""
    world.write({"memory/a/memory.stat": "hierarchical_memory_limit 4096\n"})
    world.write({"memory/a/memory.usage_in_bytes": "0\n"})
    reader = V1Reader(CgroupFiles({"memory": str(world.top / "memory")}, 64))
    builder = ViewBuilder(reader, LoadTracker(reader, world.processes), ViewConfig())
    paths = CgroupPaths.of({"memory": CgroupPath("/a")})
    container = Container(paths, 1, 0, in_host_pid_namespace=True)
    memory = builder.build(container, _MEMINFO, HostSnapshot(meminfo=meminfo)).memory
    told = (memory.host_total, memory.host_swap_total, memory.host_available, memory.host_swap_free)
    assert tuple(None if kib is None else kib * 1024 for kib in expected) == told


def test_counters_go_on(world: _World) -> None:
    """A kernel counter that begins anew is no end of what was shown."""
    builder, container = world.builder(), world.container()
    assert [3, 1] == _user(builder, container)
    world.use(0, 2)
    assert [3, 2] == _user(builder, container)
    # Without a file they are lost with the container.
    builder.forget(container)
    assert [0, 2] == _user(builder, world.container())


def test_counters_go_on_with_another_server(world: _World, tmp_path: Path) -> None:
    """They are in the file before they are shown, also of a container that was forgotten."""
    first = world.builder(LedgerFile(tmp_path / "ledgers", "boot", 2))
    container = world.container()
    assert [3, 1] == _user(first, container)
    world.use(0, 2)
    second = world.builder(LedgerFile(tmp_path / "ledgers", "boot", 2))
    assert [3, 2] == _user(second, world.container())
    again = world.container()
    second.forget(again)
    assert [3, 2] == _user(second, again)


def test_a_glance_begins_no_ledger(world: _World, tmp_path: Path) -> None:
    """What a runtime looks at before it sets limits is forgotten; once something was shown, it counts on."""
    file = LedgerFile(tmp_path / "ledgers", "boot", 2)
    builder, container = world.builder(file), world.container()
    with builder.glancing():
        assert [3, 1] == _user(builder, container)
    assert file.load(container.key) is None
    assert [3, 1] == _user(builder, container)
    world.use(0, 2)
    with builder.glancing():
        assert [3, 2] == _user(builder, container)
    assert file.load(container.key) is not None


@pytest.mark.parametrize("allowed,expected", [("0-1", 2), ("1", 1), ("0-3", 2), ("5", 2)])
def test_online_cpus_of_the_cpuset(world: _World, allowed: str, expected: int) -> None:
    """CPUs that are not online are not shown; where none is left, all online ones are."""
    world.write({"cpuset/a/cpuset.cpus": f"{allowed}\n"})
    assert expected == len(_user(world.builder(), world.container()))


def test_without_a_cgroup_no_task_is_shown(world: _World) -> None:
    """No pid shown may be the host's."""
    builder = world.builder()
    nowhere = Container(CgroupPaths.of({"cpuset": CgroupPath("/")}), 1, 0, in_host_pid_namespace=False)
    shown = builder._load(nowhere, 0)
    assert (None, 0, 0, 0, 0) == (shown.averages, shown.running, shown.blocked, shown.total, shown.last_pid)


@pytest.mark.parametrize("loadavg", [True, False])
def test_load_averages_can_be_the_hosts(world: _World, *, loadavg: bool) -> None:
    """The container's averages, or none: then the host's are shown."""
    tracker = LoadTracker(world.reader, world.processes)
    builder = ViewBuilder(world.reader, tracker, ViewConfig(loadavg=loadavg))
    assert loadavg is (builder._load(world.container(), 0).averages is not None)
