"""Which cgroup version answers for which controller."""

import os
from pathlib import Path

import pytest

from pylxcfs.cgroup.detect import Hierarchy
from pylxcfs.cgroup.layout import LayoutReader, open_layout
from pylxcfs.cgroup.types import (
    CgroupPath,
    CgroupPaths,
    Controller,
    ControllerUnavailable,
    CpuMax,
    CpuStats,
    CpuTime,
)
from tests.support.tasks import list_tasks

_NOWHERE = CgroupPaths(())


def _write(top: Path, files: dict[str, str]) -> None:
    for name, text in files.items():
        path = top / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


def _open(
    top: Path,
    v1: dict[str, tuple[str, ...]],
    *,
    v2: bool = False,
    own: CgroupPaths = _NOWHERE,
    root: str = "/",
) -> LayoutReader:
    hierarchies = [Hierarchy(names, str(top / directory), root) for directory, names in v1.items()]
    if v2:
        hierarchies.append(Hierarchy(("",), str(top / "unified"), root))
    return open_layout(hierarchies, own, 64)


def test_hybrid(tmp_path: Path) -> None:
    """Each controller is read from where it is, in any combination."""
    _write(
        tmp_path,
        {
            "unified/cgroup.controllers": "io memory pids\n",
            "unified/u/memory.max": "4096\n",
            "unified/u/memory.current": "1\n",
            "unified/u/memory.stat": "file 1\n",
            "unified/u/io.stat": "8:0 rbytes=1\n",
            "both/c/cpu.cfs_quota_us": "50000",
            "both/c/cpu.cfs_period_us": "100000",
            "both/c/cpuacct.usage_all": "cpu user system\n0 5000 3000\n",
        },
    )
    reader = _open(tmp_path, {"both": ("cpu", "cpuacct"), "gone": ("cpuset",)}, v2=True)
    paths = CgroupPaths.of({"": CgroupPath("/u"), "cpu": CgroupPath("/c"), "cpuacct": CgroupPath("/c")})
    assert {Controller.MEMORY, Controller.CPU, Controller.IO, Controller.PRESSURE} == reader.controllers
    assert 4096 == reader.memory(paths).max
    assert 1 == len(reader.io(paths).devices)
    assert (CpuMax(50000, 100000), {0: CpuTime(5, 3)}) == (reader.cpu_max(paths), reader.cpu(paths).used)
    assert reader.at_root(paths, Controller.CPUSET)
    assert not reader.at_root(paths, Controller.MEMORY)
    with pytest.raises(ControllerUnavailable, match="cpuset"):
        reader.cpuset(paths)
    assert reader.files.any_exists(paths)


def test_v1_goes_before_v2(tmp_path: Path) -> None:
    """A controller is in one hierarchy only: a v1 mount of it is the answer, whatever v2 lists."""
    _write(tmp_path, {"unified/cgroup.controllers": "memory\n", "memory/x": "", "unified/u/x": ""})
    reader = _open(tmp_path, {"memory": ("memory",)}, v2=True)
    paths = CgroupPaths.of({"": CgroupPath("/u"), "memory": CgroupPath("/")})
    assert reader.at_root(paths, Controller.MEMORY)
    assert not reader.at_root(paths, Controller.CPU)


@pytest.mark.parametrize("v1", [{}, {"systemd": ("name=systemd",)}, {"pids": ("pids",)}])
def test_nothing_answers(tmp_path: Path, v1: dict[str, tuple[str, ...]]) -> None:
    """Named hierarchies and other controllers tell nothing of what is served."""
    for directory in v1:
        (tmp_path / directory).mkdir()
    assert frozenset() == _open(tmp_path, v1).controllers


def test_bound_subtree(tmp_path: Path) -> None:
    """A mount that shows one container only: its path is taken off, and others are not there."""
    _write(
        tmp_path, {"cpu/cpu.cfs_quota_us": "20000", "cpu/cpu.cfs_period_us": "10000", "cpu/x/cpu.shares": ""}
    )
    reader = _open(tmp_path, {"cpu": ("cpu",)}, root="/docker/1")
    inside = CgroupPaths.of({"cpu": CgroupPath("/docker/1/x")})
    assert CpuMax(20000, 10000) == reader.cpu_max(inside)
    assert reader.files.any_exists(inside)
    assert not reader.files.any_exists(CgroupPaths.of({"cpu": CgroupPath("/docker/2")}))
    assert reader.cpu_max(CgroupPaths.of({"cpu": CgroupPath("/docker/2")})) is None


@pytest.mark.parametrize("own", ["/", "/daemon"])
def test_host_mount_in_a_cgroup_namespace(tmp_path: Path, own: str) -> None:
    """The way from the host's mount to our namespace is found by our own process."""
    here = f"unified/docker/1{own}".rstrip("/")
    _write(
        tmp_path,
        {
            "unified/cgroup.controllers": "memory\n",
            f"{here}/cgroup.procs": f"1\n{os.getpid()}\n",
            "unified/docker/2/cgroup.procs": "2\n",
            "unified/docker/2/cpu.stat": "user_usec 7\nsystem_usec 0\n",
            "unified/docker/1/x/cpu.stat": "user_usec 8\nsystem_usec 0\n",
        },
    )
    reader = _open(tmp_path, {}, v2=True, own=CgroupPaths.of({"": CgroupPath(own)}), root="/../..")
    sibling, child = (CgroupPaths.of({"": CgroupPath(path)}) for path in ("/../2", "/x"))
    assert (7, 8) == (reader.cpu(sibling).unplaced.user_usec, reader.cpu(child).unplaced.user_usec)
    assert reader.at_root(CgroupPaths.of({"": CgroupPath("/../..")}), Controller.CPU)


@pytest.mark.parametrize("depth,is_found", [(1, True), (8, True), (9, False)])
def test_how_deep_our_own_place_is_looked_for(tmp_path: Path, depth: int, *, is_found: bool) -> None:
    """Eight steps below the mount's top, and no deeper."""
    home = "/".join(f"d{number}" for number in range(depth))
    _write(
        tmp_path,
        {
            "unified/cgroup.controllers": "memory\n",
            f"unified/{home}/cgroup.procs": f"{os.getpid()}\n",
            f"unified/{home}/x/cpu.stat": "user_usec 8\nsystem_usec 0\n",
        },
    )
    own = CgroupPaths.of({"": CgroupPath("/")})
    reader = _open(tmp_path, {}, v2=True, own=own, root="/" + "/".join([".."] * depth))
    child = CgroupPaths.of({"": CgroupPath("/x")})
    if is_found:
        assert 8 == reader.cpu(child).unplaced.user_usec
    else:
        with pytest.raises(ControllerUnavailable):
            reader.cpu(child)


def test_our_own_place_is_not_there(tmp_path: Path) -> None:
    """Without our own place, only what is named from the mount's top can be found."""
    _write(tmp_path, {"unified/docker/2/cpu.stat": "user_usec 7\nsystem_usec 0\n"})
    reader = _open(tmp_path, {}, v2=True, own=CgroupPaths.of({"": CgroupPath("/")}), root="/../..")
    with pytest.raises(ControllerUnavailable):
        reader.cpu(CgroupPaths.of({"": CgroupPath("/../2")}))
    assert 7 == reader.cpu(CgroupPaths.of({"": CgroupPath("/../../docker/2")})).unplaced.user_usec


@pytest.mark.parametrize(
    "mounts,paths,expected",
    [
        (("cpu",), {"": "/u", "cpu": "/c"}, [1]),
        (("cpu",), {"": "/u", "cpu": "/"}, [2]),
        (("memory",), {"": "/u", "memory": "/m"}, [2]),
        (("memory",), {"": "/", "memory": "/m"}, [3]),
    ],
    ids=["cpu on v1", "no own cpu cgroup", "cpu on v2", "root of v2"],
)
def test_tasks(tmp_path: Path, mounts: tuple[str, ...], paths: dict[str, str], expected: list[int]) -> None:
    """The cpu controller's version lists the tasks; if the container has no cgroup there, the other."""
    _write(
        tmp_path,
        {
            "unified/cgroup.threads": "9\n",
            "unified/u/cgroup.threads": "2\n",
            "cpu/tasks": "9\n",
            "cpu/c/tasks": "1\n",
            "memory/m/tasks": "3\n",
        },
    )
    reader = _open(tmp_path, {name: (name,) for name in mounts}, v2=True)
    where = CgroupPaths.of({name: CgroupPath(path) for name, path in paths.items()})
    assert expected == list_tasks(reader, where)


def test_no_tasks_of_the_host(tmp_path: Path) -> None:
    """In the roots of every hierarchy there is no container to list the tasks of."""
    _write(tmp_path, {"unified/cgroup.threads": "9\n", "cpu/tasks": "9\n"})
    reader = _open(tmp_path, {"cpu": ("cpu",)}, v2=True)
    with pytest.raises(ControllerUnavailable):
        list_tasks(reader, CgroupPaths.of({"": CgroupPath("/"), "cpu": CgroupPath("/")}))


@pytest.mark.parametrize(
    "mounts,where,expected",
    [
        (("cpu",), "/u", CpuStats(unplaced=CpuTime(7, 2))),
        (("cpu", "cpuacct"), "/u", CpuStats({0: CpuTime(5, 3)})),
        (("cpu",), "/", CpuStats()),
    ],
    ids=["v2 knows", "cpuacct knows better", "root of v2"],
)
def test_cpu_without_cpuacct(tmp_path: Path, mounts: tuple[str, ...], where: str, expected: CpuStats) -> None:
    """Where v1 has the cpu controller but not cpuacct, the container's v2 cgroup tells its CPU time."""
    _write(
        tmp_path,
        {
            "unified/cpu.stat": "user_usec 70\nsystem_usec 20\n",
            "unified/u/cpu.stat": "user_usec 7\nsystem_usec 2\n",
            "cpu/c/cpu.cfs_quota_us": "50000",
            "cpu/c/cpu.cfs_period_us": "100000",
            "cpuacct/c/cpuacct.usage_all": "cpu user system\n0 5000 3000\n",
        },
    )
    reader = _open(tmp_path, {name: (name,) for name in mounts}, v2=True)
    paths = {"": where, "cpu": "/c", "cpuacct": "/c"}
    own = CgroupPaths.of({name: CgroupPath(path) for name, path in paths.items()})
    assert (CpuMax(50000, 100000), expected) == (reader.cpu_max(own), reader.cpu(own))


def test_cpu_without_cpuacct_and_without_v2(tmp_path: Path) -> None:
    """Where nothing counts CPU time, the limit is still known."""
    _write(tmp_path, {"unified/u/x": "", "cpu/c/cpu.cfs_quota_us": "7", "cpu/c/cpu.cfs_period_us": "7"})
    reader = _open(tmp_path, {"cpu": ("cpu",)}, v2=True)
    paths = CgroupPaths.of({"cpu": CgroupPath("/c")})
    assert (CpuMax(7, 7), CpuStats()) == (reader.cpu_max(paths), reader.cpu(paths))


def test_versions_are_told(tmp_path: Path) -> None:
    """Which version answers for each controller, and none for one that is nowhere."""
    _write(tmp_path, {"unified/cgroup.controllers": "io memory\n", "both/c/cpu.shares": "1\n"})
    reader = _open(tmp_path, {"both": ("cpu", "cpuacct")}, v2=True)
    told = {controller.value: version for controller, version in reader.versions.items()}
    assert {"memory": "v2", "io": "v2", "cpu": "v1", "pressure": "v2"} == told
