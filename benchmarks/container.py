"""A container without a container runtime: limited cgroups, a new pid and mount namespace."""

import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import psutil

from pylxcfs.linux.mountinfo import parse_mountinfo

#: Joins every cgroup of which it is given the directory (up to ``--``), then becomes the command.
_JOIN: Final = 'while [ "$1" != -- ]; do echo $$ >"$1/cgroup.procs" || exit 1; shift; done; shift; exec "$@"'
_GIVE_UP_SECONDS: Final = 10.0
_POLL_SECONDS: Final = 0.02


class ContainerError(Exception):
    """The container could not be made or removed."""


@dataclass(frozen=True, slots=True)
class Limits:
    """What the container may use."""

    memory_bytes: int = 256 << 20
    cpus: str = "0"
    #: Of one CPU. More than the cpuset can use: the daemons have a quota to read, and no reader waits.
    cpu_percent: int = 200

    def files(self) -> Mapping[str, str]:
        """Map files of v1 and of v2 to their content; each hierarchy has some of them."""
        period_us = 100_000
        quota_us = period_us * self.cpu_percent // 100
        return {
            "memory.limit_in_bytes": str(self.memory_bytes),
            "memory.max": str(self.memory_bytes),
            "cpuset.cpus": self.cpus,
            "cpu.cfs_period_us": str(period_us),
            "cpu.cfs_quota_us": str(quota_us),
            "cpu.max": f"{quota_us} {period_us}",
        }


@dataclass(frozen=True, slots=True)
class Container:
    """A running container; commands can be run inside it."""

    init_pid: int
    groups: tuple[Path, ...]

    def run(self, command: Sequence[str], timeout_seconds: float) -> str:
        """Run a command in the container's namespaces and cgroups; return what it printed."""
        enter = ("nsenter", f"--target={self.init_pid}", "--pid", "--mount", "--", *command)
        result = subprocess.run(
            _joining(self.groups, enter), capture_output=True, text=True, timeout=timeout_seconds, check=False
        )
        if result.returncode:
            reason = result.stderr.strip() or f"exit status {result.returncode}"
            raise ContainerError(f"{command[0]} in the container: {reason}")
        return result.stdout

    def start(self, command: Sequence[str]) -> subprocess.Popen[bytes]:
        """Start a command in the container's namespaces and cgroups; it ends with the container."""
        enter = ("nsenter", f"--target={self.init_pid}", "--pid", "--mount", "--", *command)
        return subprocess.Popen(_joining(self.groups, enter), stdout=subprocess.DEVNULL)

    def throttled_periods(self) -> int:
        """Count the periods in which the container hit its CPU quota."""
        for group in self.groups:
            with suppress(FileNotFoundError):
                fields = dict(line.split() for line in (group / "cpu.stat").read_text().splitlines())
                return int(fields["nr_throttled"])
        return 0


def hierarchies() -> list[Path]:
    """Return where each cgroup hierarchy is mounted, v2's with the controllers that we limit enabled."""
    found: dict[str, Path] = {}
    for mount in parse_mountinfo(Path("/proc/self/mountinfo").read_bytes()):
        if mount.fs_type in {"cgroup", "cgroup2"}:
            found.setdefault(f"{mount.fs_type} {mount.super_options}", mount.mount_point)
    for kind_and_options, root in found.items():
        if kind_and_options.startswith("cgroup2 "):
            there = {"cpu", "cpuset", "memory"}.intersection(
                (root / "cgroup.controllers").read_text().split()
            )
            (root / "cgroup.subtree_control").write_text(" ".join(f"+{controller}" for controller in there))
    return list(found.values())


@contextmanager
def running_container(name: str, limits: Limits) -> Iterator[Container]:
    """Make a container, and remove it with everything that runs in it."""
    groups: list[Path] = []
    init: subprocess.Popen[str] | None = None
    try:
        for root in hierarchies():
            groups.append(root / name)
            _make_group(groups[-1], limits)
        if not groups:
            raise ContainerError("no cgroup hierarchy is mounted")
        # The cgroups come first: whatever the namespaces' first process does is already accounted to them.
        unshare = ("unshare", "--pid", "--mount", "--fork", "--kill-child", "--mount-proc")
        init = subprocess.Popen(
            _joining(groups, (*unshare, "sh", "-c", "echo ready; exec sleep infinity")),
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        if init.stdout is None or init.stdout.readline().strip() != "ready":
            raise ContainerError(f"the container's first process did not start: exit status {init.wait()}")
        yield Container(psutil.Process(init.pid).children()[0].pid, tuple(groups))
    finally:
        if init is not None:
            init.kill()  # and with it, by --kill-child, the namespace's init and everything else in there
            init.communicate()
        for group in reversed(groups):
            _remove_group(group)


def _joining(groups: Sequence[Path], command: Sequence[str]) -> list[str]:
    return ["sh", "-c", _JOIN, "join", *map(str, groups), "--", *command]


def _make_group(group: Path, limits: Limits) -> None:
    group.mkdir()
    inherited = group.parent / "cpuset.mems"
    if inherited.exists():  # v1: nobody can join a cpuset without memory nodes
        (group / "cpuset.mems").write_text(inherited.read_text())
    for file, content in limits.files().items():
        if (group / file).exists():
            (group / file).write_text(content)


def _remove_group(group: Path) -> None:
    deadline = time.monotonic() + _GIVE_UP_SECONDS
    while group.exists():
        try:
            group.rmdir()
        except OSError as error:  # killed processes leave a moment later
            if time.monotonic() > deadline:
                raise ContainerError(f"cannot remove {group}: {error.strerror}") from error
            time.sleep(_POLL_SECONDS)
