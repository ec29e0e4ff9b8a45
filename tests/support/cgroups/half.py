"""What the halves of a group, in v1 hierarchies and in the v2 one, have in common."""

from pathlib import Path
from typing import Protocol

from tests.support.cgroups.limits import MemoryUse


class Half(Protocol):
    """One group in the hierarchies of one cgroup version; limits have cgroup v2's meaning."""

    @property
    def directories(self) -> list[Path]:
        """Return every directory of the group, each once."""
        ...

    def path(self, controller: str) -> Path:
        """Return the directory that has the files of a controller, named as v2 does."""
        ...

    def set_memory_max(self, limit: int) -> None:
        """Limit memory to so many bytes; a limit of swap stays what it is."""
        ...

    def memory_use(self) -> MemoryUse:
        """Return what the kernel says of the group's memory."""
        ...

    def set_swap_max(self, limit: int) -> None:
        """Limit swap to so many bytes."""
        ...

    def set_cpus(self, cpus: str) -> None:
        """Confine the group to a list of CPUs."""
        ...

    @property
    def effective_cpus(self) -> Path:
        """Name the file that says on which CPUs the group may run."""
        ...

    def set_cpu_quota(self, cpus: float | None) -> None:
        """Give the group so many CPUs' worth of time, or all."""
        ...

    def cpu_usage_usec(self) -> int:
        """Return the CPU time that the group has used."""
        ...

    def count_requests(self, directory: Path) -> None:
        """Have requests to the disk of `directory` counted, if the kernel would not."""
        ...

    def freeze(self, *, frozen: bool) -> None:
        """Stop or continue all processes of the group; return at once."""
        ...

    def is_frozen(self) -> bool:
        """Tell whether all of them have stopped."""
        ...
