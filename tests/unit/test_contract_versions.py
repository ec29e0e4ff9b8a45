"""One container, written as a v1 and as a v2 tree, is shown alike."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from pylxcfs.accounting.hugepages import HugePool
from pylxcfs.accounting.load_tracker import LoadTracker
from pylxcfs.cgroup.detect import Hierarchy
from pylxcfs.cgroup.layout import LayoutReader, open_layout
from pylxcfs.cgroup.types import CgroupPath, CgroupPaths, Controller, CpuMax, CpuSet, HugetlbStats
from pylxcfs.config import ViewConfig
from pylxcfs.containers.container import Container
from pylxcfs.containers.processes import Processes
from pylxcfs.content.viewbuilder import ViewBuilder
from pylxcfs.procfiles.table import VIRTUAL_FILES, VirtualFile, node_files
from pylxcfs.view.host import HUGE_POOLS, NODES, ONLINE, PARSED, HostNode, HostSnapshot
from tests.support.tasks import list_tasks

MIB = 1 << 20
UNLIMITED = 9223372036854771712
UNLIMITED_2MIB = (1 << 63) - (2 << 20)
V1 = ("memory", "cpu", "cpuacct", "cpuset", "blkio", "hugetlb")
#: Rows whose content does not depend on when each CPU was used, which only v1 tells.
EQUAL = ("meminfo", "swaps", "diskstats", "cpuinfo", "loadavg")
FILES = [file for file in VIRTUAL_FILES if file.host_file in EQUAL]

Versions = tuple[tuple[LayoutReader, CgroupPaths], tuple[LayoutReader, CgroupPaths]]

#: The container and what is beside it.
POD_USAGE = 450 * MIB
#: Our name → v1 name, MiB.
STAT = {
    "file": ("total_cache", 100),
    "anon": ("total_rss", 60),
    "shmem": ("total_shmem", 8),
    "file_mapped": ("total_mapped_file", 20),
    "file_dirty": ("total_dirty", 3),
    "file_writeback": ("total_writeback", 1),
    "swapcached": ("total_swapcached", 1),
    "anon_thp": ("total_rss_huge", 4),
    "active_anon": ("total_active_anon", 30),
    "inactive_anon": ("total_inactive_anon", 38),
    "active_file": ("total_active_file", 50),
    "inactive_file": ("total_inactive_file", 42),
    "unevictable": ("total_unevictable", 2),
}


def _write(top: Path, files: dict[str, str]) -> None:
    for name, text in files.items():
        path = top / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


def _keyed(values: dict[str, int]) -> str:
    return "".join(f"{key} {value}\n" for key, value in values.items())


def _v1(top: Path, limit: int | None, swap: int | None) -> tuple[LayoutReader, CgroupPaths]:
    memsw = None if swap is None else UNLIMITED if limit is None else limit + swap
    memory = {name: mib * MIB for name, mib in STAT.values()}
    memory["hierarchical_memory_limit"] = UNLIMITED if limit is None else limit
    if memsw is not None:
        # v2 counts what is in memory and in swap to swap.current, v1 to memory alone.
        memory |= {"hierarchical_memsw_limit": memsw, "total_swap": (30 - STAT["swapcached"][1]) * MIB}
    _write(
        top,
        {
            "memory/pod/c/memory.stat": _keyed(memory),
            "memory/pod/c/memory.usage_in_bytes": f"{200 * MIB}\n",
            "memory/pod/c/memory.limit_in_bytes": f"{UNLIMITED}\n",
            "memory/pod/memory.limit_in_bytes": f"{memory['hierarchical_memory_limit']}\n",
            "memory/pod/memory.memsw.limit_in_bytes": f"{UNLIMITED if memsw is None else memsw}\n",
            "memory/pod/memory.usage_in_bytes": f"{POD_USAGE}\n",
            "memory/pod/memory.stat": _keyed(
                {"total_active_file": 3 * MIB, "total_inactive_file": 4 * MIB, "total_swap": 40 * MIB}
            ),
            "hugetlb/pod/hugetlb.2MB.limit_in_bytes": f"{12 * MIB}\n",
            "hugetlb/pod/hugetlb.2MB.rsvd.limit_in_bytes": f"{UNLIMITED_2MIB}\n",
            "hugetlb/pod/c/hugetlb.2MB.limit_in_bytes": f"{UNLIMITED_2MIB}\n",
            "hugetlb/pod/c/hugetlb.2MB.rsvd.limit_in_bytes": f"{20 * MIB}\n",
            "hugetlb/pod/c/hugetlb.2MB.usage_in_bytes": f"{4 * MIB}\n",
            "hugetlb/pod/c/hugetlb.2MB.rsvd.usage_in_bytes": f"{6 * MIB}\n",
            "cpu/pod/cpu.cfs_quota_us": "150000\n",
            "cpu/pod/cpu.cfs_period_us": "100000\n",
            "cpu/pod/c/cpu.cfs_quota_us": "-1\n",
            "cpu/pod/c/tasks": "41\n42\n",
            "cpu/pod/c/nested/tasks": "43\n",
            "cpuacct/pod/c/cpuacct.usage_all": "cpu user system\n0 5000000 2000000\n1 1000000 1000000\n",
            "cpuset/pod/cpuset.effective_cpus": "1,3\n",
            "cpuset/pod/cpuset.cpus": "1,3\n",
            "cpuset/pod/c/cpuset.effective_cpus": "\n",
            "cpuset/pod/c/cpuset.cpus": "\n",
            "blkio/pod/c/blkio.throttle.io_service_bytes_recursive": (
                "254:0 Read 8192\n254:0 Write 512\n254:0 Discard 1024\nTotal 9728\n"
            ),
            "blkio/pod/c/blkio.throttle.io_serviced_recursive": (
                "254:0 Read 2\n254:0 Write 1\n254:0 Discard 1\nTotal 4\n"
            ),
        },
    )
    paths = CgroupPaths.of({name: CgroupPath("/pod/c") for name in V1})
    return open_layout([Hierarchy((name,), str(top / name), "/") for name in V1], paths, 64), paths


def _v2(top: Path, limit: int | None, swap: int | None) -> tuple[LayoutReader, CgroupPaths]:
    files = {
        "cgroup.controllers": "cpuset cpu io memory hugetlb\n",
        "pod/memory.max": "max\n" if limit is None else f"{limit}\n",
        "pod/c/memory.max": "max\n",
        "pod/memory.current": f"{POD_USAGE}\n",
        "pod/memory.stat": _keyed({"active_file": 3 * MIB, "inactive_file": 4 * MIB}),
        "pod/c/memory.current": f"{200 * MIB}\n",
        "pod/c/memory.stat": _keyed({name: mib * MIB for name, (_, mib) in STAT.items()}),
        "pod/hugetlb.2MB.max": f"{12 * MIB}\n",
        "pod/hugetlb.2MB.rsvd.max": "max\n",
        "pod/c/hugetlb.2MB.max": "max\n",
        "pod/c/hugetlb.2MB.rsvd.max": f"{20 * MIB}\n",
        "pod/c/hugetlb.2MB.current": f"{4 * MIB}\n",
        "pod/c/hugetlb.2MB.rsvd.current": f"{6 * MIB}\n",
        "pod/cpu.max": "150000 100000\n",
        "pod/c/cpu.max": "max 100000\n",
        "pod/c/cpu.stat": "usage_usec 9000\nuser_usec 6000\nsystem_usec 3000\n",
        "pod/c/cgroup.threads": "41\n42\n",
        "pod/c/nested/cgroup.threads": "43\n",
        "pod/cpuset.cpus.effective": "1,3\n",
        "pod/c/io.stat": "254:0 rbytes=8192 wbytes=512 rios=2 wios=1 dbytes=1024 dios=1\n",
    }
    if swap is not None:
        files["pod/c/memory.swap.current"] = f"{30 * MIB}\n"
        files["pod/c/memory.swap.max"] = "max\n"
        files["pod/memory.swap.current"] = f"{40 * MIB}\n"
        files["pod/memory.swap.max"] = "max\n" if limit is None else f"{swap}\n"
    _write(top, files)
    paths = CgroupPaths.of({"": CgroupPath("/pod/c")})
    return open_layout([Hierarchy(("",), str(top), "/")], paths, 64), paths


@pytest.fixture(
    params=[(512 * MIB, 64 * MIB), (512 * MIB, 0), (512 * MIB, None), (None, 0), (100 * MIB, 1)],
    ids=["swap", "no swap", "not accounted", "unlimited", "above its limit"],
)
def versions(request: pytest.FixtureRequest, tmp_path: Path) -> Versions:
    """Return the same container on both versions."""
    limit, swap = request.param
    return _v1(tmp_path / "v1", limit, swap), _v2(tmp_path / "v2", limit, swap)


def test_values(versions: Versions) -> None:
    """Whatever both kernels know is equal."""
    (old, old_paths), (new, new_paths) = versions
    assert frozenset(Controller) - {Controller.PRESSURE} == old.controllers
    assert frozenset(Controller) - {Controller.SLAB} == new.controllers
    assert old.memory(old_paths) == new.memory(new_paths)
    assert old.hugetlb(old_paths, 2 * MIB) == new.hugetlb(new_paths, 2 * MIB)
    assert HugetlbStats(12 * MIB, 4 * MIB, 6 * MIB) == new.hugetlb(new_paths, 2 * MIB)
    assert old.cpuset(old_paths) == new.cpuset(new_paths)
    assert old.io(old_paths) == new.io(new_paths)
    assert [41, 42, 43] == list_tasks(old, old_paths) == list_tasks(new, new_paths)
    assert CpuMax(150_000, 100_000) == old.cpu_max(old_paths) == new.cpu_max(new_paths)
    assert 9_000 == old.cpu(old_paths).total_usec == new.cpu(new_paths).total_usec


@pytest.fixture
def processes(tmp_path: Path) -> Iterator[Processes]:
    """Return the container's tasks: one asleep, one runnable, one in uninterruptible sleep."""
    for task, state in {41: "S", 42: "R", 43: "D"}.items():
        status = f"NSpid:\t{task}\t{task - 40}\n"
        _write(
            tmp_path / f"proc/{task}", {f"task/{task}/stat": f"{task} (x) {state} 1 2\n", "status": status}
        )
    descriptor = os.open(tmp_path / "proc", os.O_RDONLY)
    yield Processes(descriptor)
    os.close(descriptor)


def _host(file: VirtualFile) -> HostSnapshot:
    captured = Path(__file__).parent / "captures/linux-6.18-x86/proc"
    files: dict[str, Any] = {
        name: (captured / name).read_bytes() for name in file.host_files if name not in PARSED
    }
    pools = {2 * MIB: HugePool(10, 7, 3)} if HUGE_POOLS in file.host_files else {}
    return HostSnapshot(**files, boottime_usec=5_000_000_000, online=CpuSet(range(4)), huge_pools=pools)


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.path)
def test_content(versions: Versions, processes: Processes, file: VirtualFile) -> None:
    """The rendered files are equal, byte for byte."""
    host = _host(file)
    contents = []
    for reader, paths in versions:
        container = Container(paths, 41, 0, in_host_pid_namespace=False)
        builder = ViewBuilder(reader, LoadTracker(reader, processes), ViewConfig())
        contents.append(file.render(builder.build(container, file, host), host))
    assert contents[0] == contents[1]
    assert contents[0]
    if file.host_file == "loadavg":
        assert contents[0].endswith(b" 1/3 3\n")
    if file.host_file == "meminfo":
        words = contents[0].split()
        names = (b"HugePages_Total:", b"HugePages_Free:", b"HugePages_Rsvd:", b"Hugetlb:")
        assert [b"6", b"4", b"1", b"12288"] == [words[words.index(name) + 1] for name in names]


_NODE_TEXTS = {
    "cpulist": (b"0-3\n", b"1,3\n"),
    "cpumap": (b"f\n", b"a\n"),
    "distance": (b"10\n", b"10\n"),
    "meminfo": (b"Node 0 MemTotal: 16000000 kB\n", None),
}


@pytest.mark.parametrize("file", [*node_files(CpuSet([0]))], ids=lambda file: file.path)
def test_files_of_numa_nodes(versions: Versions, processes: Processes, file: VirtualFile) -> None:
    """What they declare is enough to render them, and both versions say the same."""
    text, expected = _NODE_TEXTS.get(Path(file.path).name, (b"0\n", b"0\n"))
    assert (expected is None) is ("meminfo" in file.host_files)
    captured = Path(__file__).parent / "captures/linux-6.18-x86/proc"
    host = HostSnapshot(
        boottime_usec=5_000_000_000,
        meminfo=(captured / "meminfo").read_bytes() if "meminfo" in file.host_files else b"",
        online=CpuSet(range(4)) if ONLINE in file.host_files else CpuSet(),
        nodes={0: HostNode(CpuSet(range(4)), 16 << 30)} if NODES in file.host_files else {},
        node_text=text,
    )
    for reader, paths in versions:
        container = Container(paths, 41, 0, in_host_pid_namespace=False)
        view = ViewBuilder(reader, LoadTracker(reader, processes), ViewConfig()).build(container, file, host)
        shown = file.render(view, host)
        assert shown == (expected or b"Node 0 MemTotal: %8d kB\n" % (view.memory.total >> 10))
