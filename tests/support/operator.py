"""An operator with pylxcfsctl, and a daemon that is killed and started again."""

import json
import re
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tests.support.daemon import REPOSITORY, Daemon, file_system_name
from tests.support.mounts import mounts

CTL: Final = (sys.executable, "-m", "pylxcfs.ctl.cli")


@dataclass(frozen=True, slots=True)
class Row:
    """One bind, as pylxcfsctl tells of it."""

    pid: int
    file: str
    state: str
    action: str
    reason: str


@dataclass(frozen=True, slots=True)
class Report:
    """What a command printed, and its exit status."""

    status: int
    rows: tuple[Row, ...]
    stdout: str
    stderr: str

    def of(self, file: str) -> tuple[str, str]:
        """Return state and action of the only bind of this file."""
        (row,) = (row for row in self.rows if row.file == file)
        return row.state, row.action

    def actions(self, pids: set[int]) -> set[tuple[str, str]]:
        """Return the states and actions that the binds of these containers had."""
        return {(row.state, row.action) for row in self.rows if row.pid in pids}


class Site:
    """One mount point, the daemons that come and go on it, and pylxcfsctl told about them.

    These daemons leave binds alone: the operator does not.
    """

    def __init__(self, mount_point: Path, start: Callable[..., Daemon]) -> None:
        """Start the first daemon."""
        self.mount_point = mount_point
        self.fsname = file_system_name(mount_point)
        self._start = start
        self.daemon = self.start()

    def start(self) -> Daemon:
        """Start a daemon on the mount point."""
        self.daemon = self._start("--disable-reattach", mount_point=self.mount_point)
        return self.daemon

    def replace(self) -> None:
        """Kill the daemon, and start another."""
        self.daemon.kill()
        self.start()

    def ctl(self, command: str, *options: str) -> Report:
        """Run a command of pylxcfsctl, its answer as JSON."""
        done = self.ctl_text(command, "--json", *options)
        rows = json.loads(done.stdout) if done.stdout else []
        fields = ("pid", "file", "state", "action", "reason")
        return Report(
            done.returncode,
            tuple(Row(*(row[field] for field in fields)) for row in rows),
            done.stdout,
            done.stderr,
        )

    def ctl_text(self, command: str, *options: str) -> subprocess.CompletedProcess[str]:
        """Run a command of pylxcfsctl as an operator does."""
        runtime = self.mount_point.with_name(self.mount_point.name + ".run")
        where = (
            *("--mount-point", str(self.mount_point), "--runtime-dir", str(runtime)),
            *("--fsname", self.fsname),
        )
        return subprocess.run(
            [*CTL, command, *where, *options], cwd=REPOSITORY, check=False, capture_output=True, text=True
        )


def own_mounts(pid: int, fsname: str) -> list[str]:
    """Return where in a process's mount namespace mounts of a file system of this name are."""
    return [mount.point for mount in mounts(pid) if mount.source == fsname]


def mount_table(pid: int) -> str:
    """Return the whole mount table of a process, with every character that the kernel wrote."""
    return Path(f"/proc/{pid}/mountinfo").read_bytes().decode(errors="surrogateescape")


def kernel_places(pid: int) -> list[str]:
    """Return a process's mounts below /proc and /sys; elsewhere others' come and go while a test runs."""
    lines = mount_table(pid).removesuffix("\n").split("\n")
    return [line for line in lines if re.match(r"/(proc|sys)(/|$)", line.split()[4])]
