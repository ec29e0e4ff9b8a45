"""A group in the cgroup2 hierarchy (Documentation/admin-guide/cgroup-v2.rst)."""

from contextlib import suppress
from pathlib import Path

from tests.support.cgroups.limits import PERIOD_MICROSECONDS, MemoryUse, flat_keyed


def enable_controllers(directory: Path) -> list[str]:
    """Let the groups below `directory` have all controllers that it has itself; return those that are new.

    A group that holds processes can let them have none, but for the root (cgroup-v2.rst, "No Internal Process
    Constraint"; what is said there of threads would make a thread group of it).
    """
    if (directory / "cgroup.type").exists() and (directory / "cgroup.procs").read_text():
        return []
    file = directory / "cgroup.subtree_control"
    enabled = file.read_text().split()
    new = []
    for controller in (directory / "cgroup.controllers").read_text().split():
        if controller not in enabled:
            with suppress(OSError):
                file.write_text(f"+{controller}")
                new.append(controller)
    return new


class V2Half:
    """The group's only directory."""

    def __init__(self, base: Path, name: str) -> None:
        """Create it below `base`; the group around it lets it have all controllers that it can."""
        self._directory = base / name
        enable_controllers(self._directory.parent)
        self._directory.mkdir(exist_ok=True)

    @property
    def directories(self) -> list[Path]:
        """The one."""
        return [self._directory]

    def path(self, controller: str) -> Path:
        """Name the directory, the same for every controller."""
        del controller
        return self._directory

    def set_memory_max(self, limit: int) -> None:
        """Limit memory."""
        (self._directory / "memory.max").write_text(str(limit))

    def memory_use(self) -> MemoryUse:
        """Return what the kernel says of the group and all below it."""
        stat = flat_keyed(self._directory / "memory.stat")
        limit, current = ((self._directory / f"memory.{name}").read_text() for name in ("max", "current"))
        reclaimable = sum(stat[name] for name in ("active_file", "inactive_file", "slab_reclaimable"))
        return MemoryUse(None if limit == "max\n" else int(limit), int(current), reclaimable)

    def set_swap_max(self, limit: int) -> None:
        """Limit swap."""
        (self._directory / "memory.swap.max").write_text(str(limit))

    def set_cpus(self, cpus: str) -> None:
        """Confine the group to a list of CPUs."""
        (self._directory / "cpuset.cpus").write_text(cpus)

    @property
    def effective_cpus(self) -> Path:
        """Where the kernel says on which CPUs the group may run."""
        return self._directory / "cpuset.cpus.effective"

    def set_cpu_quota(self, cpus: float | None) -> None:
        """Give the group so many CPUs' worth of time, or all."""
        quota = "max" if cpus is None else str(int(cpus * PERIOD_MICROSECONDS))
        (self._directory / "cpu.max").write_text(f"{quota} {PERIOD_MICROSECONDS}")

    def cpu_usage_usec(self) -> int:
        """Return the CPU time that the group has used; counted without the controller too."""
        return flat_keyed(self._directory / "cpu.stat")["usage_usec"]

    def count_requests(self, directory: Path) -> None:
        """Do nothing: they are always counted."""

    def freeze(self, *, frozen: bool) -> None:
        """Stop or continue all processes of the group."""
        (self._directory / "cgroup.freeze").write_text(str(int(frozen)))

    def is_frozen(self) -> bool:
        """Tell whether all of them have stopped."""
        return "frozen 1\n" in (self._directory / "cgroup.events").read_text()
