"""A full runtime directory costs the memory of what was, and nothing else."""

import os
import signal
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.support.asking import ask
from tests.support.cgroups import MIB, Cgroup, Limits
from tests.support.container import joining
from tests.support.daemon import Daemon
from tests.support.small_runtime import small_runtime
from tests.support.waiting import wait_for

StartDaemon = Callable[..., Daemon]

#: More than have room in the file as it is made first.
_COUNT = 20
#: Answers with what a group shows of itself, again and again.
_READER = """
import sys
for line in sys.stdin:
    print(*(open(f"{sys.argv[1]}/{name}").readline().strip() for name in ("stat", "meminfo")), flush=True)
"""


@pytest.fixture
def small_mount(new_directory: Callable[[str], Path]) -> Iterator[Path]:
    """Return a mount point whose daemon has 64 KiB for its own files."""
    with small_runtime(new_directory("mount"), "size=64k") as mount_point:
        yield mount_point


def _fill(runtime: Path) -> None:
    """Leave no byte."""
    with (runtime / "filler").open("ab", buffering=0) as filler:
        for size in (4096, 1):
            try:
                while True:
                    filler.write(bytes(size))
            except OSError:
                continue


class _Reader:
    """A process in a limited group of its own."""

    def __init__(self, group: Cgroup, daemon: Daemon) -> None:
        command = joining(group.directories, "python3", "-ISc", _READER, str(daemon.proc))
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def read(self) -> tuple[int, str]:
        """Return all CPU time, in ticks, and what it takes for the memory of the machine."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write("\n")
        self.process.stdin.flush()
        words = self.process.stdout.readline().split()
        at = words.index("MemTotal:")
        return sum(map(int, words[1:at])), words[at + 1]

    def end(self) -> None:
        """End it."""
        self.process.communicate()


@pytest.mark.needs("resend")
@pytest.mark.parametrize("full_first", [True, False])
def test_containers_see_themselves(
    small_mount: Path, start_daemon: StartDaemon, make_cgroup: Callable[..., Cgroup], *, full_first: bool
) -> None:
    """Full before anybody reads, or after some have: no server dies, and each group reads its own numbers."""
    daemon = start_daemon(mount_point=small_mount)
    runtime = daemon.pidfile.parent
    server = daemon.server_pid
    groups = [make_cgroup(Limits(memory=(64 + number) * MIB)) for number in range(_COUNT)]
    readers = [_Reader(group, daemon) for group in groups]
    own = [str((64 + number) * 1024) for number in range(_COUNT)]
    try:
        if full_first:
            _fill(runtime)
        else:
            readers[0].read()
            _fill(runtime)
        first = [reader.read() for reader in readers]
        assert own == [memory for _, memory in first]
        again = [reader.read() for reader in readers]
        assert own == [memory for _, memory in again]
        assert all(after[0] >= before[0] for before, after in zip(first, again, strict=True))
        told = ask(daemon, "status").document
        unkept = told["server"]["unkept_ledgers"]
        assert unkept == _COUNT if full_first else 0 < unkept < _COUNT
        assert 0 == told["server"]["failed"]
        assert (server, 0) == (told["server"]["pid"], told["replaced"])
        assert "CPU counters may go back" in daemon.log

        os.kill(server, signal.SIGKILL)
        wait_for("another one serves", lambda: own == [reader.read()[1] for reader in readers])
        assert not (runtime / "pylxcfs/ledgers.new").exists()
        # As soon as there is room, all are kept.
        (runtime / "filler").unlink()

        def all_kept() -> bool:
            assert own == [reader.read()[1] for reader in readers]
            return int(ask(daemon, "status").document["server"]["unkept_ledgers"]) == 0

        wait_for("all are kept", all_kept)
    finally:
        for reader in readers:
            reader.end()
