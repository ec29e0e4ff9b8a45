"""Files that readers have read a part of: what is kept of them has a budget, whoever reads."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

import pytest

from pylxcfs.rundir.kept_reads import BUDGET_BYTES
from tests.support.cgroups import Limits
from tests.support.container import Container
from tests.support.daemon import Daemon
from tests.support.small_runtime import small_runtime
from tests.support.waiting import wait_for

_COUNT: Final = 3000
_NOBODY: Final = "65534"
#: Reads the first byte of as many files, and the rest of the last when it is told.
_HALF: Final = """
import os, resource, sys
path, count = sys.argv[1], int(sys.argv[2])
resource.setrlimit(resource.RLIMIT_NOFILE, (count + 64, count + 64))
if len(sys.argv) > 3:
    os.setgroups([])
    os.setresuid(*[int(sys.argv[3])] * 3)
fds = [os.open(path, os.O_RDONLY) for _ in range(count)]
first = [os.read(fd, 1) for fd in fds][-1]
print("begun", flush=True)
sys.stdin.readline()
while part := os.read(fds[-1], 100):
    first += part
print(first.decode().count("kB"), flush=True)
"""


@pytest.fixture
def small_mount(new_directory: Callable[[str], Path]) -> Iterator[Path]:
    """Return a mount point whose daemon has 4 MiB for its own files."""
    with small_runtime(new_directory("mount"), "size=4m,mode=755") as mount_point:
        yield mount_point


def test_three_thousand(
    small_mount: Path, start_daemon: Callable[..., Daemon], make_container: Callable[..., Container]
) -> None:
    """A user with 3,000 of them fills nothing; another's reader goes on with a later server where it was."""
    daemon = start_daemon(mount_point=small_mount)
    meminfo = str(daemon.proc / "meminfo")
    runtime = daemon.pidfile.parent / "pylxcfs"
    container = make_container(Limits(), served=daemon.proc)
    victim = container.start(sys.executable, "-ISc", _HALF, "/proc/meminfo", "1")
    nobody = subprocess.Popen(
        [sys.executable, "-ISc", _HALF, meminfo, str(_COUNT), _NOBODY],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    expected = len([line for line in Path(meminfo).read_text().split("\n") if line.endswith("kB")])
    readers = (victim, nobody)
    for reader in readers:
        assert reader.stdout is not None
        assert reader.stdout.readline() == "begun\n"
    taken = sum(each.stat().st_blocks * 512 for each in runtime.rglob("*") if each.is_file())
    assert (runtime / "passes").stat()
    assert sum(each.stat().st_blocks * 512 for each in (runtime / "passes").iterdir()) <= BUDGET_BYTES
    assert taken < BUDGET_BYTES + (1 << 20)
    assert [] == list(runtime.rglob("*.new"))
    server = daemon.server_pid
    os.kill(server, signal.SIGKILL)
    wait_for("another one serves", lambda: daemon.server_pid != server, alive=daemon.running)
    for reader in readers:
        assert reader.stdin is not None
        assert reader.stdout is not None
        out, _ = reader.communicate("\n")
        assert int(out) == expected
    assert "No space left" not in daemon.log
    wait_for("all are closed", lambda: not list((runtime / "passes").iterdir()), alive=daemon.running)
