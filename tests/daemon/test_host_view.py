"""SIGUSR2: everybody sees the host, and back."""

import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Final

from tests.support.cgroups import MIB, Limits
from tests.support.container import FILES, Container
from tests.support.daemon import Daemon
from tests.support.readings import cpuinfo_cpus, meminfo
from tests.support.waiting import wait_for

_CPU: Final = "sys/devices/system/cpu"
#: Keeps meminfo open, and reads it from its start for each line of input.
_HOLD: Final = """
import sys
with open("/proc/meminfo") as file:
    for line in sys.stdin:
        file.seek(0)
        print(file.read().splitlines()[0], flush=True)
"""


def _toggle(daemon: Daemon) -> None:
    told = daemon.log.count("SIGUSR2: ")
    daemon.process.send_signal(signal.SIGUSR2)
    wait_for("toggle is logged", lambda: daemon.log.count("SIGUSR2: ") > told, alive=daemon.running)


def test_toggle(start_daemon: Callable[..., Daemon], make_container: Callable[..., Container]) -> None:
    """After SIGUSR2 a container reads the host's files and CPU tree, after the next one its own again.

    Nothing that was cached before is served after, and what is open follows.
    """
    daemon = start_daemon("--cache-ttl", "3600")
    container = make_container(Limits(memory=100 * MIB, cpus="0"), served=daemon.proc)
    container.run("mount", "--bind", str(daemon.mount_point / _CPU), f"/{_CPU}")

    def look() -> tuple[int, list[int], str, bool]:
        return (
            meminfo(container.read("meminfo"))["MemTotal"],
            cpuinfo_cpus(container.read("cpuinfo")),
            container.run("cat", f"/{_CPU}/online"),
            "cpu1" in container.run("ls", f"/{_CPU}").split(),
        )

    host = (
        meminfo(Path("/proc/meminfo").read_text())["MemTotal"],
        cpuinfo_cpus(Path("/proc/cpuinfo").read_text()),
        Path(f"/{_CPU}/online").read_text(),
        Path(f"/{_CPU}/cpu1").exists(),
    )
    own = (100 * 1024, [0], "0\n", False)
    with container.start(sys.executable, "-I", "-S", "-u", "-c", _HOLD) as held:
        assert held.stdin is not None
        assert held.stdout is not None
        stdin, stdout = held.stdin, held.stdout

        def held_total() -> int:
            print(file=stdin, flush=True)
            return int(stdout.readline().split()[1])

        for _ in range(2):
            assert (own[0], own) == (held_total(), look())
            _toggle(daemon)
            assert (host[0], host) == (held_total(), look())
            assert all(container.read(file) for file in FILES)
            _toggle(daemon)
        assert (own[0], own) == (held_total(), look())
    assert "pylxcfs: SIGUSR2: everybody sees the host" in daemon.log
    daemon.stop()
