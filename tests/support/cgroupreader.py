"""What the daemon reads cgroups with, for tests that ask it themselves."""

from pathlib import Path

from pylxcfs.cgroup.detect import find_hierarchies
from pylxcfs.cgroup.layout import LayoutReader, open_layout
from pylxcfs.cgroup.membership import parse_membership
from pylxcfs.cgroup.taskstats import CgroupStats
from pylxcfs.cgroup.types import CgroupPaths
from pylxcfs.linux.mountinfo import parse_mountinfo


def reader_of(pid: int, stats: CgroupStats | None = None) -> tuple[LayoutReader, CgroupPaths]:
    """Return what the daemon reads this machine's hierarchies with, and the cgroups of a process."""
    own, of_pid = (parse_membership(path, Path(path).read_bytes()) for path in _memberships(pid))
    hierarchies = find_hierarchies(parse_mountinfo(Path("/proc/self/mountinfo").read_bytes()))
    return open_layout(hierarchies, own, 64, stats), of_pid


def _memberships(pid: int) -> tuple[str, str]:
    return "/proc/self/cgroup", f"/proc/{pid}/cgroup"
