"""The serving thread goes where a busy reader is."""

import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

from tests.support.daemon import Daemon
from tests.support.waiting import wait_for

#: By chance it is there for a moment.
_LOOKS, _LOOK_SECONDS = 50, 0.002
_READER: Final = """
import os, sys
os.sched_setaffinity(0, {int(sys.argv[2])})
while True:
    fd = os.open(sys.argv[1], os.O_RDONLY)
    while os.read(fd, 65536):
        pass
    os.close(fd)
"""


def _stat(task: Path) -> list[str]:
    """Return the fields of a task's stat, from the third on: 14 and 15 are its time, 39 its processor."""
    return (task / "stat").read_text().rpartition(")")[2].split()


def _busiest(pid: int) -> Path:
    """Name the serving thread: of those beside the main one, that which has used most."""
    tasks = [task for task in Path(f"/proc/{pid}/task").iterdir() if task.name != str(pid)]
    return max(tasks, key=lambda task: sum(map(int, _stat(task)[11:13])))


def test_goes_where_the_reader_is(start_daemon: Callable[..., Daemon]) -> None:
    """On whichever processor a reader is, the server comes to it, and may be anywhere afterwards."""
    daemon = start_daemon()
    cpus = sorted(os.sched_getaffinity(0))
    for cpu in cpus * 3:
        with subprocess.Popen(
            [sys.executable, "-ISc", _READER, str(daemon.proc / "uptime"), str(cpu)]
        ) as reader:

            def is_near(cpu: str = str(cpu)) -> bool:
                for _ in range(_LOOKS):
                    time.sleep(_LOOK_SECONDS)
                    if _stat(_busiest(daemon.server_pid))[36] != cpu:
                        return False
                return True

            try:
                wait_for(f"the server is on processor {cpu}", is_near, alive=daemon.running)
            finally:
                reader.kill()
    assert {*cpus} == os.sched_getaffinity(int(_busiest(daemon.server_pid).name))
