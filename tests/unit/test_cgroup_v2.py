"""cgroup v2 from trees of files."""

import fcntl
import os
import shutil
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path

import pytest

from pylxcfs.cgroup.mountroot import MountRoot
from pylxcfs.cgroup.reader import CgroupFiles
from pylxcfs.cgroup.types import (
    CgroupGone,
    CgroupPath,
    CgroupPaths,
    Controller,
    ControllerUnavailable,
    CpuMax,
    CpuStats,
    CpuTime,
    DeviceIo,
    DeviceNumber,
    HugetlbStats,
    MemoryStat,
    ParseError,
    Pressure,
)
from pylxcfs.cgroup.v2 import V2Reader
from tests.support.tasks import list_tasks

CAPTURES = Path(__file__).parent / "captures"
Tree = Callable[..., V2Reader]
MEMORY = {"memory.current": "123\n", "memory.max": "max\n", "memory.stat": "file 7\nanon 8\nkernel 9\n"}
SWAP = {"memory.swap.current": "4096\n", "memory.swap.max": "max\n"}


@pytest.fixture
def tree(tmp_path: Path) -> Tree:
    """Return a function that writes ``cgroup/file`` → text and reads the tree."""
    (tmp_path / "a/b").mkdir(parents=True)

    def write(files: dict[str, str], *, memory_high: bool = False) -> V2Reader:
        for name, text in files.items():
            (tmp_path / name).write_text(text)
        return V2Reader(CgroupFiles({"": str(tmp_path)}, 64), memory_high=memory_high)

    return write


def _at(path: str) -> CgroupPaths:
    return CgroupPaths.of({"": CgroupPath(path)})


def _in(cgroup: str, *files: dict[str, str]) -> dict[str, str]:
    return {f"{cgroup}/{name}": text for part in files for name, text in part.items()}


def test_memory(tree: Tree) -> None:
    """Usage and statistics are the cgroup's own; what this kernel does not tell is unknown."""
    stats = tree(_in("a", MEMORY, SWAP)).memory(_at("/a"))
    assert (123, None) == (stats.current, stats.max)
    assert (4096, None, True) == (stats.swap_current, stats.swap_max, stats.swap_accounted)
    assert (7, 8, None, 0) == (
        stats.stat.file,
        stats.stat.anon,
        stats.stat.kernel_stack,
        stats.stat.unevictable,
    )


def test_limits_are_the_smallest_upwards(tree: Tree) -> None:
    """Each limit is the smallest of the cgroup and its ancestors, 0 included."""
    outer = {"memory.max": "4096", "memory.swap.max": "0"}
    inner = {"memory.max": "8192", "memory.swap.max": "8192"}
    reader = tree(_in("a", MEMORY, SWAP, outer) | _in("a/b", MEMORY, SWAP, inner))
    stats = reader.memory(_at("/a/b"))
    assert (4096, 0) == (stats.max, stats.swap_max)


def test_swap_not_accounted(tree: Tree) -> None:
    """Without memory.swap.* the kernel does not account swap."""
    stats = tree(_in("a", MEMORY)).memory(_at("/a"))
    assert (0, None, False) == (stats.swap_current, stats.swap_max, stats.swap_accounted)


def test_memory_of_a_limited_ancestor(tree: Tree) -> None:
    """Where the controller is not enabled, a limit and what is charged against it come from one place."""
    stats = tree(_in("a", MEMORY, SWAP, {"memory.max": "4096"})).memory(_at("/a/b"))
    assert (4096, 123, 4096, 7) == (stats.max, stats.current, stats.swap_current, stats.stat.file)


def test_memory_of_an_unlimited_ancestor(tree: Tree, tmp_path: Path) -> None:
    """What an ancestor without a limit uses is others' use; limits further up still hold."""
    (tmp_path / "a/b/c").mkdir()
    files = _in("a", MEMORY, SWAP, {"memory.max": "4096", "memory.swap.max": "5"}) | _in("a/b", MEMORY, SWAP)
    stats = tree(files).memory(_at("/a/b/c"))
    assert (4096, 5, True) == (stats.max, stats.swap_max, stats.swap_accounted)
    assert (0, 0, 0) == (stats.current, stats.swap_current, stats.stat.file)


@pytest.mark.parametrize(
    "name,text", [("memory.stat", "file\n"), ("memory.current", "x"), ("memory.max", "-"), ("memory.max", "")]
)
def test_damaged_memory(tree: Tree, name: str, text: str) -> None:
    """What makes no sense names its path."""
    with pytest.raises(ParseError, match=f"a/{name}"):
        tree(_in("a", MEMORY, {name: text})).memory(_at("/a"))


def test_cpu(tree: Tree) -> None:
    """The tightest quota of the cgroup and its ancestors counts; nobody knows time per CPU."""
    reader = tree(
        {
            "a/b/cpu.max": "150000 100000\n",
            "a/cpu.max": "200000 200000\n",
            "a/b/cpu.stat": "usage_usec 9\nuser_usec 5\nsystem_usec 4\nnr_periods 0\n",
        }
    )
    stats = reader.cpu(_at("/a/b"))
    assert (CpuMax(200000, 200000), CpuStats({}, CpuTime(5, 4))) == (reader.cpu_max(_at("/a/b")), stats)


@pytest.mark.parametrize("files", [{}, {"a/cpu.max": "max 100000\n"}])
def test_no_quota(tree: Tree, files: dict[str, str]) -> None:
    """CPU time is there without a limit and without the controller."""
    reader = tree(files | {"a/cpu.stat": "user_usec 5\nsystem_usec 4\n"})
    assert (None, CpuStats({}, CpuTime(5, 4))) == (reader.cpu_max(_at("/a")), reader.cpu(_at("/a")))


def test_damaged_cpu_time(tree: Tree) -> None:
    """A damaged file is an error, not zeros."""
    with pytest.raises(ParseError, match=r"a/cpu\.stat"):
        tree({"a/cpu.stat": "user_usec 1\n"}).cpu(_at("/a"))


@pytest.mark.parametrize("text", ["1\n", "1 0"])
def test_damaged_quota(tree: Tree, text: str) -> None:
    """A damaged limit is an error, not none."""
    with pytest.raises(ParseError, match=r"a/cpu\.max"):
        tree({"a/cpu.max": text}).cpu_max(_at("/a"))


def test_root_has_no_time_of_its_own(tree: Tree) -> None:
    """The root's CPU time is everybody's; it is nobody's use."""
    assert CpuStats() == tree({"cpu.stat": "user_usec 5\nsystem_usec 4\n"}).cpu(_at("/"))


def test_cpuset(tree: Tree) -> None:
    """The effective CPUs of the nearest cgroup that has the controller, the root included."""
    reader = tree({"a/cpuset.cpus.effective": "1-2\n", "cpuset.cpus.effective": "0-7\n"})
    assert (1, 2) == reader.cpuset(_at("/a/b"))
    assert (0, 1, 2, 3, 4, 5, 6, 7) == reader.cpuset(_at("/"))


def test_no_cpuset_anywhere(tree: Tree) -> None:
    """No controller on the whole way up is no answer."""
    with pytest.raises(ControllerUnavailable):
        tree({}).cpuset(_at("/a"))


def test_io(tree: Tree) -> None:
    """Known keys are taken, absent ones are 0, others are the I/O controllers' own."""
    text = "8:0 rbytes=10 wbytes=0 rios=1 cost.vrate=100.00\n254:0 \n253:1 7:0 dios=3 dbytes=512\n"
    expected = {
        DeviceNumber(8, 0): DeviceIo(rbytes=10, rios=1),
        DeviceNumber(254, 0): DeviceIo(),
        DeviceNumber(253, 1): DeviceIo(),
        DeviceNumber(7, 0): DeviceIo(dbytes=512, dios=3),
    }
    assert expected == tree({"a/io.stat": text}).io(_at("/a")).devices


@pytest.mark.parametrize("text", ["rbytes=1\n", "8 rbytes=1\n", "8:0 rbytes=x\n"])
def test_damaged_io(tree: Tree, text: str) -> None:
    """Numbers without a device, and words for numbers, are errors."""
    with pytest.raises(ParseError, match=r"a/io\.stat"):
        tree({"a/io.stat": text}).io(_at("/a"))


def test_io_of_an_ancestor_is_not_ours(tree: Tree) -> None:
    """What an ancestor moved is no answer."""
    with pytest.raises(ControllerUnavailable):
        tree({"a/io.stat": "8:0 rbytes=10\n"}).io(_at("/a/b"))


def test_controller_comes_and_goes(tree: Tree, tmp_path: Path) -> None:
    """A controller that is enabled later is found, and one that is disabled is not there any more."""
    reader = tree({"a/cpu.stat": "user_usec 5\nsystem_usec 4\n"})
    with pytest.raises(ControllerUnavailable):
        reader.io(_at("/a"))
    (tmp_path / "a/io.stat").write_text("8:0 rbytes=1\n")
    assert {DeviceNumber(8, 0): DeviceIo(rbytes=1)} == reader.io(_at("/a")).devices


def test_gone(tree: Tree, tmp_path: Path) -> None:
    """A cgroup that is not there is gone; a missing file in one that is, is a missing file."""
    reader = tree({})
    with pytest.raises(CgroupGone):
        reader.memory(_at("/never"))
    with pytest.raises(ControllerUnavailable):
        reader.memory(_at("/a"))
    shutil.rmtree(tmp_path / "a")
    with pytest.raises(CgroupGone):
        reader.memory(_at("/a"))


def test_not_mounted() -> None:
    """Without the hierarchy there is no answer."""
    reader = V2Reader(CgroupFiles({}, 64))
    with pytest.raises(ControllerUnavailable):
        reader.memory(_at("/a"))


def test_at_root(tree: Tree) -> None:
    """The root, or no cgroup at all, is not a container."""
    reader = tree({})
    assert reader.at_root(_at("/"), Controller.IO)
    assert reader.at_root(CgroupPaths(()), Controller.MEMORY)
    assert not reader.at_root(_at("/a"), Controller.CPU)


def test_outside_of_the_mount(tree: Tree) -> None:
    """A cgroup that the mount does not show has no answer, whatever is above the mount point."""
    reader = tree(_in("a", MEMORY))
    with pytest.raises(ControllerUnavailable):
        reader.memory(_at("/../a"))


def test_limit_of_the_top(tmp_path: Path) -> None:
    """Where the mount's top is no root, as in a container, its limits hold for what is below."""
    (tmp_path / "a").mkdir()
    for name, text in (_in("a", MEMORY) | {"memory.max": "4096", "cgroup.events": "populated 1\n"}).items():
        (tmp_path / name).write_text(text)
    files = CgroupFiles({"": str(tmp_path)}, 64, {"": MountRoot("/docker/1")})
    assert 4096 == V2Reader(files).memory(_at("/docker/1/a")).max


def test_tasks(tree: Tree) -> None:
    """Nested cgroups' threads are the container's; their states are not counted."""
    files = {"cgroup.threads": "1\n", "a/cgroup.threads": "11\n12\n", "a/b/cgroup.threads": "13\n"}
    reader = tree(files | {"a/cgroup.procs": "11\n"})
    assert [11, 12, 13] == list_tasks(reader, _at("/a"))
    assert [13] == list_tasks(reader, _at("/a/b"))


def test_tasks_of_a_half_removed_tree(tree: Tree) -> None:
    """A cgroup whose list cannot be read any more has no tasks; the others still have."""
    assert [11] == list_tasks(tree({"a/cgroup.threads": "11\n"}), _at("/a"))


def test_tasks_below_a_bound_subtree(tmp_path: Path) -> None:
    """Where the mount shows the container only, its tasks are those from the mount's top down."""
    (tmp_path / "x").mkdir()
    (tmp_path / "cgroup.threads").write_text("5\n")
    (tmp_path / "x/cgroup.threads").write_text("6\n")
    reader = V2Reader(CgroupFiles({"": str(tmp_path)}, 64, {"": MountRoot("/docker/1")}))
    assert [5, 6] == list_tasks(reader, _at("/docker/1"))
    assert [6] == list_tasks(reader, _at("/docker/1/x"))
    with pytest.raises(ControllerUnavailable):
        list_tasks(reader, _at("/docker/2"))


@pytest.mark.parametrize(
    "path,error",
    [
        ("/", ControllerUnavailable),
        ("/a", ControllerUnavailable),
        ("/gone", CgroupGone),
        ("/a/b", ParseError),
    ],
)
def test_tasks_errors(tree: Tree, path: str, error: type[Exception]) -> None:
    """The root, a kernel without cgroup.threads, a removed cgroup and a list that is none."""
    shown = {"/a/b": {"a/b/cgroup.threads": "one\n"}}.get(path, {})
    with pytest.raises(error):
        list_tasks(tree(shown), _at(path))


@pytest.mark.parametrize(
    "own,above,expected",
    [
        (("max", "max"), ("max", "max"), None),
        (("900", "500"), ("max", "max"), 500),
        (("400", "500"), ("max", "max"), 400),
        (("max", "500"), ("800", "300"), 300),
        (("max", "max"), ("200", "300"), 200),
    ],
)
def test_memory_high(tree: Tree, own: tuple[str, str], above: tuple[str, str], expected: int | None) -> None:
    """With the option, memory.high of the cgroup and of each ancestor is a limit too; without, it is not."""
    files = _in("a", {"memory.max": above[0], "memory.high": above[1]}) | _in(
        "a/b", MEMORY, {"memory.max": own[0], "memory.high": own[1]}
    )
    assert expected == tree(files, memory_high=True).memory(_at("/a/b")).max
    without = [int(text) for text in (own[0], above[0]) if text != "max"]
    assert min(without, default=None) == tree(files).memory(_at("/a/b")).max


def test_memory_high_above_what_nobody_counts(tree: Tree) -> None:
    """Where the controller is off and only an ancestor's memory.high limits, that one's use counts."""
    reader = tree(_in("a", MEMORY, {"memory.high": "500\n"}), memory_high=True)
    assert (500, 123) == (reader.memory(_at("/a/b")).max, reader.memory(_at("/a/b")).current)


HUGE = {"hugetlb.2MB.max": "max\n", "hugetlb.2MB.current": "4194304\n"}
RESERVED = {"hugetlb.2MB.rsvd.max": "6291456\n", "hugetlb.2MB.rsvd.current": "2097152\n"}


@pytest.mark.parametrize(
    "files,expected",
    [
        (_in("a/b", HUGE), HugetlbStats(None, 4 << 20, None)),
        (_in("a/b", HUGE, RESERVED), HugetlbStats(6 << 20, 4 << 20, 2 << 20)),
        (_in("a/b", HUGE) | _in("a", HUGE, RESERVED), HugetlbStats(6 << 20, 4 << 20, None)),
        (_in("a", HUGE), HugetlbStats(None, 0, None)),
        (_in("a", HUGE, RESERVED), HugetlbStats(6 << 20, 4 << 20, 2 << 20)),
    ],
    ids=["before 5.7", "reservations", "ancestor's limit", "off, no limit", "off, ancestor's limit"],
)
def test_hugetlb(tree: Tree, files: dict[str, str], expected: HugetlbStats) -> None:
    """The smallest limit counts, on pages or on reservations; use is the own or that of who is limited."""
    assert expected == tree(files).hugetlb(_at("/a/b"), 2 << 20)


def test_hugetlb_without_that_size(tree: Tree) -> None:
    """A size of pages that the kernel has no files for is unavailable."""
    with pytest.raises(ControllerUnavailable):
        tree(_in("a/b", HUGE)).hugetlb(_at("/a/b"), 1 << 30)


#: Keys that no field of a virtual file is made of: sums of others, sockets, which meminfo does not have, and
#: huge pages, which the hugetlb controller tells by size (docs/adr/0012-huge-pages.md).
NOT_SHOWN = frozenset({"kernel", "sock", "slab", "hugetlb"})
#: Counts of events, not amounts of memory.
EVENTS = ("workingset_", "pg", "thp_", "swpin", "swpout", "zswpin", "zswpout", "zswpwb", "pswp", "numa_")


@pytest.mark.parametrize("capture", sorted(CAPTURES.glob("*/cgroup-v2/memory.stat")), ids=str)
def test_memory_stat_is_known(capture: Path) -> None:
    """Each key of each captured memory.stat is read, or known not to be shown."""
    read = {field.name for field in fields(MemoryStat)}
    for key in (line.split()[0] for line in capture.read_text().splitlines()):
        assert 1 == (key in read) + (key in NOT_SHOWN) + key.startswith(EVENTS), key


@pytest.mark.parametrize(
    "events,expected", [("populated 1\nfrozen 1\n", True), ("populated 1\nfrozen 0\n", False), ("", False)]
)
def test_frozen(tree: Tree, events: str, *, expected: bool) -> None:
    """cgroup.events says so since Linux 5.2; of a root, and without the file, nothing is frozen."""
    reader = tree({"a/cgroup.events": events, "cgroup.events": events})
    assert expected is reader.is_frozen(_at("/a"))
    assert not reader.is_frozen(_at("/"))
    assert not reader.is_frozen(_at("/a/b"))
    assert not reader.is_frozen(_at("/gone"))


def test_no_link_is_followed(tree: Tree, tmp_path: Path) -> None:
    """Neither a file nor a cgroup is found through a link, wherever it leads."""
    reader = tree({"a/real": "1\n", "a/cpu.pressure": ""})
    (tmp_path / "a/link").symlink_to("real")
    (tmp_path / "linked").symlink_to("a")
    files = reader._files
    top = CgroupPath("/a")
    assert b"1\n" == files.read("", top, "real") == files.read_once("", top, "real")
    with pytest.raises(ControllerUnavailable):
        files.read("", top, "link")
    with pytest.raises(OSError, match="symbolic link"):
        files.read_once("", top, "link")
    with pytest.raises(ControllerUnavailable):
        files.open_for_writing("", top, "link")
    with pytest.raises(NotADirectoryError):
        files.open_directory("", CgroupPath("/linked"))
    with pytest.raises(NotADirectoryError):
        files.open_directory("", CgroupPath("/a/real"))
    for fd in (files.open_for_writing("", top, "cpu.pressure"), files.open_directory("", top)):
        assert not os.get_inheritable(fd)
        os.close(fd)


def test_pressure_file_that_cannot_be_opened(tree: Tree) -> None:
    """A cgroup that has gone is told from one without such a file."""
    reader = tree({"a/cpu.pressure": ""})
    fd = reader.open_pressure(_at("/a"), Pressure.CPU)
    assert os.O_RDWR == fcntl.fcntl(fd, fcntl.F_GETFL) & os.O_ACCMODE
    assert os.O_NONBLOCK & fcntl.fcntl(fd, fcntl.F_GETFL)
    os.close(fd)
    with pytest.raises(ControllerUnavailable):
        reader.open_pressure(_at("/a"), Pressure.IO)
    with pytest.raises(CgroupGone):
        reader.open_pressure(_at("/gone"), Pressure.CPU)
