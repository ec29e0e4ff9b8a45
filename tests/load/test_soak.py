"""After many reads and many containers both processes are as large as before, and so is what they keep."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Final, NamedTuple

import psutil
import pytest

from tests.support import reads
from tests.support.birthplace import births_command
from tests.support.cgroups import MIB, Cgroup, Limits
from tests.support.container import Container
from tests.support.daemon import Daemon
from tests.support.lengths import at_length
from tests.support.processes import lasting_descriptors
from tests.support.waiting import wait_for

READERS: Final = 4
READS: Final = at_length(1_000_000, 200_000)
BIRTHS: Final = at_length(2_000, 400)
#: Of all, before anything is measured: caches and allocators have to be in their usual state.
_WARM_UP: Final = 0.5
#: What Python's allocator may need for its own bookkeeping; a leak of 20 bytes per read were as much again.
_SLACK_BYTES: Final = 4 * MIB
#: Measurements half a second apart; dead containers are looked for every five seconds.
_SETTLED: Final = 14
_FILES: Final = ("meminfo", "stat", "uptime", "loadavg", "cpuinfo")


class _Size(NamedTuple):
    """What one process takes."""

    resident: int
    descriptors: int

    @classmethod
    def of(cls, pid: int) -> "_Size":
        """Measure."""
        return cls(psutil.Process(pid).memory_info().rss, lasting_descriptors(pid))


class _Measured(NamedTuple):
    """Both processes, and what they keep in the runtime directory."""

    supervisor: _Size
    server: _Size
    kept_bytes: int
    passes: int


class _Soak:
    """A daemon, containers that read, containers that die."""

    def __init__(self, daemon: Daemon, around: Cgroup, containers: list[Container]) -> None:
        self.daemon = daemon
        self._around = around
        self._containers = containers
        self._state = daemon.pidfile.parent / "pylxcfs"
        self.server_pid: int = json.loads((self._state / "supervisor.json").read_bytes())["server_pid"]

    def run(self, read_count: int, birth_count: int) -> None:
        """Read and give birth so often, side by side."""
        paths = [os.fspath(self.daemon.proc / name) for name in _FILES]
        share = str(read_count // len(self._containers))
        with ExitStack() as stack:
            readers = [
                stack.enter_context(container.start(sys.executable, "-ISu", reads.__file__, share, *paths))
                for container in self._containers
            ]
            command = births_command(self.daemon.proc, birth_count, "any-pid", self._around)
            born = subprocess.run(command, check=True, stdout=subprocess.PIPE)
            told = [reader.communicate()[0].split() for reader in readers]
        assert sum(int(count) for count, _ in told) >= read_count
        assert {"0"} == {wrong for _, wrong in told}
        report = json.loads(born.stdout)
        assert report["births"] >= birth_count
        assert report["wrong"] == []

    def measure(self) -> _Measured:
        """Measure, once what is about the dead has been let go of: that is done every few seconds."""
        sizes: list[_Measured] = []

        def is_settled() -> bool:
            sizes.append(self._measure())
            seconds_ago = sizes[-_SETTLED:]
            time.sleep(0.5)
            return (
                len(seconds_ago) == _SETTLED and len({size.server.descriptors for size in seconds_ago}) == 1
            )

        wait_for("it has settled", is_settled, alive=self.daemon.running)
        return sizes[-1]

    def _measure(self) -> _Measured:
        kept = sum(path.lstat().st_size for path in self._state.iterdir() if path.is_file())
        passes = self._state / "passes"
        return _Measured(
            _Size.of(self.daemon.process.pid),
            _Size.of(self.server_pid),
            kept,
            len([*passes.iterdir()]) if passes.exists() else 0,
        )


def test_nothing_grows(
    make_cgroup: Callable[..., Cgroup],
    start_daemon: Callable[..., Daemon],
    make_container: Callable[..., Container],
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Memory, descriptors and files of both processes do not grow with reads and dead containers."""
    daemon = start_daemon()
    containers = [make_container(Limits(memory=(50 + n) * MIB), served=daemon.proc) for n in range(READERS)]
    soak = _Soak(daemon, make_cgroup(Limits()), containers)
    soak.run(int(READS * _WARM_UP), int(BIRTHS * _WARM_UP))
    before = soak.measure()
    started = time.monotonic()
    soak.run(READS, BIRTHS)
    seconds = time.monotonic() - started
    after = soak.measure()
    with capsys.disabled():
        print(  # noqa: T201 - the figures are what an operator wants to know
            f"\n{READS} reads and {BIRTHS} containers in {seconds:.0f} s: "
            + ", ".join(
                f"{name} {was.resident >> 10} -> {is_.resident >> 10} KiB, "
                f"{was.descriptors} -> {is_.descriptors} descriptors"
                for name, was, is_ in (
                    ("supervisor", before.supervisor, after.supervisor),
                    ("server", before.server, after.server),
                )
            )
            + f"; state files {before.kept_bytes >> 10} -> {after.kept_bytes >> 10} KiB"
        )
    assert after.supervisor.descriptors == before.supervisor.descriptors
    assert after.server.descriptors == before.server.descriptors
    assert after.supervisor.resident <= before.supervisor.resident + _SLACK_BYTES
    assert after.server.resident <= before.server.resident + _SLACK_BYTES
    # Room is made by doubling it, for those who died within the last five seconds too.
    assert after.kept_bytes <= 2 * before.kept_bytes + 4096
    assert (before.passes, after.passes) == (0, 0)
    assert (
        json.loads(Path(soak.daemon.pidfile.parent, "pylxcfs/supervisor.json").read_bytes())["replaced"] == 0
    )
    daemon.stop()
