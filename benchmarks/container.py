"""A container without a container runtime: limited cgroup v1 groups, a new pid and mount namespace."""

import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import psutil

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

    def by_controller(self) -> Mapping[str, Mapping[str, str]]:
        """Map controller to the files to write and their new content, in the order of writing."""
        period_us = 100_000
        return {
            "memory": {"memory.limit_in_bytes": str(self.memory_bytes)},
            "cpuset": {"cpuset.cpus": self.cpus},
            "cpu": {
                "cpu.cfs_period_us": str(period_us),
                "cpu.cfs_quota_us": str(period_us * self.cpu_percent // 100),
            },
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


def v1_hierarchies() -> dict[Path, frozenset[str]]:
    """Map the mount point of each mounted cgroup v1 hierarchy to its controllers (or ``name=...``)."""
    found: dict[Path, frozenset[str]] = {}
    seen: set[str] = set()
    for line in Path("/proc/self/mountinfo").read_text().splitlines():
        left, right = line.split(" - ", 1)
        kind, _source, options = right.split(" ", 2)
        controllers = frozenset(options.split(",")) - {"rw", "ro", "xattr"}
        if kind == "cgroup" and options not in seen:
            seen.add(options)
            found[Path(left.split()[4])] = controllers
    return found


@contextmanager
def running_container(name: str, limits: Limits) -> Iterator[Container]:
    """Make a container, and remove it with everything that runs in it."""
    groups: list[Path] = []
    init: subprocess.Popen[str] | None = None
    try:
        for mount_point, controllers in v1_hierarchies().items():
            groups.append(mount_point / name)
            _make_group(groups[-1], controllers, limits)
        if not groups:
            raise ContainerError("no cgroup v1 hierarchy is mounted")
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


def _make_group(group: Path, controllers: frozenset[str], limits: Limits) -> None:
    group.mkdir()
    if "cpuset" in controllers:  # nobody can join a cpuset without memory nodes
        (group / "cpuset.mems").write_text((group.parent / "cpuset.mems").read_text())
    for controller, files in limits.by_controller().items():
        if controller in controllers:
            for file, content in files.items():
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
