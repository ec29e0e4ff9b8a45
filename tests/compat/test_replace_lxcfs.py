"""The way from lxcfs to pylxcfs loses no read: a real lxcfs, containers with its files, readers in them."""

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Final

from tests.support.cgroups import MIB, Cgroup, Limits
from tests.support.container import Container, container
from tests.support.daemon import REPOSITORY, Daemon, lxcfs
from tests.support.operator import CTL
from tests.support.readings import meminfo
from tests.support.waiting import wait_for

FILES: Final = ("meminfo", "stat", "uptime", "cpuinfo", "loadavg", "diskstats", "swaps")
_LEAST: Final = 10_000
#: Reads one file after the other, until its standard input ends; then tells how often, and what went wrong.
_READ: Final = """
import json, os, select, sys
count, failed, names = 0, {}, sys.argv[2:]
while count < int(sys.argv[1]) or not select.select([0], [], [], 0)[0]:
    name = names[count % len(names)]
    count += 1
    try:
        fd = os.open("/proc/" + name, os.O_RDONLY)
        while os.read(fd, 65536):
            pass
        os.close(fd)
    except OSError as error:
        failed[name] = failed.get(name, 0) + 1
print(json.dumps([count, failed]))
"""


def _replace(mount_point: Path) -> subprocess.CompletedProcess[str]:
    runtime = mount_point.with_name(mount_point.name + ".run")
    command = [*CTL, "replace-lxcfs", "--mount-point", str(mount_point), "--runtime-dir", str(runtime)]
    return subprocess.run(command, cwd=REPOSITORY, check=False, capture_output=True, text=True)


def _total(container: Container) -> int:
    return meminfo(container.read("meminfo"))["MemTotal"] // 1024


def test_no_read_fails(
    new_directory: Callable[[str], Path],
    start_daemon: Callable[..., Daemon],
    make_cgroup: Callable[..., Cgroup],
) -> None:
    """With the one command and a start, no read of 10,000 and more fails, and containers see themselves."""
    mount_point = new_directory("mount")
    mount_point.with_name(mount_point.name + ".run").mkdir()
    with (
        lxcfs(mount_point) as before,
        container(mount_point / "proc", make_cgroup(Limits(memory=50 * MIB)), FILES) as one,
        container(mount_point / "proc", make_cgroup(Limits(memory=60 * MIB)), FILES) as other,
    ):
        assert (50, 60) == (_total(one), _total(other))
        readers = [each.start(sys.executable, "-ISc", _READ, str(_LEAST), *FILES) for each in (one, other)]
        done = _replace(mount_point)
        assert done.returncode == 0, done.stdout + done.stderr
        binds = 2 * len(FILES)
        assert f"2 containers, {binds} binds: {binds} detached" in done.stdout
        assert done.stdout.endswith(f"as soon as it serves: pylxcfs {mount_point}\n")
        assert not before.running()
        after = start_daemon(mount_point=mount_point)
        wait_for("they see themselves", lambda: (50, 60) == (_total(one), _total(other)), alive=after.running)
        counts = 0
        for reader in readers:
            count, failed = json.loads(reader.communicate("\n")[0])
            assert {} == failed
            counts += count
        assert counts >= 2 * _LEAST
        print(f"\n0 of {counts} reads failed")  # noqa: T201 - worth a look
        after.stop()


def test_lxcfs_was_just_stopped(
    new_directory: Callable[[str], Path],
    start_daemon: Callable[..., Daemon],
    make_cgroup: Callable[..., Cgroup],
) -> None:
    """Dead files that lxcfs has left are told of by doctor, and attached anew when pylxcfs starts there."""
    mount_point = new_directory("mount")
    with container_of_lxcfs(mount_point, make_cgroup) as one:
        runtime = mount_point.with_name(mount_point.name + ".run")
        runtime.mkdir(exist_ok=True)
        doctor = [*CTL, "doctor", "--json", "--mount-point", str(mount_point), "--runtime-dir", str(runtime)]
        told = subprocess.run(doctor, cwd=REPOSITORY, check=False, capture_output=True, text=True).stdout
        assert "dead binds" in {finding["subject"] for finding in json.loads(told)["findings"]}
        assert _replace(mount_point).returncode == 0
        after = start_daemon(mount_point=mount_point)
        wait_for("it sees itself", lambda: _reads(one) == 50, alive=after.running)
        after.stop()


@contextmanager
def container_of_lxcfs(mount_point: Path, make_cgroup: Callable[..., Cgroup]) -> Iterator[Container]:
    """Run a container with files of a lxcfs that has ended."""
    with ExitStack() as stack:
        with lxcfs(mount_point):
            one = stack.enter_context(
                container(mount_point / "proc", make_cgroup(Limits(memory=50 * MIB)), FILES)
            )
            assert _total(one) == 50
        assert _reads(one) is None
        yield one


def _reads(container: Container) -> int | None:
    command = container.command("cat", "/proc/meminfo")
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    return meminfo(done.stdout)["MemTotal"] // 1024 if done.returncode == 0 else None


def test_not_lxcfs(new_directory: Callable[[str], Path], start_daemon: Callable[..., Daemon]) -> None:
    """Where pylxcfs serves already, nothing is done."""
    daemon = start_daemon(mount_point=new_directory("mount"))
    done = _replace(daemon.mount_point)
    assert (1, f"pylxcfsctl: {daemon.mount_point} is not lxcfs', but of {daemon.file_system}\n") == (
        done.returncode,
        done.stderr,
    )
