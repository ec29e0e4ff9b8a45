"""What a container is."""

from dataclasses import dataclass
from typing import NamedTuple

from pylxcfs.cgroup.types import CgroupPaths


class ContainerKey(NamedTuple):
    """Tells containers apart over a restart: pids are reused, but not with the same start."""

    paths: CgroupPaths
    init_pid: int
    init_start_ticks: int


@dataclass(frozen=True, slots=True, eq=False)
class Container:
    """One container, or one cgroup of host processes. Equal only to itself: the resolver makes each once.

    `init_start_ticks` is when its init began, in clock ticks since boot.
    """

    paths: CgroupPaths
    init_pid: int
    init_start_ticks: int
    in_host_pid_namespace: bool

    def __str__(self) -> str:
        """Describe it for the log."""
        kind = "cgroup of host processes" if self.in_host_pid_namespace else "container"
        groups = ", ".join(sorted({group for _, group in self.paths}))
        return f"{kind}, init {self.init_pid}, in {groups}"

    @property
    def key(self) -> ContainerKey:
        """What tells it apart, also over a restart of ours."""
        return ContainerKey(self.paths, self.init_pid, self.init_start_ticks)
