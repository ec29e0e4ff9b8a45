"""A group in v1 hierarchies: the same relative path in each (Documentation/admin-guide/cgroup-v1)."""

import os
from pathlib import Path
from typing import Final

from tests.support.cgroups.layout import V1_NAMES, Layout
from tests.support.cgroups.limits import PERIOD_MICROSECONDS, MemoryUse, flat_keyed

#: No limit is PAGE_COUNTER_MAX, the largest multiple of the page size below 2⁶³.
_UNLIMITED: Final = 1 << 62


class V1Half:
    """The group in every v1 hierarchy that the tests use."""

    def __init__(self, layout: Layout, name: str) -> None:
        """Create it."""
        self._paths = {controller: top / name for controller, top in layout.v1.items()}
        for directory in self.directories:
            directory.mkdir(exist_ok=True)
        if cpuset := self._paths.get("cpuset"):
            # A new group has neither CPUs nor memory nodes (cpusets.rst, section 1.7).
            for file in ("cpuset.cpus", "cpuset.mems"):
                (cpuset / file).write_text((cpuset.parent / file).read_text())

    @property
    def directories(self) -> list[Path]:
        """Every directory of the group, each once (hierarchies may hold several controllers)."""
        return list(dict.fromkeys(self._paths.values()))

    def path(self, controller: str) -> Path:
        """Name the group's directory in the hierarchy of a controller."""
        return self._paths[V1_NAMES.get(controller, controller)]

    def set_memory_max(self, limit: int) -> None:
        """Limit memory; where memory and swap together are limited too, the limit of swap stays."""
        alone = self.path("memory") / "memory.limit_in_bytes"
        together = self.path("memory") / "memory.memsw.limit_in_bytes"
        now = int(alone.read_text())
        both = int(together.read_text()) if together.exists() else _UNLIMITED
        orders = [(alone, limit)]
        if both < _UNLIMITED:
            # Together is at no time less than memory alone.
            orders.insert(0 if limit > now else 1, (together, limit + both - now))
        for file, value in orders:
            file.write_text(str(value))

    def memory_use(self) -> MemoryUse:
        """Return what the kernel says of the group and all below it."""
        memory = self.path("memory")
        stat = flat_keyed(memory / "memory.stat")
        limit, usage = (int((memory / f"memory.{name}_in_bytes").read_text()) for name in ("limit", "usage"))
        reclaimable = stat["total_active_file"] + stat["total_inactive_file"]
        return MemoryUse(limit if limit < _UNLIMITED else None, usage, reclaimable)

    def set_swap_max(self, limit: int) -> None:
        """Limit memory and swap together to what memory is limited to, and so many bytes more."""
        memory = self.path("memory")
        now = int((memory / "memory.limit_in_bytes").read_text())
        (memory / "memory.memsw.limit_in_bytes").write_text(str(now + limit))

    def set_cpus(self, cpus: str) -> None:
        """Confine the group to a list of CPUs."""
        (self.path("cpuset") / "cpuset.cpus").write_text(cpus)

    @property
    def effective_cpus(self) -> Path:
        """Where the kernel says on which CPUs the group may run."""
        return self.path("cpuset") / "cpuset.effective_cpus"

    def set_cpu_quota(self, cpus: float | None) -> None:
        """Give the group so many CPUs' worth of time, or all."""
        quota = -1 if cpus is None else int(cpus * PERIOD_MICROSECONDS)
        (self.path("cpu") / "cpu.cfs_period_us").write_text(str(PERIOD_MICROSECONDS))
        (self.path("cpu") / "cpu.cfs_quota_us").write_text(str(quota))

    def cpu_usage_usec(self) -> int:
        """Return the CPU time that the group has used."""
        return int((self.path("cpuacct") / "cpuacct.usage").read_text()) // 1000

    def count_requests(self, directory: Path) -> None:
        """Have requests to the disk of `directory` counted, by a limit that is none.

        Linux 6.10 and later count a disk's requests on v1 from the first limit on, for all groups.
        """
        number = directory.stat().st_dev
        disk = Path(f"/sys/dev/block/{os.major(number)}:{os.minor(number)}").resolve()
        if (disk / "partition").exists():
            disk = disk.parent
        device = (disk / "dev").read_text().strip()
        (self.path("io") / "blkio.throttle.write_bps_device").write_text(f"{device} {1 << 50}")

    def freeze(self, *, frozen: bool) -> None:
        """Stop or continue all processes of the group."""
        self._freezer.write_text("FROZEN" if frozen else "THAWED")

    def is_frozen(self) -> bool:
        """Tell whether all of them have stopped."""
        return self._freezer.read_text() == "FROZEN\n"

    @property
    def _freezer(self) -> Path:
        return self.path("freezer") / "freezer.state"
