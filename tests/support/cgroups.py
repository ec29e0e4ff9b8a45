"""Real cgroup v1 groups: one name in every hierarchy, with limits, removed together with their processes."""

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tests.support.mounts import mounts
from tests.support.waiting import wait_for

CONTROLLERS: Final = ("cpu", "cpuacct", "cpuset", "memory", "blkio", "pids", "freezer", "devices")
MIB: Final = 1 << 20
_PERIOD_MICROSECONDS: Final = 100_000


def hierarchies() -> dict[str, Path]:
    """Name where each v1 controller that the tests use is mounted."""
    found: dict[str, Path] = {}
    for mount in mounts():
        if mount.fs_type == "cgroup":
            for option in mount.super_options.split(","):
                if option in CONTROLLERS:
                    found.setdefault(option, mount.mount_point)
    return found


def unified() -> Path:
    """Name where cgroup2 is mounted; its groups have pressure files whatever controllers v1 has taken."""
    (point,) = (mount.mount_point for mount in mounts() if mount.fs_type == "cgroup2")
    return point


def root_directories() -> list[Path]:
    """Name the root group of every hierarchy, named ones and cgroup2 included."""
    return [mount.mount_point for mount in mounts() if mount.fs_type in {"cgroup", "cgroup2"}]


@dataclass(frozen=True, slots=True)
class Limits:
    """What a group may use; None leaves the kernel's default, no limit."""

    #: Bytes.
    memory: int | None = None
    #: Bytes of memory and swap together.
    memory_and_swap: int | None = None
    #: A CPU list like ``0`` or ``0-1``.
    cpus: str | None = None
    #: How many CPUs' worth of time.
    cpu_quota: float | None = None


class Cgroup:
    """One group: the same relative path in every v1 hierarchy."""

    def __init__(self, name: str) -> None:
        """Create the group in every hierarchy."""
        self.name = name
        #: Whether CPUs may have been taken away from it since it was made.
        self.cpus_changed = False
        self._roots = hierarchies()
        self.unified: Path | None = None
        for controller in self._roots:
            self.path(controller).mkdir(exist_ok=True)
        for file in ("cpuset.cpus", "cpuset.mems"):
            inherited = (self.path("cpuset").parent / file).read_text()
            (self.path("cpuset") / file).write_text(inherited)

    def path(self, controller: str) -> Path:
        """Name the group's directory in one hierarchy."""
        return self._roots[controller] / self.name

    @property
    def directories(self) -> list[Path]:
        """Every directory of the group, each once (hierarchies may hold several controllers)."""
        directories = dict.fromkeys(self.path(controller) for controller in self._roots)
        return [*directories, *([self.unified] if self.unified else [])]

    def make_unified(self) -> Path:
        """Make the group in the cgroup2 hierarchy too, for those who join it from now on."""
        self.unified = unified() / self.name
        self.unified.mkdir()
        return self.unified

    def read(self, controller: str, file: str) -> str:
        """Read one of the group's files."""
        return (self.path(controller) / file).read_text()

    def set_memory(self, limit: int) -> None:
        """Limit memory to so many bytes."""
        (self.path("memory") / "memory.limit_in_bytes").write_text(str(limit))

    def set_memory_and_swap(self, limit: int) -> None:
        """Limit memory and swap together to so many bytes."""
        (self.path("memory") / "memory.memsw.limit_in_bytes").write_text(str(limit))

    def set_cpus(self, cpus: str) -> None:
        """Confine the group to a list of CPUs."""
        self.cpus_changed = True
        (self.path("cpuset") / "cpuset.cpus").write_text(cpus)

    def set_cpu_quota(self, cpus: float | None) -> None:
        """Give the group so many CPUs' worth of time, or all."""
        self.cpus_changed = True
        quota = -1 if cpus is None else int(cpus * _PERIOD_MICROSECONDS)
        (self.path("cpu") / "cpu.cfs_period_us").write_text(str(_PERIOD_MICROSECONDS))
        (self.path("cpu") / "cpu.cfs_quota_us").write_text(str(quota))

    def apply(self, limits: Limits) -> None:
        """Set every limit that is given."""
        if limits.memory is not None:
            self.set_memory(limits.memory)
        if limits.memory_and_swap is not None:
            self.set_memory_and_swap(limits.memory_and_swap)
        if limits.cpus is not None:
            self.set_cpus(limits.cpus)
        if limits.cpu_quota is not None:
            self.set_cpu_quota(limits.cpu_quota)

    def count_requests(self, directory: Path) -> None:
        """Have requests to the disk of `directory` counted, by a limit that is none.

        Linux 6.10 and later count a disk's requests on v1 from the first limit on, for all groups.
        """
        device = directory.stat().st_dev
        disk = Path(f"/sys/dev/block/{os.major(device)}:{os.minor(device)}").resolve()
        if (disk / "partition").exists():
            disk = disk.parent
        number = (disk / "dev").read_text().strip()
        (self.path("blkio") / "blkio.throttle.write_bps_device").write_text(f"{number} {1 << 50}")

    def _pids(self) -> set[int]:
        pids: set[int] = set()
        for directory in self.directories:
            for file in directory.glob("**/cgroup.procs"):
                with suppress(OSError):
                    pids.update(map(int, file.read_text().split()))
        return pids

    def _kill_once(self) -> bool:
        pids = self._pids()
        for pid in pids - {os.getpid()}:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        return not pids

    def remove(self) -> None:
        """End the group's processes and remove it with all groups below it."""
        wait_for(f"processes of {self.name} end", self._kill_once)
        # Container runtimes make the group in the hierarchies without controllers too.
        for directory in (root / self.name for root in root_directories()):
            below = sorted((path for path in directory.glob("**/") if path != directory), reverse=True)
            for group in (*below, directory):
                with suppress(FileNotFoundError):
                    group.rmdir()


@contextmanager
def cgroup(
    name: str, limits: Limits = Limits(), *, parent: Cgroup | None = None, make: type[Cgroup] = Cgroup
) -> Iterator[Cgroup]:
    """Make a group with `limits`, below `parent` if given; remove it at the end."""
    group = make(name if parent is None else f"{parent.name}/{name}")
    try:
        group.apply(limits)
        group.cpus_changed = False
        yield group
    finally:
        group.remove()
