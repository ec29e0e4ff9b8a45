"""Containers that are created while the daemon leaves are left with no dead file."""

import signal
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Final

import psutil
import pytest

from tests.support.daemon import Daemon
from tests.support.waiting import wait_for

StartDaemon = Callable[..., Daemon]

_CREATORS: Final = 3
#: Before and after the daemon is told to stop.
_BEFORE: Final = 4
#: A runtime in small: looks the file up, takes its time, binds what it has found, and starts the container.
_CREATE: Final = """
exec 9< "$1/proc" || exit 3
sleep 0.3
mount --bind /proc/self/fd/9/uptime /proc/uptime || exit 4
exec 9<&-
echo created
exec cat
"""


class _Creator(threading.Thread):
    """Creates one container after the other until the files are no longer there to be bound."""

    def __init__(self, served: Path, stack: ExitStack) -> None:
        super().__init__()
        self._served = served
        self._stack = stack
        self.created: list[psutil.Popen] = []

    def run(self) -> None:
        while self._create():
            pass

    def _create(self) -> bool:
        command = (
            "unshare",
            "--pid",
            "--mount",
            "--fork",
            "--kill-child",
            "--mount-proc",
            "sh",
            "-c",
            _CREATE,
        )
        process = self._stack.enter_context(_ending([*command, "sh", str(self._served)]))
        if process.stdout.readline() != "created\n":
            return False
        self.created.append(process)
        return True


@contextmanager
def _ending(command: list[str]) -> Iterator[psutil.Popen]:
    """Run a command that ends with its standard input."""
    with psutil.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    ) as process:
        yield process
        process.stdin.close()
        process.wait()


def _reads(outer: psutil.Popen) -> bool:
    """Tell whether a container's uptime can be read inside."""
    *_, init = outer.children(recursive=True)
    command = ("nsenter", f"--target={init.pid}", "--pid", "--mount", "cat", "/proc/uptime")
    return subprocess.run(command, check=False, capture_output=True).returncode == 0


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_created_while_leaving(
    start_daemon: StartDaemon, number: signal.Signals, capsys: pytest.CaptureFixture[str]
) -> None:
    """Whoever has looked our files up in time has them, then the kernel's; whoever comes later has none."""
    daemon = start_daemon()
    with ExitStack() as stack:
        creators = [_Creator(daemon.mount_point, stack) for _ in range(_CREATORS)]
        for creator in creators:
            creator.start()
        wait_for(
            "some are created",
            lambda: sum(len(creator.created) for creator in creators) >= _BEFORE,
            alive=daemon.running,
        )
        daemon.stop(number)
        for creator in creators:
            creator.join()
        created = [each for creator in creators for each in creator.created]
        dead = [each for each in created if not _reads(each)]
    assert [] == dead, daemon.log
    with capsys.disabled():
        print(f"\n{len(created)} containers, some created while the daemon left: 0 dead")  # noqa: T201 - a figure
