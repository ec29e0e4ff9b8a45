"""Clocks of readers in time namespaces."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from pylxcfs.accounting.cpu_ledger import CpuTimes
from pylxcfs.accounting.load_average import LoadView
from pylxcfs.accounting.load_tracker import LoadTracker
from pylxcfs.cgroup.reader import CgroupFiles
from pylxcfs.cgroup.types import ParseError
from pylxcfs.cgroup.v1 import V1Reader
from pylxcfs.config import ViewConfig
from pylxcfs.containers.processes import Processes
from pylxcfs.containers.procpid import parse_boottime_offset
from pylxcfs.containers.resolver import Resolver
from pylxcfs.content.service import ContentService
from pylxcfs.content.viewbuilder import ViewBuilder
from pylxcfs.procfiles import stat, uptime
from pylxcfs.procfiles.table import VIRTUAL_FILES
from pylxcfs.view.host import HostReader, HostSnapshot
from pylxcfs.view.resources import CpuView, ResourceView

SECOND = 1_000_000
DAY = 86400
FILES = {file.path: file for file in VIRTUAL_FILES}


@pytest.mark.parametrize(
    "text,usec",
    [
        (b"monotonic           0         0\nboottime            0         0\n", 0),
        (b"monotonic           5         0\nboottime        86400         7000\n", DAY * SECOND + 7),
        (b"monotonic           0         0\nboottime           -2 500000000\n", -1_500_000),
        (b"1 0 0\n7 9 0\n", 9 * SECOND),
    ],
)
def test_offsets(text: bytes, usec: int) -> None:
    """The offset of CLOCK_BOOTTIME, ahead or behind; Linux 5.6 has numbers for names."""
    assert usec == parse_boottime_offset(text)


@pytest.mark.parametrize("text", [b"", b"monotonic 0 0\n", b"boottime x 0\n", b"boottime 1\n"])
def test_no_offsets(text: bytes) -> None:
    """A text without it names the file."""
    with pytest.raises(ParseError, match="timens_offsets"):
        parse_boottime_offset(text)


@pytest.mark.parametrize("offset,btime", [(0, 1000), (DAY, 1000 - DAY), (-300, 1300)])
def test_btime(offset: int, btime: int) -> None:
    """What began earlier by the reader's clock has an earlier btime; nothing else changes."""
    load = LoadView(None, running=1, blocked=0, total=1, last_pid=1)
    view = ResourceView(0, cpu_part=CpuView({0: CpuTimes(0, 0, 0)}), load_part=load)
    text = b"cpu  1\ncpu0 1\nctxt 5\nbtime 1000\nprocesses 3\n"
    here = stat.render(view, HostSnapshot(stat=text))
    there = stat.render(view, HostSnapshot(stat=text, boottime_offset_usec=offset * SECOND))
    assert here.replace(b"btime 1000", b"btime %d" % btime) == there


@pytest.mark.parametrize(
    "age,clock,offset,up",
    [(50, 500, 0, "50.00"), (50, 500, DAY, "50.00"), (50, 500, -470, "30.00"), (50, 500, -501, "0.00")],
)
def test_uptime(age: int, clock: int, offset: int, up: str) -> None:
    """A container is as old by any clock, but no older than the reader's clock."""
    host = HostSnapshot(boottime_usec=clock * SECOND, boottime_offset_usec=offset * SECOND)
    view = ResourceView(age * SECOND, cpu_part=CpuView({0: CpuTimes(0, 0, 0)}))
    assert up == uptime.render(view, host).split()[0].decode()


@pytest.mark.parametrize(
    "offset,shown", [(DAY, b"86500.25 7.00\n"), (-90, b"10.25 7.00\n"), (-101, b"0.00 7.00\n")]
)
def test_uptime_of_the_host(offset: int, shown: bytes) -> None:
    """The host's file by the reader's clock; what is none stays as it is."""
    assert shown == uptime.by_clock(b"100.25 7.00\n", offset * SECOND)
    assert b"?\n" == uptime.by_clock(b"?\n", offset * SECOND)


@pytest.fixture
def ahead() -> Iterator[int]:
    """Return a process whose boot clock is a day ahead."""
    command = [
        "unshare",
        "--time",
        "--boottime",
        str(DAY),
        "--fork",
        "--kill-child",
        "sh",
        "-c",
        "echo $$; read _",
    ]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        yield int(process.stdout.readline())
        process.kill()


@pytest.fixture
def host() -> HostReader:
    """Return the reader of this machine."""
    return HostReader(Path("/proc"), Path("/sys"))


@pytest.fixture
def processes(host: HostReader) -> Processes:
    """Return this machine's processes."""
    return Processes(host.proc_fd)


def test_a_process_ahead(processes: Processes, ahead: int) -> None:
    """What the kernel says of the reader; ours has no offset."""
    assert (DAY * SECOND, 0) == (processes.boottime_offset(ahead), processes.boottime_offset(os.getpid()))


def test_before_the_next_fork(processes: Processes) -> None:
    """Between unshare(2) and fork the new offsets are not the process's own."""
    program = "import ctypes; print(ctypes.CDLL(None).unshare(0x80), flush=True); input()"
    command = [sys.executable, "-ISc", program]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert b"0\n" == process.stdout.readline()
        assert 0 == processes.boottime_offset(process.pid)
        with processes.hold(process.pid) as held:
            assert held.boottime_offset() is None
        process.kill()


def test_kernels_without_time_namespaces(tmp_path: Path, ahead: int) -> None:
    """Where there are none, nobody has an offset."""
    fd = os.open(tmp_path, os.O_RDONLY)
    assert 0 == Processes(fd).boottime_offset(ahead)
    os.close(fd)


def test_variants_are_bounded(
    host: HostReader, processes: Processes, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However many clocks readers have, only so many are remembered, and all are counted as one file."""
    files = CgroupFiles({}, 1)
    reader = V1Reader(files)
    resolver = Resolver(processes, reader, files, ())
    builder = ViewBuilder(reader, LoadTracker(reader, processes), ViewConfig())
    content = ContentService(host, reader, resolver, builder, cache_ttl_seconds=3600)
    monkeypatch.setattr(resolver, "boottime_offset", lambda pid: pid)
    file = FILES["proc/uptime"]
    assert file is content.file_for(file, 0)
    assert content.file_for(file, 5) is content.file_for(file, 5) is not file
    assert FILES["proc/meminfo"] is content.file_for(FILES["proc/meminfo"], 5)
    for offset in range(1, 1000):
        variant = content.file_for(file, offset)
        assert offset == variant.boottime_offset_usec
        content.read(variant, None)
    assert 256 == len(content._other_clocks)
    assert ["proc/uptime"] == list(content.counters)
