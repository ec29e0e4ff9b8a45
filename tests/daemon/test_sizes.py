"""What stat(2) says is what is read. Whoever copies by size gets all of it: tests/compat/test_readers.py."""

import subprocess
import sys
from collections.abc import Callable
from typing import Final

import pytest

from tests.support.cgroups import MIB, Limits
from tests.support.container import Container
from tests.support.daemon import Daemon

FILES: Final = ("meminfo", "cpuinfo", "stat", "uptime", "loadavg", "swaps", "diskstats", "pressure/cpu")
NOBODY: Final = 65534
#: Prints for each file what fstat(2) and lseek(2) tell, and how much was read.
_STEPS: Final = """
import os, sys
for path in filter(os.path.exists, sys.argv[1:]):
    fd = os.open(path, os.O_RDONLY)
    before, end = os.fstat(fd), os.lseek(fd, 0, os.SEEK_END)
    length = len(os.pread(fd, 1 << 20, 0))
    print(before.st_size, before.st_blocks, end, length)
"""


@pytest.mark.parametrize("ttl", ["0", "0.05"])
def test_fstat_tells_what_is_read(
    start_daemon: Callable[..., Daemon], make_container: Callable[..., Container], ttl: str
) -> None:
    """After an open, and so does lseek(2); with blocks to match."""
    daemon = start_daemon("--cache-ttl", ttl)
    container = make_container(Limits(memory=100 * MIB), served=daemon.proc)
    paths = [str(container.served / name) for name in FILES]
    for line in container.run(sys.executable, "-ISc", _STEPS, *paths).splitlines():
        before, blocks, end, length = map(int, line.split())
        # The kernel must not believe in an empty file (docs/adr/0033-sizes.md).
        assert (length, -(-length // 512), length or 1) == (before, blocks, end)
        assert length != 4096


@pytest.mark.needs("two-cpus")
def test_each_container_is_told_its_own(
    start_daemon: Callable[..., Daemon], make_container: Callable[..., Container]
) -> None:
    """Though the kernel has one inode for all of them."""
    daemon = start_daemon()
    one, two = (make_container(Limits(cpus=cpus), served=daemon.proc) for cpus in ("0", "0-1"))
    for container in (one, two, one):
        told = int(container.run("stat", "-c", "%s", "/proc/cpuinfo"))
        assert len(container.read("cpuinfo")) == told
    assert len(one.read("cpuinfo")) < len(two.read("cpuinfo"))


def test_an_open_file_is_rendered_when_it_is_read(
    start_daemon: Callable[..., Daemon], make_container: Callable[..., Container]
) -> None:
    """Not when it was opened; a length that was told meanwhile holds."""
    daemon = start_daemon()
    container = make_container(Limits(), served=daemon.proc)
    script = """
import os, sys, time
def uptime(told):
    fd = os.open("/proc/uptime", os.O_RDONLY)
    size = os.fstat(fd).st_size if told else None
    time.sleep(1.5)
    text = os.read(fd, 4096)
    assert size in (None, len(text)), (size, text)
    return float(text.split()[0])
fresh = float(open("/proc/uptime").read().split()[0])
print(uptime(False) - fresh)
uptime(True)
"""
    assert 1.2 < float(container.run(sys.executable, "-ISc", script))


def test_slabinfo_is_roots(daemon: Daemon) -> None:
    """Only root opens it; access(2) asks with the real ids, faccessat2(2) with the effective ones."""
    script = """
import os, sys
path = sys.argv[1]
def may():
    try:
        os.close(os.open(path, os.O_RDONLY))
        opened = True
    except PermissionError:
        opened = False
    return [opened, os.access(path, os.R_OK), os.access(path, os.R_OK, effective_ids=True)]
print(may())
os.seteuid(int(sys.argv[2]))
print(may())
os.seteuid(0)
os.setresuid(int(sys.argv[2]), 0, 0)
print(may())
"""
    expected = subprocess.run(
        [sys.executable, "-ISc", script, "/proc/slabinfo", str(NOBODY)],
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    seen = subprocess.run(
        [sys.executable, "-ISc", script, str(daemon.proc / "slabinfo"), str(NOBODY)],
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    assert expected == seen


def test_an_empty_file_of_another_container(daemon: Daemon, make_container: Callable[..., Container]) -> None:
    """The kernel does not take its length for the file's: it would end sendfile(2) there, for everybody."""
    container = make_container(Limits(), served=daemon.proc)
    diskstats = daemon.proc / "diskstats"
    expected = diskstats.read_text().split()[:3]
    for look in (["stat", "-c", "%s"], ["tail", "-n", "1"]):
        assert container.run(*look, "/proc/diskstats") in {"0\n", ""}
        seen = subprocess.run(
            ["busybox", "cat", diskstats], capture_output=True, check=True, text=True
        ).stdout
        assert expected == seen.split()[:3]
