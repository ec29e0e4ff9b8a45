"""One container's cgroup files, as v1 and as v2 have them."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final, NamedTuple

from pylxcfs.cgroup.detect import Hierarchy
from pylxcfs.cgroup.layout import LayoutReader, open_layout
from pylxcfs.cgroup.types import CgroupPath, CgroupPaths
from tests.fuzz.damage import CAPTURES

MIB: Final = 1 << 20
_V2_STAT: Final = (CAPTURES / "linux-6.12-x86/cgroup-v2/memory.stat").read_bytes()
_V1_STAT: Final = b"".join(
    b"%b %d\n" % (name, number)
    for name, number in {
        b"total_cache": 100 * MIB,
        b"total_rss": 60 * MIB,
        b"total_rss_huge": 4 * MIB,
        b"total_shmem": 8 * MIB,
        b"total_mapped_file": 20 * MIB,
        b"total_dirty": 3 * MIB,
        b"total_writeback": MIB,
        b"total_swap": 5 * MIB,
        b"total_swapcached": MIB,
        b"total_inactive_anon": 38 * MIB,
        b"total_active_anon": 30 * MIB,
        b"total_inactive_file": 42 * MIB,
        b"total_active_file": 50 * MIB,
        b"total_unevictable": 2 * MIB,
        b"hierarchical_memory_limit": 512 * MIB,
        b"hierarchical_memsw_limit": 600 * MIB,
    }.items()
)
_PRESSURE: Final = b"some avg10=0.00 avg60=1.20 avg300=0.00 total=123\nfull avg10=0.00 avg60=0.00 total=7\n"
_V1: Final[Mapping[str, bytes]] = {
    "memory/pod/c/memory.stat": _V1_STAT,
    "memory/pod/c/memory.usage_in_bytes": b"209715200\n",
    "memory/pod/c/memory.kmem.slabinfo": b"",
    "hugetlb/pod/hugetlb.2MB.limit_in_bytes": b"12582912\n",
    "hugetlb/pod/c/hugetlb.2MB.limit_in_bytes": b"9223372036852678656\n",
    "hugetlb/pod/c/hugetlb.2MB.usage_in_bytes": b"4194304\n",
    "hugetlb/pod/c/hugetlb.2MB.rsvd.usage_in_bytes": b"6291456\n",
    "cpu/pod/cpu.cfs_quota_us": b"150000\n",
    "cpu/pod/cpu.cfs_period_us": b"100000\n",
    "cpu/pod/c/cpu.cfs_quota_us": b"-1\n",
    "cpu/pod/c/tasks": b"41\n42\n",
    "cpu/pod/c/nested/tasks": b"43\n",
    "cpuacct/pod/c/cpuacct.usage_all": b"cpu user system\n0 5000000 2000000\n1 1000000 1000000\n",
    "cpuset/pod/cpuset.effective_cpus": b"1,3\n",
    "cpuset/pod/c/cpuset.effective_cpus": b"0-3\n",
    "blkio/pod/c/blkio.throttle.io_service_bytes_recursive": b"254:0 Read 8192\n254:0 Write 5\nTotal 8197\n",
    "blkio/pod/c/blkio.throttle.io_serviced_recursive": b"254:0 Read 2\n254:0 Write 1\nTotal 3\n",
    "freezer/pod/c/freezer.state": b"THAWED\n",
}
_V2: Final[Mapping[str, bytes]] = {
    "pod/memory.max": b"536870912\n",
    "pod/c/memory.max": b"max\n",
    "pod/c/memory.high": b"max\n",
    "pod/c/memory.current": b"209715200\n",
    "pod/c/memory.stat": _V2_STAT,
    "pod/c/memory.swap.current": b"31457280\n",
    "pod/c/memory.swap.max": b"67108864\n",
    "pod/hugetlb.2MB.max": b"12582912\n",
    "pod/c/hugetlb.2MB.max": b"max\n",
    "pod/c/hugetlb.2MB.current": b"4194304\n",
    "pod/c/hugetlb.2MB.rsvd.current": b"6291456\n",
    "pod/cpu.max": b"150000 100000\n",
    "pod/c/cpu.max": b"max 100000\n",
    "pod/c/cpu.stat": b"usage_usec 9000\nuser_usec 6000\nsystem_usec 3000\n",
    "pod/c/cgroup.threads": b"41\n42\n",
    "pod/c/nested/cgroup.threads": b"43\n",
    "pod/cpuset.cpus.effective": b"1,3\n",
    "pod/c/io.stat": b"254:0 rbytes=8192 wbytes=512 rios=2 wios=1 dbytes=1024 dios=1\n",
    "pod/c/cpu.pressure": _PRESSURE,
    "pod/c/io.pressure": _PRESSURE,
    "pod/c/memory.pressure": _PRESSURE,
}
FILES: Final[Mapping[str, Mapping[str, bytes]]] = {"v1": _V1, "v2": _V2}


class GroupTree(NamedTuple):
    """The files in a directory, and who reads them."""

    top: Path
    files: Mapping[str, bytes]
    reader: LayoutReader
    paths: CgroupPaths

    def write(self, changed: Mapping[str, bytes | None]) -> None:
        """Write all files, those `changed` otherwise; None takes a file away. Nothing is kept open."""
        for name, content in {**self.files, **changed}.items():
            if content is None:
                (self.top / name).unlink(missing_ok=True)
            else:
                (self.top / name).write_bytes(content)
        self.reader.files.forget_all(self.paths)


def make_tree(version: str, top: Path) -> GroupTree:
    """Make the files of a version, and open them."""
    files = FILES[version]
    for name in files:
        (top / name).parent.mkdir(parents=True, exist_ok=True)
    if version == "v1":
        names: Sequence[str] = sorted({name.split("/")[0] for name in files})
        hierarchies = [Hierarchy((name,), str(top / name), "/") for name in names]
    else:
        (top / "cgroup.controllers").write_text("cpuset cpu io memory hugetlb\n")
        names, hierarchies = ("",), [Hierarchy(("",), str(top), "/")]
    paths = CgroupPaths.of({name: CgroupPath("/pod/c") for name in names})
    tree = GroupTree(top, files, open_layout(hierarchies, paths, 64), paths)
    tree.write({})
    return tree
