"""cgroup v1, told in the words of v2, from trees of files."""

import errno
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from pylxcfs.cgroup.reader import CgroupFiles
from pylxcfs.cgroup.types import (
    CgroupGone,
    CgroupPath,
    CgroupPaths,
    Controller,
    ControllerUnavailable,
    CpuMax,
    CpuTime,
    DeviceIo,
    DeviceNumber,
    ParseError,
)
from pylxcfs.cgroup.v1 import V1Reader
from tests.support.tasks import list_tasks

_HIERARCHIES = ("memory", "cpu", "cpuacct", "cpuset", "blkio")
_UNLIMITED = 9223372036854771712

Tree = Callable[[dict[str, str]], V1Reader]


@pytest.fixture
def tree(tmp_path: Path) -> Tree:
    """Return a function that writes ``hierarchy/cgroup/file`` → text and reads the tree."""
    for name in _HIERARCHIES:
        (tmp_path / name / "a/b").mkdir(parents=True)

    def write(files: dict[str, str]) -> V1Reader:
        for name, text in files.items():
            (tmp_path / name).write_text(text)
        return V1Reader(CgroupFiles({name: str(tmp_path / name) for name in _HIERARCHIES}, 64))

    return write


def _at(path: str) -> CgroupPaths:
    return CgroupPaths.of({name: CgroupPath(path) for name in _HIERARCHIES})


def _memory_stat(memory: int, memsw: int | None = _UNLIMITED, **fields: int) -> str:
    lines = {"cache": 1, "rss": 1, "hierarchical_memory_limit": memory}
    if memsw is not None:
        lines["hierarchical_memsw_limit"] = memsw
    return "".join(f"{key} {value}\n" for key, value in (lines | fields).items())


def test_memory(tree: Tree) -> None:
    """Statistics are those of the subtree, limits those of the whole way up, swap is without memory."""
    text = _memory_stat(100 << 20, 150 << 20, total_cache=7, total_rss=8, total_rss_huge=9, total_swap=4096)
    stats = tree({"memory/a/memory.stat": text, "memory/a/memory.usage_in_bytes": "123\n"}).memory(_at("/a"))
    assert (123, 100 << 20) == (stats.current, stats.max)
    assert (4096, 50 << 20, True) == (stats.swap_current, stats.swap_max, stats.swap_accounted)
    assert (7, 8, 9, None) == (
        stats.stat.file,
        stats.stat.anon,
        stats.stat.anon_thp,
        stats.stat.slab_reclaimable,
    )


def test_swap_in_use_has_what_is_in_memory_too(tree: Tree) -> None:
    """The slot of a page that came back from swap is in use, though v1 charges the page to memory only."""
    text = _memory_stat(100 << 20, 150 << 20, total_swap=8192, total_swapcached=4096)
    stats = tree({"memory/a/memory.stat": text, "memory/a/memory.usage_in_bytes": "123\n"}).memory(_at("/a"))
    assert (12288, 4096) == (stats.swap_current, stats.stat.swapcached)


@pytest.mark.parametrize(
    "memory,memsw,expected",
    [
        (_UNLIMITED, _UNLIMITED, (None, None, True)),
        (4096, _UNLIMITED, (4096, None, True)),
        (0, 0, (0, 0, True)),
        (1 << 62, 1 << 62, (1 << 62, 0, True)),
        ((1 << 63) - 1, (1 << 64) - 1, (None, None, True)),
        # With pages of 64 KiB: no limit, and the largest one that there can be.
        ((1 << 63) - (1 << 16), (1 << 63) - (1 << 16), (None, None, True)),
        ((1 << 63) - (2 << 16), (1 << 63) - (2 << 16), ((1 << 63) - (2 << 16), 0, True)),
        (8192, 4096, (8192, 0, True)),
        (4096, None, (4096, None, False)),
    ],
)
def test_memory_limits(tree: Tree, memory: int, memsw: int | None, expected: tuple[object, ...]) -> None:
    """Unlimited is None, 0 is a limit, swap saturates, and an absent memsw is no accounting."""
    files = {"memory/a/memory.stat": _memory_stat(memory, memsw), "memory/a/memory.usage_in_bytes": "0"}
    stats = tree(files).memory(_at("/a"))
    assert expected == (stats.max, stats.swap_max, stats.swap_accounted)


@pytest.mark.parametrize("text", ["", "cache x\n", "cache 1\n"])
def test_damaged_memory_stat(tree: Tree, text: str) -> None:
    """A memory.stat without its limits or with words for numbers names its path."""
    with pytest.raises(ParseError, match=r"memory/a/memory\.stat"):
        tree({"memory/a/memory.stat": text, "memory/a/memory.usage_in_bytes": "0"}).memory(_at("/a"))


def test_cpu(tree: Tree) -> None:
    """The tightest quota of the cgroup and its ancestors counts, in CPUs and not in microseconds."""
    reader = tree(
        {
            "cpu/a/b/cpu.cfs_quota_us": "150000",
            "cpu/a/b/cpu.cfs_period_us": "100000",
            "cpu/a/cpu.cfs_quota_us": "200000",
            "cpu/a/cpu.cfs_period_us": "200000",
            "cpuacct/a/b/cpuacct.usage_all": "cpu user system\n0 5000 3000\n1 999 1000\n",
        }
    )
    stats = reader.cpu(_at("/a/b"))
    assert CpuMax(200000, 200000) == reader.cpu_max(_at("/a/b"))
    assert {0: CpuTime(5, 3), 1: CpuTime(0, 1)} == stats.used
    assert 9 == stats.total_usec


@pytest.mark.parametrize("quota", ["-1", "0"])
def test_no_quota(tree: Tree, quota: str) -> None:
    """Without a quota there is no limit, nor on a kernel without CFS bandwidth."""
    assert tree({}).cpu_max(_at("/a")) is None
    assert tree({"cpu/a/cpu.cfs_quota_us": quota}).cpu_max(_at("/a")) is None
    files = {"cpu/a/cpu.cfs_quota_us": quota, "cpu/a/cpu.cfs_period_us": "100000"}
    assert tree(files).cpu_max(_at("/a")) is None


@pytest.mark.parametrize("quota,period,expected", [(1, 1, CpuMax(1, 1)), (1, 0, None), (5, -1, None)])
def test_least_quota(tree: Tree, quota: int, period: int, expected: CpuMax | None) -> None:
    """Whatever is above 0 limits; a period that is none is no limit, and no division by 0."""
    files = {"cpu/a/cpu.cfs_quota_us": f"{quota}\n", "cpu/a/cpu.cfs_period_us": f"{period}\n"}
    assert expected == tree(files).cpu_max(_at("/a"))


def test_usage_before_4_8(tree: Tree) -> None:
    """Older kernels do not tell user from system per CPU."""
    reader = tree({"cpuacct/a/cpuacct.usage_percpu": "5000 7000 \n"})
    assert {0: CpuTime(5, 0), 1: CpuTime(7, 0)} == reader.cpu(_at("/a")).used


@pytest.mark.parametrize("text", ["", "0 1 2\n", "cpu user system\n0 1\n", "cpu user system\n0 x 1\n"])
def test_damaged_usage(tree: Tree, text: str) -> None:
    """A damaged cpuacct.usage_all is an error, not zeros."""
    with pytest.raises(ParseError, match="usage_all"):
        tree({"cpuacct/a/cpuacct.usage_all": text}).cpu(_at("/a"))


def test_no_cpuacct_of_its_own(tree: Tree) -> None:
    """The root's CPU time is everybody's; it is nobody's use."""
    reader = tree({"cpuacct/cpuacct.usage_all": "cpu user system\n0 9000 9000\n"})
    assert {} == reader.cpu(CgroupPaths.of({"cpu": CgroupPath("/a"), "cpuacct": CgroupPath("/")})).used


def test_cpuset(tree: Tree) -> None:
    """The effective CPUs of the nearest cgroup that has any, whatever was asked for."""
    reader = tree(
        {
            "cpuset/a/b/cpuset.effective_cpus": "\n",
            "cpuset/a/b/cpuset.cpus": "\n",
            "cpuset/a/cpuset.effective_cpus": "1-2\n",
            "cpuset/a/cpuset.cpus": "0-7\n",
        }
    )
    assert (1, 2) == reader.cpuset(_at("/a/b"))
    assert (1, 2) == reader.cpuset(_at("/a"))


def test_cpuset_before_3_17(tree: Tree) -> None:
    """Older kernels have no effective set; there the configured one is in force."""
    assert (3,) == tree({"cpuset/a/cpuset.cpus": "3\n"}).cpuset(_at("/a"))


def test_no_cpuset_anywhere(tree: Tree) -> None:
    """No CPU on the whole way up is no answer."""
    with pytest.raises(ControllerUnavailable):
        tree({}).cpuset(_at("/a"))


def test_io(tree: Tree) -> None:
    """Bytes and operations of one device come together."""
    reader = tree(
        {
            "blkio/a/blkio.throttle.io_service_bytes_recursive": "8:0 Read 10\n8:0 Discard 3\nTotal 10\n",
            "blkio/a/blkio.throttle.io_serviced_recursive": "8:0 Read 1\n8:0 Write 2\nTotal 3\n",
        }
    )
    assert {DeviceNumber(8, 0): DeviceIo(rbytes=10, rios=1, wios=2, dbytes=3)} == reader.io(_at("/a")).devices


def test_io_falls_to_who_counted(tree: Tree) -> None:
    """Where throttling counted nothing, the scheduler's counters are taken."""
    reader = tree(
        {
            "blkio/a/blkio.throttle.io_service_bytes_recursive": "Total 0\n",
            "blkio/a/blkio.throttle.io_serviced_recursive": "Total 0\n",
            "blkio/a/blkio.bfq.io_service_bytes_recursive": "8:0 Write 4\nTotal 4\n",
            "blkio/a/blkio.bfq.io_serviced_recursive": "8:0 Write 1\nTotal 1\n",
        }
    )
    assert {DeviceNumber(8, 0): DeviceIo(wbytes=4, wios=1)} == reader.io(_at("/a")).devices


def test_io_unused_and_unknown(tree: Tree) -> None:
    """Counted nothing is no device; no file at all is no answer."""
    with pytest.raises(ControllerUnavailable, match=r"blkio/a/blkio\.throttle\.io_service_bytes_recursive"):
        tree({}).io(_at("/a"))
    names = ("blkio.throttle.io_service_bytes", "blkio.throttle.io_serviced")
    assert {} == tree({f"blkio/a/{name}": "Total 0\n" for name in names}).io(_at("/a")).devices


def test_gone(tree: Tree) -> None:
    """A cgroup that is not there is gone; a missing file in one that is, is a missing file."""
    with pytest.raises(CgroupGone):
        tree({}).memory(_at("/never"))
    with pytest.raises(ControllerUnavailable):
        tree({}).memory(_at("/a"))


def test_not_mounted() -> None:
    """A hierarchy that is not mounted has no answer."""
    reader = V1Reader(CgroupFiles({}, 64))
    with pytest.raises(ControllerUnavailable):
        reader.memory(_at("/a"))
    with pytest.raises(ControllerUnavailable):
        reader.memory(CgroupPaths(()))


def test_at_root(tree: Tree) -> None:
    """The root of a controller's hierarchy, or none at all, is not a container."""
    reader = tree({})
    assert reader.at_root(_at("/"), Controller.IO)
    assert reader.at_root(CgroupPaths(()), Controller.MEMORY)
    assert not reader.at_root(_at("/a"), Controller.CPU)


def test_open_files_are_bounded(tmp_path: Path) -> None:
    """However many cgroups are read, only so many files stay open, and all can be read again."""
    paths = [CgroupPath(f"/{number}") for number in range(20)]
    for path in paths:
        (tmp_path / path[1:]).mkdir()
        (tmp_path / path[1:] / "f").write_text(path)
    before = len(list(Path("/proc/self/fd").iterdir()))
    files = CgroupFiles({"memory": str(tmp_path)}, 5)
    assert [path.encode() for path in paths * 2] == [files.read("memory", path, "f") for path in paths * 2]
    assert before + 1 + 5 == len(list(Path("/proc/self/fd").iterdir()))
    for path in paths:
        files.forget("memory", path)
    assert before + 1 == len(list(Path("/proc/self/fd").iterdir()))


@pytest.mark.parametrize(
    "number,error",
    [
        (errno.ENODEV, CgroupGone),
        (errno.EOPNOTSUPP, ControllerUnavailable),
        (errno.EINVAL, ControllerUnavailable),
        (errno.EIO, ControllerUnavailable),
        (errno.ENOMEM, OSError),
    ],
)
def test_a_file_that_cannot_be_read(
    tree: Tree, number: int, error: type[Exception], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Removed, refused, or want of resources are three different things, and nothing stays open."""
    reader = tree({"memory/a/memory.stat": _memory_stat(1)})
    before = len(list(Path("/proc/self/fd").iterdir()))

    def fail(*_args: object) -> bytes:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "pread", fail)
    with pytest.raises(error) as raised:
        reader.memory(_at("/a"))
    assert error is type(raised.value)
    assert before == len(list(Path("/proc/self/fd").iterdir()))


def test_a_file_longer_than_any(tree: Tree) -> None:
    """What does not go into 64 KiB is damage; what just does is read whole."""
    reader = tree(
        {"memory/a/memory.kmem.slabinfo": "x" * 65535, "memory/a/b/memory.kmem.slabinfo": "x" * 65536}
    )
    assert 65535 == len(reader.slabinfo(_at("/a")))
    with pytest.raises(ParseError, match="longer"):
        reader.slabinfo(_at("/a/b"))


def test_tasks_of_nested_cgroups(tree: Tree) -> None:
    """Nested cgroups' tasks are the container's; a path that is only a hierarchy's root is no container's."""
    reader = tree({"cpu/a/tasks": "11\n12\n", "cpu/a/b/tasks": "13\n"})
    assert [11, 12, 13] == list_tasks(reader, _at("/a"))
    assert [13] == list_tasks(reader, CgroupPaths.of({"cpu": CgroupPath("/a/b"), "memory": CgroupPath("/a")}))


def test_tasks_from_any_hierarchy(tree: Tree) -> None:
    """A container without a cpu cgroup of its own is counted where it has one."""
    reader = tree({"blkio/a/tasks": "7\n", "cpu/tasks": "1\n"})
    paths = CgroupPaths.of({"cpu": CgroupPath("/"), "blkio": CgroupPath("/a"), "name=x": CgroupPath("/y")})
    assert [7] == list_tasks(reader, paths)


def test_tasks_more_than_a_page(tree: Tree) -> None:
    """A list of many tasks is read to its end."""
    ids = list(range(100_000, 120_000))
    assert ids == list_tasks(tree({"cpu/a/tasks": "".join(f"{i}\n" for i in ids)}), _at("/a"))


def test_frozen_tasks_are_no_load(tmp_path: Path) -> None:
    """No task of a frozen cgroup is active."""
    for name in ("cpu", "freezer"):
        (tmp_path / name / "a").mkdir(parents=True)
    (tmp_path / "cpu/a/tasks").write_text("1\n2\n")
    (tmp_path / "freezer/a/freezer.state").write_text("FROZEN\n")
    reader = V1Reader(CgroupFiles({name: str(tmp_path / name) for name in ("cpu", "freezer")}, 64))
    paths = CgroupPaths.of({name: CgroupPath("/a") for name in ("cpu", "freezer")})
    assert reader.is_frozen(paths)
    (tmp_path / "freezer/a/freezer.state").write_text("FREEZING\n")
    assert not reader.is_frozen(paths)


@pytest.mark.parametrize(
    "path,error", [("/", ControllerUnavailable), ("/gone", CgroupGone), ("/a", ParseError)]
)
def test_tasks_errors(tree: Tree, path: str, error: type[Exception]) -> None:
    """No cgroup of its own, a removed one and a list that is none are three different things."""
    with pytest.raises(error):
        list_tasks(tree({"cpu/a/tasks": "one\n"}), _at(path))


def test_known_hierarchies(tmp_path: Path) -> None:
    """What nothing is read from is left out, be it some or all of them."""
    files = CgroupFiles({"memory": str(tmp_path)}, 4)
    own, other = {"memory": CgroupPath("/a")}, {"rdma": CgroupPath("/b")}
    assert CgroupPaths.of(own) == files.known(CgroupPaths.of(own))
    assert CgroupPaths.of(own) == files.known(CgroupPaths.of(own | other))
    assert CgroupPaths.of({}) == files.known(CgroupPaths.of(other))
