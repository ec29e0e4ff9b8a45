"""Real cgroup v2 groups, for machines that have nothing else."""

from pathlib import Path
from typing import Final

from tests.support.cgroups import Cgroup

_ROOT: Final = Path("/sys/fs/cgroup")
_PERIOD_MICROSECONDS: Final = 100_000


class UnifiedCgroup(Cgroup):
    """One group in the unified hierarchy, told as if each controller had its own."""

    def __init__(self, name: str) -> None:
        """Create the group; the one around it, if any, gives it all controllers that it has."""
        self.name = name
        directory = _ROOT / name
        controllers = (directory.parent / "cgroup.controllers").read_text().split()
        (directory.parent / "cgroup.subtree_control").write_text(" ".join(f"+{name}" for name in controllers))
        directory.mkdir(exist_ok=True)

    def path(self, controller: str) -> Path:
        """Name the group's directory, the same for every controller."""
        del controller
        return _ROOT / self.name

    @property
    def directories(self) -> list[Path]:
        """The group's only directory."""
        return [_ROOT / self.name]

    def set_memory(self, limit: int) -> None:
        """Limit memory to so many bytes."""
        (_ROOT / self.name / "memory.max").write_text(str(limit))

    def set_memory_and_swap(self, limit: int) -> None:
        """Limit swap to what memory leaves of so many bytes."""
        memory = int((_ROOT / self.name / "memory.max").read_text())
        (_ROOT / self.name / "memory.swap.max").write_text(str(limit - memory))

    def set_cpus(self, cpus: str) -> None:
        """Confine the group to a list of CPUs."""
        (_ROOT / self.name / "cpuset.cpus").write_text(cpus)

    def set_cpu_quota(self, cpus: float | None) -> None:
        """Give the group so many CPUs' worth of time, or all."""
        quota = "max" if cpus is None else str(int(cpus * _PERIOD_MICROSECONDS))
        (_ROOT / self.name / "cpu.max").write_text(f"{quota} {_PERIOD_MICROSECONDS}")
