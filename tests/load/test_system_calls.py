"""What a read costs the server in system calls, which do not depend on how busy the machine is.

Bounds are a quarter above what was counted when they were set: only a gross regression is to fail. What
depends on the machine's mood is left out: looking for the next request in vain, waiting, saying alive.
A read is four requests, and each takes six: the gate's read and write, libfuse's, and two of dup2(2).
"""

import re
import signal
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Final

import pytest

from tests.support.cgroups import MIB, Cgroup, Limits
from tests.support.container import container
from tests.support.daemon import Daemon

pytestmark = pytest.mark.needs("strace")

_READS: Final = 400
_MOODY: Final = frozenset(
    {"sched_yield", "poll", "ppoll", "epoll_wait", "futex", "restart_syscall", "clock_gettime", "sendto"}
)
#: Open, read, read to the end, close, as often as told.
_READER: Final = """
import os, sys
for _ in range(int(sys.argv[2])):
    fd = os.open(sys.argv[1], os.O_RDONLY)
    while os.read(fd, 65536):
        pass
    os.close(fd)
"""
_LINE: Final = re.compile(
    r"^\s*[\d.]+\s+[\d.]+\s+\d+\s+(?P<calls>\d+)\s+(?P<errors>\d+)?\s*(?P<name>\w+)$", re.MULTILINE
)


def _count(server_pid: int, summary: Path, work: Callable[[], object]) -> float:
    """Return how many system calls the server makes meanwhile, those that fail not counted."""
    command = ["strace", "-f", "-c", "-o", str(summary), "-p", str(server_pid)]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as tracer:
        try:
            assert tracer.stderr is not None
            assert "attached" in tracer.stderr.readline()
            work()
        finally:
            tracer.send_signal(signal.SIGINT)
    found = _LINE.finditer(summary.read_text())
    counts = {m["name"]: int(m["calls"]) - int(m["errors"] or 0) for m in found}
    assert counts["read"] > 0
    return sum(count for name, count in counts.items() if name not in _MOODY and name != "total")


@pytest.mark.parametrize(
    "file,cache_ttl,most",
    [
        ("meminfo", "60", 35),
        ("stat", "60", 35),
        ("meminfo", "0", 41),
        ("stat", "0", 42),
        ("cpuinfo", "0", 42),
        ("uptime", "0", 40),
        ("diskstats", "0", 44),
    ],
)
def test_calls_per_read(  # noqa: PLR0913, PLR0917 - fixtures
    start_daemon: Callable[..., Daemon],
    make_cgroup: Callable[..., Cgroup],
    new_directory: Callable[[str], Path],
    file: str,
    cache_ttl: str,
    most: float,
) -> None:
    """A read, from open to close, costs no more system calls than when this was written, and a quarter."""
    daemon = start_daemon("--cache-ttl", cache_ttl)
    with container(daemon.proc, make_cgroup(Limits(memory=100 * MIB, cpus="0"))) as running:

        def read(times: int) -> str:
            return running.run(sys.executable, "-ISc", _READER, f"/proc/{file}", str(times))

        read(20)
        calls = _count(daemon.server_pid, new_directory("strace") / "summary", lambda: read(_READS))
    assert calls / _READS <= most


def test_calls_below_limits(
    start_daemon: Callable[..., Daemon],
    make_cgroup: Callable[..., Cgroup],
    new_directory: Callable[[str], Path],
) -> None:
    """Each cgroup above the container costs one more, and with a limit at most three more than that."""
    daemon = start_daemon("--cache-ttl", "0")
    counts = []
    for limits in (Limits(), Limits(memory=200 * MIB)):
        parent = make_cgroup(limits)
        group = make_cgroup(Limits(memory=100 * MIB), parent=parent)
        with container(daemon.proc, group) as running:
            read = partial(running.run, sys.executable, "-ISc", _READER, "/proc/meminfo")
            read("20")
            summary = new_directory("strace") / "summary"
            counts.append(_count(daemon.server_pid, summary, partial(read, str(_READS))) / _READS)
    without, limited = counts
    print(f"\n{without:.2f} calls below a group without a limit, {limited:.2f} below one with")  # noqa: T201 - told
    assert without + 1.5 <= limited <= without + 3.5
