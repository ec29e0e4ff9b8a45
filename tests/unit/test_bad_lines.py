"""One line that makes no sense never costs the others, in any line-wise kernel file."""

import os
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from pylxcfs.accounting.cpu_ledger import CpuTimes
from pylxcfs.accounting.load_average import LoadView
from pylxcfs.cgroup.membership import parse_membership
from pylxcfs.cgroup.parse import (
    parse_device_operations,
    parse_flat_keyed,
    parse_io_stat,
    parse_rows,
    to_ids,
)
from pylxcfs.cgroup.reader import CgroupFiles
from pylxcfs.cgroup.types import (
    CgroupPath,
    CgroupPaths,
    CpuSet,
    CpuTime,
    DeviceIo,
    DeviceNumber,
    MemoryStat,
    MemoryStats,
    ParseError,
)
from pylxcfs.cgroup.v1 import V1Reader
from pylxcfs.containers.procpid import parse_pids
from pylxcfs.linux.mountinfo import parse_mountinfo
from pylxcfs.procfiles import cpuinfo, diskstats, meminfo, stat
from pylxcfs.view.host import HostReader, HostSnapshot
from pylxcfs.view.memory import MemoryView
from pylxcfs.view.resources import CpuView, ResourceView

#: Not what the kernel writes, and what it does write for a disk without a number.
BAD = [
    b"(unknown)",
    b"?",
    b"x y z a b c",
    b"9 9",
    b"8:",
    b"\xff\xfe",
    b"key=value",
    b"-1:0 Read 5",
    b"a " * 200,
]
SDA, SDB = DeviceNumber(8, 0), DeviceNumber(8, 16)

bad_line = pytest.mark.parametrize("bad", BAD, ids=lambda line: line[:12].decode(errors="replace"))


@pytest.mark.parametrize(
    "parse,lines",
    [
        (lambda text: parse_flat_keyed("f", text), [b"anon 1", b"file 2", b"shmem 3"]),
        (lambda text: parse_rows("f", text, 3), [b"0 1 2", b"1 3 4", b"2 5 6"]),
        (to_ids, [b"41", b"42", b"43"]),
        (
            lambda text: parse_device_operations("f", text),
            [b"8:0 Read 1", b"8:0 Write 2", b"8:16 Read 3", b"Total 6"],
        ),
        (
            lambda text: parse_io_stat("f", text),
            [b"8:0 rbytes=1 wbytes=2", b"8:16 rbytes=3 cost.usage=7", b"8:32", b"8:48 wios=1"],
        ),
        (lambda text: parse_membership("f", text), [b"3:cpu,cpuacct:/a", b"2:memory:/b", b"0::/c"]),
        (
            parse_mountinfo,
            [b"36 35 98:0 / /a rw - ext3 /dev/x rw", b"37 35 98:0 / /b rw master:1 - ext3 /dev/x rw"],
        ),
        (parse_pids, [b"Name:\tx", b"NSpid:\t41\t1", b"VmPeak:\t0"]),
    ],
    ids=["flat", "rows", "ids", "blkio", "io.stat", "membership", "mountinfo", "status"],
)
@bad_line
def test_parsers(parse: Callable[[bytes], object], lines: list[bytes], bad: bytes) -> None:
    """At the beginning, in the middle or at the end."""
    whole = parse(b"".join(line + b"\n" for line in lines))
    for place in range(len(lines) + 1):
        if parse is to_ids and bad == b"9 9":
            continue  # Two ids on a line are ids.
        text = b"".join(line + b"\n" for line in (*lines[:place], bad, *lines[place:]))
        found = parse(text)
        if isinstance(found, Mapping) and bad == b"9 9" and b"9" in found:
            found = {key: value for key, value in found.items() if key != b"9"}
        assert whole == found


def test_a_nameless_disk() -> None:
    """Native NVMe multipath: its lines are skipped, whatever stands on them, and are no damage."""
    operations = b"8:0 Read 7\n(unknown) Read 5\n(unknown) Write x\n8:16 Read 9\nTotal 21\n"
    assert {SDA: {b"Read": 7}, SDB: {b"Read": 9}} == parse_device_operations("f", operations)
    assert {} == parse_device_operations("f", b"(unknown) Read 5\nTotal 5\n")
    stats = b"8:0 rbytes=7\n(unknown) rbytes=5 wbytes=x\n8:16 rbytes=9\n"
    assert {SDA: DeviceIo(rbytes=7), SDB: DeviceIo(rbytes=9)} == parse_io_stat("f", stats)
    assert {} == parse_io_stat("f", b"(unknown) rbytes=5\n")
    # Linux 5.10 to 5.13: a device without numbers has no line of its own.
    joined = b"(unknown) 8:0 rbytes=7\n8:32 (unknown) rbytes=5\n"
    expected = {SDA: DeviceIo(rbytes=7), DeviceNumber(8, 32): DeviceIo()}
    assert expected == parse_io_stat("f", joined)


def test_a_number_that_makes_no_sense_costs_its_device() -> None:
    """Half of a device's numbers would be shown as all of them."""
    assert {SDB: DeviceIo(rios=1)} == parse_io_stat("f", b"8:0 rbytes=7 wbytes=x\n8:16 rios=1\n")


@pytest.mark.parametrize("text", [b"rbytes=1\n", b"8:0 rbytes=x\n", b"zram0 rbytes=1\n"])
def test_io_stat_without_any_sense(text: bytes) -> None:
    """Where no line makes sense the file is damaged."""
    with pytest.raises(ParseError):
        parse_io_stat("f", text)


def test_membership_without_any_sense() -> None:
    """Who is in no hierarchy at all is not taken for a process of the root."""
    with pytest.raises(ParseError):
        parse_membership("f", b"?\n")


@bad_line
def test_cpu_usage(tmp_path: Path, bad: bytes) -> None:
    """cpuacct.usage_all and usage_percpu."""
    paths = CgroupPaths.of({"cpuacct": CgroupPath("/a")})
    (tmp_path / "a").mkdir()
    reader = V1Reader(CgroupFiles({"cpuacct": str(tmp_path)}, 64))
    (tmp_path / "a/cpuacct.usage_all").write_bytes(
        b"cpu user system\n0 1000 2000\n" + bad + b"\n1 3000 4000\n"
    )
    assert {0: CpuTime(1, 2), 1: CpuTime(3, 4)} == reader.cpu(paths).used


def test_cpu_usage_before_4_8(tmp_path: Path) -> None:
    """A word that is no number costs its CPU."""
    (tmp_path / "a").mkdir()
    (tmp_path / "a/cpuacct.usage_percpu").write_bytes(b"5000 ? 7000 \n")
    reader = V1Reader(CgroupFiles({"cpuacct": str(tmp_path)}, 64))
    used = reader.cpu(CgroupPaths.of({"cpuacct": CgroupPath("/a")})).used
    assert {0: CpuTime(5, 0), 2: CpuTime(7, 0)} == used


@bad_line
def test_meminfo(bad: bytes) -> None:
    """The host's meminfo: every other field is the container's."""
    stats = MemoryStats(1 << 20, 2 << 20, 0, 0, swap_accounted=True, stat=MemoryStat())
    view = ResourceView(0, MemoryView(stats, 1 << 30, 0))
    fields = [b"MemTotal:    9000 kB", b"MemFree:     8000 kB", b"Dirty:       7000 kB"]
    text = b"".join(line + b"\n" for line in (*fields[:1], bad, *fields[1:]))
    shown = meminfo.render(view, HostSnapshot(meminfo=text))
    assert b"MemTotal:    2048 kB\n" + bad + b"\nMemFree:     1024 kB\nDirty:          0 kB\n" == shown


@pytest.mark.parametrize(
    "bad", [b"(unknown)", b"", b"cpu", b"cpux 1 2", b"procs_running x", b"procs_blocked"]
)
def test_stat(bad: bytes) -> None:
    """Wherever it stands in the host's stat, no line of the host's CPUs and tasks is shown."""
    host = [
        b"cpu  9 9",
        b"cpu0 9 9",
        b"cpu1 9 9",
        b"intr 5 1",
        b"procs_running 9",
        b"procs_blocked 9",
        b"softirq 1",
    ]
    view = ResourceView(
        0,
        cpu_part=CpuView({0: CpuTimes(0, 0, 0)}),
        load_part=LoadView(None, running=1, blocked=2, total=3, last_pid=4),
    )
    for place in range(len(host) + 1):
        text = b"".join(line + b"\n" for line in (*host[:place], bad, *host[place:]))
        lines = stat.render(view, HostSnapshot(stat=text)).splitlines()
        assert [b"cpu", b"cpu0"] == [line.split()[0] for line in lines if line.startswith(b"cpu")]
        procs = {line for line in lines if line.startswith(b"procs")}
        assert {b"procs_running 1", b"procs_blocked 2"} == procs
        assert {b"intr 5 1", b"softirq 1"} <= set(lines)


@bad_line
def test_diskstats(bad: bytes) -> None:
    """The host's diskstats: every other device keeps its line."""
    text = b" 8 0 sda 1 2 3 4 5 6 7 8 9 10 11\n" + bad + b"\n 8 16 sdb 1 2 3 4 5 6 7 8 9 10 11\n"
    view = ResourceView(0, io_part={SDA: DeviceIo(rios=1), SDB: DeviceIo(wios=1)})
    shown = diskstats.render(view, HostSnapshot(diskstats=text))
    assert [b"sda", b"sdb"] == [line.split()[2] for line in shown.splitlines()]


@bad_line
def test_cpuinfo(bad: bytes) -> None:
    """The host's cpuinfo: a line in a paragraph stays where it is, and hides no CPU and shows none."""
    text = b"".join(b"processor\t: %d\n" % cpu + bad + b"\nflags\t: a\n\n" for cpu in range(3))
    view = ResourceView(0, cpus_part=CpuSet([0, 2]))
    shown = cpuinfo.render(view, HostSnapshot(cpuinfo=text))
    assert [b"0", b"2"] == [line[-1:] for line in shown.splitlines() if line.startswith(b"processor")]


def test_huge_pages_of_one_size(tmp_path: Path) -> None:
    """A size whose counts make no sense costs the others nothing."""
    for size, total in {1024: "x", 2048: "5"}.items():
        pool = tmp_path / f"sys/kernel/mm/hugepages/hugepages-{size}kB"
        pool.mkdir(parents=True)
        for name in ("nr_hugepages", "free_hugepages", "resv_hugepages"):
            (pool / name).write_text(f"{total}\n")
    online = tmp_path / "sys/devices/system/cpu/online"
    online.parent.mkdir(parents=True)
    online.write_text("0\n")
    host = HostReader(Path("/proc"), tmp_path / "sys")
    assert [2048 << 10] == list(host.snapshot(["huge_pools"]).huge_pools)
    os.close(host.proc_fd)
