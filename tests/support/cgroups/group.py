"""One group, in every hierarchy that this machine has: limits, and removal together with its processes."""

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

from tests.support.cgroups.half import Half
from tests.support.cgroups.layout import Layout, find_layout
from tests.support.cgroups.limits import Limits, MemoryUse
from tests.support.cgroups.v1 import V1Half
from tests.support.cgroups.v2 import V2Half
from tests.support.readings import cpu_list
from tests.support.waiting import wait_for

_UNLIMITED: Final = Limits()


class NoControllerError(ValueError):
    """No hierarchy of this machine has what a group is to be limited by."""


class Cgroup:
    """One group: the same path below the base of every hierarchy. Each limit goes where its controller is."""

    def __init__(self, name: str) -> None:
        """Create it in the v1 hierarchies, and in the cgroup2 one if that limits anything."""
        self.name = name
        #: Whether CPUs may have been taken away from it since it was made.
        self.cpus_changed = False
        self._layout = find_layout()
        self._v1 = V1Half(self._layout, name) if self._layout.v1 else None
        self._v2: V2Half | None = None
        if self._layout.has_v2_controllers or self._v1 is None:
            self.make_unified()

    @property
    def layout(self) -> Layout:
        """The machine's hierarchies."""
        return self._layout

    @property
    def membership(self) -> str:
        """Spell the group as runtimes are told it: its path below the top of every hierarchy."""
        unified = self._layout.unified
        base = unified.base.relative_to(unified.top) if unified and not self._layout.v1 else Path()
        return f"/{base / self.name}"

    @property
    def directories(self) -> list[Path]:
        """Every directory of the group, each once; a process joins it by joining all of them."""
        return [*(self._v1.directories if self._v1 else []), *(self._v2.directories if self._v2 else [])]

    def make_unified(self) -> Path:
        """Make the group in the cgroup2 hierarchy too, for those who join it from now on.

        Its groups have pressure files whatever controllers v1 has taken.
        """
        if self._layout.unified is None:
            raise NoControllerError("cgroup2 is not mounted")
        self._v2 = self._v2 or V2Half(self._layout.unified.base, self.name)
        return self._v2.path("")

    def of(self, controller: str) -> Half:
        """Return the half that has a controller, named as v2 does."""
        half = {1: self._v1, 2: self._v2}.get(self._layout.version(controller))
        if half is None:
            raise NoControllerError(f"no cgroup hierarchy has {controller}")
        return half

    def path(self, controller: str) -> Path:
        """Name the directory that has the files of a controller, named as v2 does."""
        return self.of(controller).path(controller)

    def set_memory(self, limit: int) -> None:
        """Limit memory to so many bytes."""
        self.of("memory").set_memory_max(limit)

    def memory_use(self) -> MemoryUse:
        """Return what the kernel says of the group's memory."""
        return self.of("memory").memory_use()

    def set_swap(self, limit: int) -> None:
        """Limit swap, beside the memory, to so many bytes."""
        self.of("memory").set_swap_max(limit)

    def set_cpus(self, cpus: str) -> None:
        """Confine the group to a list of CPUs."""
        self.cpus_changed = True
        # Without the controller a group has all CPUs.
        if self._layout.version("cpuset") or cpu_list(cpus) != sorted(os.sched_getaffinity(0)):
            self.of("cpuset").set_cpus(cpus)

    def set_cpu_quota(self, cpus: float | None) -> None:
        """Give the group so many CPUs' worth of time, or all."""
        self.cpus_changed = True
        self.of("cpu").set_cpu_quota(cpus)

    def cpu_usage_usec(self) -> int:
        """Return the CPU time that the group has used."""
        half = self._v1 if "cpuacct" in self._layout.v1 else self._v2
        assert half is not None
        return half.cpu_usage_usec()

    @contextmanager
    def frozen(self) -> Iterator[None]:
        """Stop all processes of the group meanwhile."""
        half = self._v1 if "freezer" in self._layout.v1 else self._v2
        assert half is not None
        half.freeze(frozen=True)
        try:
            wait_for(f"{self.name} is frozen", half.is_frozen)
            yield
        finally:
            half.freeze(frozen=False)

    def apply(self, limits: Limits) -> None:
        """Set every limit that is given."""
        if limits.memory is not None:
            self.set_memory(limits.memory)
        if limits.swap is not None:
            self.set_swap(limits.swap)
        if limits.cpus is not None:
            self.set_cpus(limits.cpus)
        if limits.cpu_quota is not None:
            self.set_cpu_quota(limits.cpu_quota)

    def count_requests(self, directory: Path) -> None:
        """Have requests to the disk of `directory` counted."""
        self.of("io").count_requests(directory)

    def join(self, pid: int) -> None:
        """Move a process into the group."""
        for directory in self.directories:
            (directory / "cgroup.procs").write_text(str(pid))

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
        for directory in (base / self.name for base in find_layout().bases):
            below = sorted((path for path in directory.glob("**/") if path != directory), reverse=True)
            for group in (*below, directory):
                with suppress(FileNotFoundError):
                    group.rmdir()


@contextmanager
def cgroup(
    name: str, limits: Limits = _UNLIMITED, *, parent: Cgroup | None = None, make: type[Cgroup] = Cgroup
) -> Iterator[Cgroup]:
    """Make a group with `limits`, below `parent` if given; remove it at the end."""
    group = make(name if parent is None else f"{parent.name}/{name}")
    try:
        group.apply(limits)
        group.cpus_changed = False
        yield group
    finally:
        group.remove()
