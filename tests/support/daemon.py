"""A daemon under test: started on a directory, known to serve, stopped with proof that nothing is left."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import psutil

from tests.support.mounts import mounts_under, unmount_under
from tests.support.waiting import wait_for

REPOSITORY: Final = Path(__file__).resolve().parents[2]


def pylxcfs_command(*arguments: str | Path) -> list[str]:
    """Spell a pylxcfs command line, to be run in `REPOSITORY`."""
    return [sys.executable, "-m", "pylxcfs.cli", *map(str, arguments)]


def file_system_name(mount_point: Path) -> str:
    """Name the file system that a test mounts on `mount_point`."""
    return f"{mount_point.parent.name}-{mount_point.name}"


@dataclass(frozen=True, slots=True)
class Run:
    """How a command that was expected to end by itself ended."""

    code: int
    stderr: str

    @property
    def lines(self) -> list[str]:
        """What it printed to stderr."""
        return self.stderr.splitlines()


def run_to_end(command: Sequence[str]) -> Run:
    """Run a command that is expected to end by itself."""
    done = subprocess.run(command, cwd=REPOSITORY, check=False, capture_output=True, text=True)
    return Run(done.returncode, done.stderr)


class Daemon:
    """A daemon process and its mount."""

    def __init__(self, process: subprocess.Popen[bytes], mount_point: Path, pidfile: Path, log: Path) -> None:
        """Describe a daemon that was just started."""
        self.process = process
        self.mount_point = mount_point
        self.pidfile = pidfile
        self._log = log

    @property
    def proc(self) -> Path:
        """Where its proc files are."""
        return self.mount_point / "proc"

    @property
    def file_system(self) -> str:
        """What its file system is called."""
        return file_system_name(self.mount_point)

    @property
    def log(self) -> str:
        """What it has printed to stderr so far."""
        return self._log.read_text()

    @property
    def state(self) -> dict[str, Any]:
        """What the supervisor tells of itself."""
        state: dict[str, Any] = json.loads((self.pidfile.parent / "pylxcfs/supervisor.json").read_bytes())
        return state

    @property
    def server_pid(self) -> int:
        """The process that serves now."""
        return int(self.state["server_pid"])

    def running(self) -> bool:
        """Tell whether the process still runs."""
        return self.process.poll() is None

    def serving(self) -> bool:
        """Tell whether a file can be read through the mount."""
        try:
            return bool((self.proc / "uptime").read_bytes())
        except OSError:
            return False

    def wait_until_serving(self) -> None:
        """Return once it serves; fail with its stderr if it ends instead."""
        try:
            wait_for("daemon serves", self.serving, alive=self.running)
        except AssertionError as error:
            error.add_note(self.log)
            raise

    def stop(self, with_signal: signal.Signals = signal.SIGTERM) -> None:
        """Stop it and check that it ended well: exit 0, nothing mounted, no pidfile."""
        self.process.send_signal(with_signal)
        self.check_ended_well()

    def check_ended_well(self) -> None:
        """Wait for the end and check it: exit 0, nothing mounted, no pidfile."""
        assert self.process.wait() == 0, self.log
        assert mounts_under(self.mount_point) == []
        assert not self.pidfile.exists()

    def kill(self) -> None:
        """End it, and all that it started, the hard way: its mount becomes stale."""
        own = psutil.Process(self.process.pid)
        children = own.children(recursive=True)
        for process in (own, *children):
            # A server in reserve ends by itself when the others have.
            with suppress(psutil.NoSuchProcess):
                process.kill()
        self.process.wait()
        # Until then a reader may still have its request taken.
        psutil.wait_procs(children)


def _clean_up(daemon: Daemon) -> None:
    if daemon.running():
        daemon.kill()
    unmount_under(daemon.mount_point)
    daemon.pidfile.unlink(missing_ok=True)


@contextmanager
def _started(command: list[str], mount_point: Path, pidfile: Path) -> Iterator[Daemon]:
    log = pidfile.with_suffix(".log")
    with log.open("wb") as stderr:
        process = subprocess.Popen(
            command, cwd=REPOSITORY, stdin=subprocess.DEVNULL, stdout=stderr, stderr=stderr
        )
    daemon = Daemon(process, mount_point, pidfile, log)
    try:
        daemon.wait_until_serving()
        yield daemon
    finally:
        _clean_up(daemon)


@contextmanager
def pylxcfs(mount_point: Path, *options: str, within: Iterable[str] = ()) -> Iterator[Daemon]:
    """Run pylxcfs on `mount_point`, its own files beside it; `within` stands before the command."""
    runtime = mount_point.with_name(mount_point.name + ".run")
    runtime.mkdir(exist_ok=True)
    pidfile = runtime / "pylxcfs.pid"
    # A name of its own: dead binds of other daemons on this machine are not ours.
    source = f"fsname={file_system_name(mount_point)}"
    command = pylxcfs_command("-p", pidfile, "--runtime-dir", runtime, "-o", source, *options, mount_point)
    with _started([*within, *command], mount_point, pidfile) as daemon:
        yield daemon
        if daemon.running():
            daemon.stop()


@contextmanager
def lxcfs(mount_point: Path, *options: str) -> Iterator[Daemon]:
    """Run Debian's lxcfs on `mount_point`."""
    pidfile = mount_point.with_name(mount_point.name + ".lxcfs.pid")
    command = ["lxcfs", "-p", os.fspath(pidfile), *options, os.fspath(mount_point)]
    with _started(command, mount_point, pidfile) as daemon:
        yield daemon
        daemon.process.terminate()
        daemon.process.wait()
