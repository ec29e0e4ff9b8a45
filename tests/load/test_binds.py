"""Binds in running containers follow the mount, without an operator."""

import os
import re
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Final

import pytest

from tests.support.cgroups import MIB, Cgroup, Limits
from tests.support.container import FILES, Container, container
from tests.support.daemon import Daemon
from tests.support.operator import own_mounts
from tests.support.readings import meminfo
from tests.support.waiting import wait_for

StartDaemon = Callable[..., Daemon]
MakeBound = Callable[..., Container]
_CONTAINERS: Final = 20
_PLACES: Final = frozenset(f"/proc/{file}" for file in FILES)


@pytest.fixture
def mount_point(new_directory: Callable[[str], Path]) -> Path:
    """Name a mount point on which daemons come and go."""
    return new_directory("mount")


@pytest.fixture
def make_bound(mount_point: Path, make_cgroup: Callable[..., Cgroup]) -> Iterator[MakeBound]:
    """Run containers of a certain size that have the files of whoever serves now."""
    with ExitStack() as stack:
        yield lambda mib: stack.enter_context(
            container(mount_point / "proc", make_cgroup(Limits(memory=mib * MIB)))
        )


def _total_mib(container: Container) -> int | None:
    """Return the memory that a container believes to have; None if its file is dead."""
    command = container.command("cat", "/proc/meminfo")
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    return meminfo(done.stdout)["MemTotal"] // 1024 if done.returncode == 0 else None


def _host_mib() -> int:
    return meminfo(Path("/proc/meminfo").read_text())["MemTotal"] // 1024


def test_both_killed(
    mount_point: Path, start_daemon: StartDaemon, make_bound: MakeBound, capsys: pytest.CaptureFixture[str]
) -> None:
    """Supervisor and server killed: the next start alone brings all files back in twenty containers."""
    daemon = start_daemon(mount_point=mount_point)
    sizes = [40 + number for number in range(_CONTAINERS)]
    containers = [make_bound(size) for size in sizes]
    daemon.kill()
    assert [None] * _CONTAINERS == [_total_mib(each) for each in containers]
    began = time.monotonic()
    after = start_daemon(mount_point=mount_point)
    wait_for(
        "all read their own files again",
        lambda: sizes == [_total_mib(each) for each in containers],
        alive=after.running,
    )
    seconds = time.monotonic() - began
    for each in containers:
        for file in FILES:
            each.read(file)
    assert re.search(rf"{_CONTAINERS} containers, .* {_CONTAINERS * len(FILES)} attached, in ", after.log)
    with capsys.disabled():
        # How long a node is blind is what an operator wants to know.
        print(f"\n{_CONTAINERS} containers read again {seconds:.2f} s after the start")  # noqa: T201


def test_stop_and_start(mount_point: Path, start_daemon: StartDaemon, make_bound: MakeBound) -> None:
    """A stop gives containers the kernel's files back, the next start gives them theirs again."""
    daemon = start_daemon(mount_point=mount_point)
    one = make_bound(50)
    assert _total_mib(one) == 50
    daemon.stop()
    assert _total_mib(one) == _host_mib()
    assert set() == _PLACES & set(own_mounts(one.init_pid, daemon.file_system))
    after = start_daemon(mount_point=mount_point)
    wait_for("it has its files again", lambda: _total_mib(one) == 50, alive=after.running)


def test_connection_aborted(
    mount_point: Path,
    start_daemon: StartDaemon,
    make_bound: MakeBound,
    new_directory: Callable[[str], Path],
) -> None:
    """A connection that somebody aborts through sysfs is mounted anew, and containers have files again."""
    daemon = start_daemon(mount_point=mount_point)
    one = make_bound(50)
    control = new_directory("fusectl")
    subprocess.run(["mount", "-t", "fusectl", "fusectl", control], check=True)
    try:
        (control / str(os.minor(mount_point.stat().st_dev)) / "abort").write_text("1")
    finally:
        subprocess.run(["umount", control], check=True)
    wait_for("it has its files again", lambda: _total_mib(one) == 50, alive=daemon.running)
    assert "the connection was aborted; mounting anew" in daemon.log


def test_left_alone(mount_point: Path, start_daemon: StartDaemon, make_bound: MakeBound) -> None:
    """With --disable-reattach neither start nor stop touches a container."""
    daemon = start_daemon("--disable-reattach", mount_point=mount_point)
    one = make_bound(50)
    daemon.stop()
    assert _total_mib(one) is None
    assert _PLACES <= set(own_mounts(one.init_pid, daemon.file_system))


def test_second_signal(mount_point: Path, start_daemon: StartDaemon, make_bound: MakeBound) -> None:
    """A second signal to stop does not wait for binds that cannot be taken away."""
    daemon = start_daemon(mount_point=mount_point)
    one = make_bound(50)
    # Whoever holds the lock keeps the first one waiting.
    lock = daemon.pidfile.parent / "pylxcfs"
    wait_for("binds have been looked at", lock.exists, alive=daemon.running)
    holder = ["flock", str(lock), "sh", "-c", "echo locked; read line"]
    with subprocess.Popen(holder, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdin is not None
        assert process.stdout.readline() == "locked\n"
        daemon.process.send_signal(signal.SIGTERM)
        wait_for("it begins to stop", lambda: "SIGTERM: stopping" in daemon.log, alive=daemon.running)
        assert _total_mib(one) == 50
        daemon.stop(signal.SIGINT)
        process.stdin.close()
