"""A machine of its own for systemd: this machine's kernel and files, own namespaces and cgroups."""

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import psutil

from tests.support.cgroups import Cgroup, cgroup, find_layout
from tests.support.cgroups.layout import unified_group
from tests.support.container import joining
from tests.support.daemon import REPOSITORY
from tests.support.mounts import mounts
from tests.support.waiting import wait_for

_INIT: Final = str(REPOSITORY / "tests/support/testbed/systemd-init")
_UNSHARE: Final = (
    *("unshare", "--mount", "--uts", "--ipc", "--net", "--pid", "--cgroup"),
    *("--fork", "--kill-child=KILL"),
)
_ENTER: Final = ("--mount", "--uts", "--ipc", "--net", "--pid", "--cgroup", "--root", "--wd")
_ENVIRONMENT: Final = ("HOME=/root", "LANG=C.UTF-8", "PATH=/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin")
#: Where systemd, and the machine, has every hierarchy.
_CGROUPS: Final = "/sys/fs/cgroup"
#: What `systemctl is-system-running` says once all jobs of the start have ended.
_UP: Final = frozenset({"running", "degraded"})


class EveryHierarchy(Cgroup):
    """A group that is in the hierarchies without a controller too: systemd keeps its own there."""

    def __init__(self, name: str) -> None:
        """Create the group."""
        # Not in what somebody has mounted elsewhere for a moment.
        bases = [base for base in find_layout().bases if base.is_relative_to(_CGROUPS)]
        self._directories = [base / name for base in bases]
        super().__init__(name)
        for directory in self._directories:
            directory.mkdir(exist_ok=True)

    @property
    def directories(self) -> list[Path]:
        """Every directory of the group."""
        return self._directories


class SystemdMachine:
    """A running systemd and its machine; commands are run in it as root."""

    def __init__(self, init_pid: int, group: Cgroup) -> None:
        """Describe the machine whose first process is `init_pid`; `group` is the root of its cgroups."""
        self.init_pid = init_pid
        self.group = group

    @property
    def enter(self) -> tuple[str, ...]:
        """What stands before a command that is run in the machine's namespaces."""
        return (
            *("nsenter", f"--target={self.init_pid}", *_ENTER),
            *("env", "--ignore-environment", *_ENVIRONMENT),
        )

    @property
    def directories(self) -> list[Path]:
        """Where a process of the machine can be: on v2 beside systemd, whose root has limited groups."""
        if not self.group.layout.has_v2_controllers:
            return self.group.directories
        beside = _unified_group(self.init_pid)
        return [*(path for path in self.group.directories if path not in beside.parents), beside]

    def try_run(self, *argv: str) -> subprocess.CompletedProcess[str]:
        """Run a command; return what it printed, both streams in one, and its exit status."""
        command = joining(self.directories, *self.enter, *argv)
        return subprocess.run(
            command,
            check=False,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def run(self, *argv: str) -> str:
        """Run a command that is expected to succeed and return what it printed."""
        done = self.try_run(*argv)
        assert 0 == done.returncode, f"{argv}: {done.stdout}"
        return done.stdout

    def path(self, name: str) -> Path:
        """Name one of the machine's files as this machine sees it."""
        return Path(f"/proc/{self.init_pid}/root{name}")


@contextmanager
def systemd_machine(directory: Path, name: str, *paths: str) -> Iterator[SystemdMachine]:
    """Boot a machine in the empty `directory`, with `paths` visible in it, in a new cgroup `name`."""
    with cgroup(name, make=EveryHierarchy) as group:
        command = joining(group.directories, *_UNSHARE, _INIT, str(directory), *paths)
        console = directory.with_suffix(".console")
        with console.open("wb") as output:
            outer = psutil.Popen(command, stdin=subprocess.DEVNULL, stdout=output, stderr=output)
        try:
            if group.layout.has_v2_controllers:
                # As long as anybody is in its root there, systemd cannot limit what is below.
                wait_for(
                    "its processes begin", lambda: bool(outer.children()), alive=lambda: outer.poll() is None
                )
                (_unified_group("self") / "cgroup.procs").write_text(str(outer.pid))
            wait_for(
                "systemd is started", lambda: _init_pid(outer) is not None, alive=lambda: outer.poll() is None
            )
            machine = SystemdMachine(_init_pid(outer) or 0, group)
            wait_for(
                "systemd is up",
                lambda: machine.try_run("systemctl", "is-system-running").stdout.strip() in _UP,
                alive=lambda: outer.poll() is None,
            )
            yield machine
        except AssertionError as error:
            error.add_note(console.read_text())
            raise
        finally:
            # Its first process goes with it, and all others with that.
            outer.kill()
            outer.wait()


def _unified_group(pid: int | str) -> Path:
    """Return the directory of a process's cgroup2 group."""
    group = unified_group(next(mount for mount in mounts() if mount.fs_type == "cgroup2"), pid)
    assert group is not None
    return group


def _init_pid(outer: psutil.Popen) -> int | None:
    """Return the pid of the machine's first process once it is systemd."""
    return next((child.pid for child in outer.children() if child.name() == "systemd"), None)
