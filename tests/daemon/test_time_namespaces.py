"""Containers in a time namespace: what began when, and how long it has been up."""

import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.cgroups import Cgroup, Limits
from tests.support.container import Container, container, joining
from tests.support.daemon import Daemon
from tests.support.readings import uptime

DAY = 86400


def run(inside: Container, *argv: str, mounts: bool = True) -> str:
    """Run a command in the container's time namespace, with its mounts or the host's."""
    enter = ["nsenter", f"--target={inside.init_pid}", "--pid", "--time", *(["--mount"] if mounts else [])]
    command = joining(inside.group.directories, *enter, *argv)
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout


def btime(stat: str) -> int:
    """Return when the machine began, by a stat."""
    return next(int(line.split()[1]) for line in stat.splitlines() if line.startswith("btime "))


def _host_boottime() -> int:
    return int(time.clock_gettime(time.CLOCK_BOOTTIME))


@pytest.mark.parametrize("offset", [DAY, -600, 0])
def test_start_times(daemon: Daemon, make_cgroup: Callable[..., Cgroup], offset: int) -> None:
    """The kernel subtracts the reader's offset from btime, and so do we: what starts now has started now."""
    offset = max(offset, 5 - _host_boottime())
    within = ("unshare", "--time", "--boottime", str(offset))
    with container(daemon.proc, make_cgroup(Limits()), within=within) as inside:
        kernel = btime(run(inside, "cat", "/proc/stat", mounts=False))
        host = btime(Path("/proc/stat").read_text())
        assert host - offset == kernel == btime(run(inside, "cat", "/proc/stat"))
        # Who is not in it, in the same container, has another clock.
        assert host == btime(inside.read("stat"))
        before = time.time()
        started = run(inside, "ps", "-o", "lstart=", "-p", "1")
        at = time.mktime(time.strptime(started.strip()))
        assert before - 60 <= at <= time.time() + 2


@pytest.mark.parametrize("offset", [DAY, -600])
def test_uptime(daemon: Daemon, make_cgroup: Callable[..., Cgroup], offset: int) -> None:
    """The container is as old as it is, and no older than its clock."""
    clock = max(offset, 5 - _host_boottime()) + _host_boottime()
    within = ("unshare", "--time", "--boottime", str(clock - _host_boottime()))
    began = time.monotonic()
    with container(daemon.proc, make_cgroup(Limits()), within=within) as inside:
        assert 0 <= uptime(run(inside, "cat", "/proc/uptime")) <= time.monotonic() - began + 0.1


def test_host_process(daemon: Daemon) -> None:
    """A host process in a time namespace gets the host's files by its clock, as from the kernel."""
    enter = ["unshare", "--time", "--boottime", str(DAY), "--fork"]
    command = [
        *enter,
        "cat",
        *(str(tree / name) for name in ("stat", "uptime") for tree in (Path("/proc"), daemon.proc)),
    ]
    printed = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
    times = [line for line in printed.splitlines() if line.startswith("btime")]
    assert 2 == len(times)
    assert 1 == len(set(times))
    ups = [float(line.split()[0]) for line in printed.splitlines()[-2:]]
    assert ups[0] <= ups[1] + 1 <= ups[0] + 5
    assert ups[1] >= DAY
